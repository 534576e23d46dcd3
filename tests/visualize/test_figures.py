import io

import numpy as np
import pytest

from keras_radn import visualize


@pytest.fixture
def image(photo):
    return photo[:60, :90] / 255


def rendered(figure):
    """Draws a figure, so that a warning of Matplotlib is an error."""
    figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")
    return figure


def test_maps(image, rng):
    difference = rng.uniform(-1, 3, (60, 90))
    residual = rng.uniform(2, 5, (60, 90))
    difference[0, 0] = 1000  # one position does not dim the others
    figure = rendered(visualize.map_figure(image, difference, residual))
    photo, spread, attention, *bars = figure.axes
    np.testing.assert_array_equal(photo.images[0].get_array(), image)
    [drawn] = spread.images
    np.testing.assert_array_equal(drawn.get_array(), difference)
    low, high = drawn.get_clim()
    assert -low == high
    assert 2.5 < high < 3.5
    low, high = attention.images[0].get_clim()
    assert 2 < low < 2.1
    assert 4.9 < high < 5
    assert "pixels" in bars[0].get_xlabel()
    assert len(bars) == 2


def test_one_map_alone(image):
    figure = rendered(visualize.map_figure(image, None, np.ones((60, 90))))
    assert len(figure.axes) == 3  # with the color bar


def test_noise_is_not_structure(image, rng):
    residual = 0.5 + 1e-6 * rng.normal(size=(60, 90))
    figure = visualize.map_figure(image, None, residual)
    low, high = figure.axes[1].images[0].get_clim()
    assert high - low > 0.02


# For the last one, the logarithm in float32 exceeds that of its own limit.
@pytest.mark.slow
@pytest.mark.parametrize("peak", [1.0, 5000.0, np.float32(103.1)])
def test_attention(image, peak):
    """All points share a logarithmic scale, and zeros are drawn."""
    maps = [np.zeros((60, 90), "float32"), np.ones((60, 90), "float32")]
    maps[0][3, 4] = peak
    points = [(10, 20), (80.5, 50)]
    figure = rendered(visualize.attention_figure(image, points, maps))
    photo, *panels = figure.axes[:3]
    for i, (panel, values) in enumerate(zip(panels, maps, strict=True)):
        drawn = panel.images[-1]
        np.testing.assert_array_equal(drawn.get_array(), values)
        assert drawn.norm.vmax == max(10, peak)
        for axis in (photo, panel):
            marks = [tuple(line.get_xydata()[0]) for line in axis.lines]
            assert points[i] in marks


def test_sampling_points(image):
    regular = np.array([[[10, 20], [14, 20]], [[80, 50], [84, 50]]])
    moved = regular[:, np.newaxis] + np.array([[[2, -3]], [[0, 30]]])
    figure = rendered(
        visualize.sampling_figure(image, [(12, 20), (82, 50)], regular, moved)
    )
    panels = figure.axes[1:]
    for panel, origins, ends in zip(panels, regular, moved, strict=True):
        arrows, dots = panel.collections
        np.testing.assert_array_equal(dots.get_offsets(), origins)
        tips = arrows.get_offsets() + np.stack([arrows.U, arrows.V], axis=-1)
        np.testing.assert_array_equal(tips, ends.reshape(-1, 2))
        left, right = panel.get_xlim()
        bottom, top = panel.get_ylim()
        for x, y in ends.reshape(-1, 2):
            assert left < x < right
            assert top < y < bottom
        assert (right - left) / (bottom - top) == pytest.approx(90 / 60)


def test_magnitudes(image):
    names = [f"{'folder/' * 9}{i}.png" for i in range(5)]
    figure = rendered(
        visualize.magnitude_figure(
            [image, image[:, :30], image[:20], image, image], range(5), names
        )
    )
    shown = [axis for axis in figure.axes if axis.images]
    for i, (axis, name) in enumerate(zip(shown, names, strict=True)):
        value, label = axis.get_xlabel().split("\n")
        assert value == f"{i}.00 pixels"
        assert name.endswith(label.lstrip("…"))
        assert len(label) <= 40


def test_blur_strength():
    magnitudes = {"a": [1, 2, 4], "b": [3, 2, 6]}
    figure = rendered(visualize.blur_strength_figure([0, 4, 8], magnitudes))
    [axis] = figure.axes
    *lines, mean = (line.get_xydata().tolist() for line in axis.lines)
    assert lines == [[[0, 1], [4, 2], [8, 4]], [[0, 3], [4, 2], [8, 6]]]
    assert mean == [[0, 2], [4, 2], [8, 5]]


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda image: visualize.attention_figure(image, [], []), "points"),
        (lambda _: visualize.magnitude_figure([], [], []), "images"),
        (lambda _: visualize.blur_strength_figure([0], {}), "magnitudes"),
    ],
)
def test_nothing_to_draw(draw, name, image):
    with pytest.raises(ValueError, match=f"at least one of `{name}`"):
        draw(image)


def test_rank_correlation():
    assert visualize.rank_correlation([0, 4, 8], [1, 5, 6]) == pytest.approx(1)
    assert visualize.rank_correlation([0, 4, 8], [6, 5, 1]) == pytest.approx(-1)
    assert np.isnan(visualize.rank_correlation([0, 4, 8], [2, 2, 2]))
