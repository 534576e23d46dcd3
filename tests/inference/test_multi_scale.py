import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from keras_radn import deblur, deblur_files
from keras_radn.datasets import motion_blur
from keras_radn.inference import Deblurrer, tiling
from keras_radn.inference.multi_scale import multi_scale_ensemble


def network_that_adds(height, **changes):
    """Returns a network that adds a number for each of four scales."""
    scales = {"half": 0.5**0.5, "own": 1.0, "more": 2**0.5, "double": 2.0}
    by_height = {
        round(height * scale): changes.get(name, 0.0)
        for name, scale in scales.items()
    }
    return lambda image: image + np.float32(by_height[image.shape[0]])


@pytest.mark.parametrize("size", [(1, 1), (33, 46), (200, 333)])
def test_what_the_network_leaves_alone_is_left_alone(size, rng):
    image = rng.random((*size, 3)).astype("float32")
    seen = []

    def identity(tile):
        seen.append(tile.shape)
        assert tile.dtype == np.float32
        assert 0 <= tile.min() <= tile.max() <= 1
        return tile

    np.testing.assert_array_equal(multi_scale_ensemble(identity, image), image)
    sides = [max(1, round(n * 2**0.5)) for n in size]
    assert seen[1:] == [
        image.shape,
        (*sides, 3),
        (2 * size[0], 2 * size[1], 3),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"half": 0.1, "own": 0.1, "more": 0.1, "double": 0.1}, 0.1),
        # Equal mean squares of opposite sign: half of the weight each.
        ({"half": -0.1, "own": 0.1}, 0.0),
        # Mean squares 0.01 and 0.02, weights 1 and 4.
        ({"own": 0.1, "more": 0.02**0.5}, 0.1 * (1 / 5 + 4 / 5 * 2**0.5)),
        # 0.04 is twice what may be: half of it, with the weight of 0.02.
        ({"own": 0.1, "double": 0.2}, 0.1 * (1 / 5 + 4 / 5)),
        # Sharp: nothing is wrong at its own scale.
        ({"more": 0.1, "double": 0.2}, 0.0),
    ],
)
def test_weights(changes, expected):
    image = np.full((60, 90, 3), 0.5, "float32")
    result = multi_scale_ensemble(network_that_adds(60, **changes), image)
    np.testing.assert_allclose(result, 0.5 + expected, atol=1e-5)


def test_each_part_of_a_picture_has_its_scale():
    """The scale that suits the left side is not used on the right."""

    def network(image):
        changed = image.copy()
        height, width = image.shape[:2]
        if height == 128:
            changed += 0.05
        elif height == 256:
            changed[:, : width // 2] += 0.07
        return changed

    image = np.full((128, 1024, 3), 0.5, "float32")
    change = multi_scale_ensemble(network, image)[64, :, 0] - 0.5
    # The bound of the change at the left: mean squares of 1 to 1.96.
    weight = 1.96**2 / (1 + 1.96**2)
    left = 0.05 * (1 - weight) + 0.07 * weight
    np.testing.assert_allclose(change[:350], left, atol=1e-4)
    np.testing.assert_allclose(change[-350:], 0.05, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [False, True])
def test_tiles_have_a_quarter_of_the_pixels(ensemble, monkeypatch, rng):
    """The network sees them at twice their sides."""
    monkeypatch.setattr(tiling, "affordable_pixels", lambda: 600_000)
    seen, calls = [], []

    def identity(images):
        seen.append(images.shape[1] * images.shape[2])
        return images

    image = rng.integers(256, size=(500, 700), dtype="uint8")
    deblurrer = Deblurrer(identity, ensemble=ensemble, multi_scale=True)
    result = deblurrer(image, lambda *call: calls.append(call))
    np.testing.assert_array_equal(result, image)
    assert max(seen) <= 600_000
    tiles = len(deblurrer.grid(500, 700))
    assert tiles > 1
    assert len(seen) == tiles * 4 * (8 if ensemble else 1)
    assert calls == [(i + 1, len(seen)) for i in range(len(seen))]


@pytest.mark.slow
def test_joined_with_the_orientations(tiny_radn, photo):
    """Turning the picture changes nothing but the rounding."""
    model, picture = tiny_radn(), photo[:64, :96]
    options = {"ensemble": True, "multi_scale": True}
    both = Deblurrer(model, dtype="float32", **options)
    result, turned = both(picture), both(np.rot90(picture))
    assert np.abs(np.rot90(result).astype(int) - turned).max() <= 1
    single = deblur(picture, Deblurrer(model, multi_scale=True))
    assert np.abs(single.astype(int) - result).max() > 1


@pytest.mark.slow
def test_files(tiny_radn, photo, tmp_path):
    model = tiny_radn()
    source, target = tmp_path / "photo.png", tmp_path / "sharp.png"
    Image.fromarray(photo[:150, :200]).save(source)
    deblurrer = Deblurrer(model, multi_scale=True, tile=128, overlap=32)
    (report,) = deblur_files(source, target, deblurrer)
    assert report.status == "done"
    with Image.open(target) as result:
        np.testing.assert_array_equal(result, deblur(source, deblurrer))


@pytest.mark.slow
@pytest.mark.parametrize("length", [3, 5, 12])
def test_gain_with_the_packaged_weights(length):
    """The gain over one scale is largest where the network gains least."""
    gains = []
    for photo in (data.chelsea(), data.coffee(), data.rocket()):
        sharp = photo[:256, :384]
        blurred = motion_blur(sharp.astype("float32") / 255, length, 0.5)
        blurred = np.rint(255 * blurred).astype("uint8")
        single, joined = (
            peak_signal_noise_ratio(
                sharp, deblur(blurred, Deblurrer(multi_scale=several))
            )
            for several in (False, True)
        )
        gains.append(joined - single)
    assert np.mean(gains) > {3: 0.05, 5: 0.3, 12: 0.0}[length]


@pytest.mark.slow
def test_sharp_photographs_are_left_alone():
    # The background of the cat is out of focus.
    for photo, least in (
        (data.chelsea(), 36),
        (data.coffee(), 42),
        (data.astronaut(), 42),
    ):
        result = deblur(photo, Deblurrer(multi_scale=True))
        assert mean_squared_error(photo, result) <= 255**2 / 10 ** (least / 10)
