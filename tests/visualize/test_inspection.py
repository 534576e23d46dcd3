import keras
import numpy as np
import pytest
from skimage import transform

from keras_radn import ResidualBaseline
from keras_radn.visualize import Inspection
from tests.conftest import randomize
from tests.oracles import self_attention, windows

HEIGHT, WIDTH = 37, 52


@pytest.fixture
def image(photo):
    return photo[100 : 100 + HEIGHT, 200 : 200 + WIDTH]


@pytest.fixture
def tiny_baseline():
    def build(**kwargs):
        model = ResidualBaseline(filters=(4, 4, 8), blocks=1, **kwargs)
        randomize(model)
        return model

    return build


def upsampled(values, stride):
    """Applies scikit-image's bilinear interpolation, cropped to the image."""
    shape = [stride * side for side in values.shape]
    resized = transform.resize(values, shape, order=1, mode="edge")
    return resized[:HEIGHT, :WIDTH]


def input_of(model, layer, image):
    """Returns the input of a model's layer for a float image."""
    network = keras.Model(model.inputs[0], model.get_layer(layer).input)
    return np.asarray(network(image[np.newaxis].astype("float32")))[0]


@pytest.mark.slow
@pytest.mark.parametrize(("stem_pool", "stride"), [(True, 8), (False, 4)])
def test_known_offset_difference(
    tiny_radn, image, known_offsets, stem_pool, stride
):
    """Only dx of the outer columns counts, over the rows and units."""
    model = tiny_radn(stem_pool=stem_pool)
    spreads = [[1.0, 2.0, 6.0], [-0.5, -0.5, -0.5]]
    for conv, spread in zip(
        model.get_layer("decoder_block2").convs, spreads, strict=True
    ):
        offsets = np.random.default_rng(1).normal(size=(3, 3, 2))
        offsets[:, 2, 1] = offsets[:, 0, 1] + spread
        known_offsets(conv, offsets)
    inspection = Inspection(model, image)
    for unit, expected in ((1, 3), (2, -0.5), (None, 1.25)):
        difference = inspection.offset_difference(unit=unit)
        assert difference.shape == (HEIGHT, WIDTH)
        assert difference.dtype == "float32"
        np.testing.assert_allclose(difference, stride * expected, rtol=1e-5)


@pytest.mark.slow
def test_offset_difference_over_the_image(tiny_radn, image):
    model = tiny_radn(stem_pool=True)
    inspection = Inspection(model, image)
    assert inspection.layers == [f"decoder_block{i}" for i in (1, 2, 3)]
    for i, stride in enumerate((16, 8, 4)):
        layer = inspection.layers[i]
        features = input_of(model, layer, image / 255)
        unit = model.get_layer(layer).convs[0]
        offset, _ = unit.estimate_offset(features[np.newaxis])
        dx = np.asarray(offset)[0, ..., 1::2]
        columns = [dx[..., k] for k in range(9)]
        first, last = columns[0::3], columns[2::3]
        expected = stride * np.mean(np.subtract(last, first), axis=0)
        expected = expected[: -(-HEIGHT // stride), : -(-WIDTH // stride)]
        actual = inspection.offset_difference(layer, unit=1)
        assert actual.std() > 0
        np.testing.assert_allclose(
            actual, upsampled(expected, stride), rtol=1e-3, atol=1e-4
        )


def test_known_magnitude(tiny_radn, image, known_offsets):
    model = tiny_radn(stem_pool=True)
    lengths = []
    for i, stride in enumerate((16, 8, 4), start=1):
        for conv in model.get_layer(f"decoder_block{i}").convs:
            known_offsets(conv, (-0.3 * i, 0.4 * i))
            lengths.append(0.5 * i * stride)
    magnitude = Inspection(model, image).offset_magnitude()
    assert magnitude == pytest.approx(np.mean(lengths), rel=1e-5)


def test_known_sampling_points(tiny_radn, image, known_offsets):
    model = tiny_radn(stem_pool=True)
    offsets = np.zeros((3, 3, 2))
    offsets[0, 1] = -0.25, 1.5  # of the tap above the middle
    first, second = model.get_layer("decoder_block2").convs
    known_offsets(first, offsets)
    known_offsets(second, 2 * offsets)
    inspection = Inspection(model, image)
    regular, moved = inspection.sampling_points([(20.9, 9), (0, 36)])
    # Positions of 8 pixels: from 16 to 23 and from 8 to 15; 0 to 7, 32 to 39.
    around = [(x, y) for y in (-8, 0, 8) for x in (-8, 0, 8)]
    for actual, middle in zip(
        regular, ((19.5, 11.5), (3.5, 35.5)), strict=True
    ):
        np.testing.assert_allclose(actual, np.add(around, middle))
    arrows = moved - regular[:, np.newaxis]
    expected = np.zeros((2, 2, 9, 2))
    expected[:, 0, 1] = 8 * 1.5, 8 * -0.25
    expected[:, 1, 1] = 16 * 1.5, 16 * -0.25
    np.testing.assert_allclose(arrows, expected, atol=1e-5)
    _, only = inspection.sampling_points([(20.9, 9)], unit=2)
    np.testing.assert_array_equal(only, moved[:1, 1:])


@pytest.mark.slow
@pytest.mark.parametrize("pool", [1, 2])
def test_attention(tiny_radn, image, pool):
    """A row of equation 5 and the residual of equation 6 equal loops."""
    model = tiny_radn(stem_pool=True, attention_pool=pool)
    layer = model.get_layer("attention")
    for variable in layer.query_conv.weights:  # no position outweighs all
        variable.assign(0.01 * variable)
    inspection = Inspection(model, image)
    features = input_of(model, "attention", image / 255)
    weights = [
        (kernel[0, 0], bias)
        for kernel, bias in (
            conv.get_weights()
            for conv in (layer.key_conv, layer.query_conv, layer.value_conv)
        )
    ]
    features = np.squeeze(features)  # 3 by 4
    residual = self_attention(features, weights, pool) - features
    np.testing.assert_allclose(
        inspection.attention_residual(),
        upsampled(np.abs(residual).mean(axis=-1), 16),
        rtol=1e-4,
    )
    keys = windows(features, pool)
    (key, key_bias), (query, query_bias), _ = weights
    row = np.exp(
        (keys @ key + key_bias) @ (features[2, 1] @ query + query_bias)
    )
    actual = inspection.attention((17, 36))
    assert 0.01 < actual.min() < 0.99
    np.testing.assert_allclose(
        actual, upsampled(row / row.mean(), 16 * pool), rtol=1e-4
    )


@pytest.mark.parametrize("count", [3, 6])
def test_residual_baseline(tiny_baseline, image, known_offsets, count):
    model = tiny_baseline(deformable_layers=count, attention=True)
    names = Inspection(model, image).layers
    assert len(names) == count
    known = np.zeros((3, 3, 2))
    known[:, 2, 1] = 0.5
    known_offsets(model.get_layer(names[1]), known)
    inspection = Inspection(model, image)
    np.testing.assert_allclose(inspection.offset_difference(), 4 * 0.5)
    assert inspection.attention((0, 0)).shape == (HEIGHT, WIDTH)
    assert inspection.attention_residual().shape == (HEIGHT, WIDTH)


@pytest.mark.slow
def test_variants_without(tiny_radn, tiny_baseline, image):
    with pytest.raises(ValueError, match="neither"):
        Inspection(tiny_radn(decoder_block="dense", attention=False), image)
    inspection = Inspection(tiny_radn(decoder_block="bottleneck"), image)
    assert inspection.layers == []
    assert inspection.attention_residual().min() > 0
    for method in (inspection.offset_difference, inspection.offset_magnitude):
        with pytest.raises(ValueError, match="no deformable convolutions"):
            method()
    inspection = Inspection(tiny_baseline(deformable_layers=3), image)
    assert not inspection.has_attention
    for ask in (
        inspection.attention_residual,
        lambda: inspection.attention((0, 0)),
    ):
        with pytest.raises(ValueError, match="no self-attention"):
            ask()


@pytest.mark.slow
def test_kinds_of_images(tiny_radn, image):
    model = tiny_radn()
    gray = image[..., :1]
    rgb = np.repeat(gray, 3, axis=-1)
    alpha = np.full_like(gray, 9)
    expected = Inspection(model, rgb).attention_residual()
    for same in (
        gray,
        gray[..., 0],
        np.concatenate([gray, alpha], axis=-1),
        np.concatenate([rgb, alpha], axis=-1),
        rgb.astype("uint16") * 257,
        rgb / 255,
    ):
        actual = Inspection(model, same).attention_residual()
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.slow
def test_half_precision(tiny_radn, image):
    model = tiny_radn(dtype="mixed_bfloat16")
    reference = tiny_radn()
    reference.set_weights(model.get_weights())
    half, full = (Inspection(m, image) for m in (model, reference))
    for get in (
        lambda i: i.offset_difference(),
        lambda i: i.attention_residual(),
        lambda i: i.attention((3, 4)),
    ):
        assert get(half).dtype == "float32"
        scale = np.abs(get(full)).max()
        np.testing.assert_allclose(get(half), get(full), atol=0.1 * scale)


def test_errors(tiny_radn, image):
    model = tiny_radn()
    with pytest.raises(ValueError, match=r"0\.0 megapixels"):
        Inspection(model, image, max_pixels=HEIGHT * WIDTH - 1)
    with pytest.raises(ValueError, match=r"NumPy array.*Received: str"):
        Inspection(model, "blurred.jpg")
    with pytest.raises(ValueError, match="shape"):
        Inspection(model, image[np.newaxis])
    inspection = Inspection(model, image, max_pixels=HEIGHT * WIDTH)
    for point in ((-1, 0), (WIDTH, 0), (0, HEIGHT), (float("nan"), 0)):
        with pytest.raises(ValueError, match="52x37"):
            inspection.attention(point)
        with pytest.raises(ValueError, match="52x37"):
            inspection.sampling_points([point])
    with pytest.raises(ValueError, match="decoder_block1, decoder_block2"):
        inspection.offset_difference("attention")
    for unit in (0, 3):
        with pytest.raises(ValueError, match="from 1 to 2"):
            inspection.offset_difference(unit=unit)


def test_diverged_weights(tiny_radn, image):
    model = tiny_radn()
    layer = model.get_layer("attention")
    for conv in (layer.query_conv, layer.value_conv):
        conv.bias.assign(np.full(conv.bias.shape, np.nan))
    inspection = Inspection(model, image)
    for ask in (
        inspection.attention_residual,
        lambda: inspection.attention((0, 0)),
    ):
        with pytest.raises(ValueError, match="NaN"):
            ask()
