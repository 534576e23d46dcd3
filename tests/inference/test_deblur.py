"""With a network that is the identity, what goes in has to come out."""

import gc
import io
import weakref

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from keras_radn import RADN, deblur
from keras_radn.datasets.blur_synthesis import BlurStrength, blur_scene
from tests.conftest import TINY_RADN


@pytest.fixture(scope="module")
def identity():
    return RADN(**TINY_RADN)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("shape", [(21, 30, 3), (21, 30), (21, 30, 1), (1, 1)])
def test_arrays(dtype, shape, identity, rng):
    image = rng.random(shape)
    if dtype.startswith("uint"):
        image = image * np.iinfo(dtype).max
    image = image.astype(dtype)
    result = deblur(image, identity)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, image, rtol=1e-6, atol=1e-6)


def test_non_contiguous_and_read_only(identity, photo):
    view = photo[40:80:2, 90:30:-1]
    view.setflags(write=False)
    np.testing.assert_array_equal(deblur(view, identity), view)


@pytest.mark.parametrize(
    "mode",
    ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"],
)
def test_pil_images(mode, identity, photo):
    image = Image.fromarray(photo[:20, 100:130])
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    if mode == "F":
        image = Image.fromarray(np.float32(photo[:20, 100:130, 0] / 255))
    image = image.convert(mode)
    result = deblur(image, identity)
    expected = mode
    if mode in ("P", "CMYK", "YCbCr"):
        expected = "RGB"
    elif mode == "1":
        expected = "L"
    assert result.mode == expected
    np.testing.assert_allclose(
        np.asarray(result), np.asarray(image.convert(expected)), rtol=1e-6
    )


def test_the_output_is_clipped(photo, rng):
    model = RADN(**TINY_RADN)
    model.get_layer("reconstruction").bias.assign([0.5, 0, -0.5])
    result = deblur(photo[:20, :20], model).astype(int)
    expected = photo[:20, :20] + np.array([127.5, 0, -127.5])
    np.testing.assert_allclose(result, np.clip(expected, 0, 255), atol=0.5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5, 5)), "shape"),
        (np.zeros((4, 5, 0)), "shape"),
        (np.zeros((1, 4, 5, 3)), "shape"),
        (np.zeros(4), "shape"),
        (np.zeros((0, 5, 3)), "shape"),
        (np.zeros((4, 5, 3), int), "dtype int64"),
        (np.full((4, 5, 3), np.nan), "NaN"),
        (np.full((4, 5, 3), np.inf), "infinite"),
        (np.full((4, 5, 3), 255.0), "from 255 to 255"),
        (np.full((4, 5, 3), -0.1), "from -0.1"),
        (Image.new("I", (4, 5)), "mode I"),
        (Image.new("F", (4, 5), 2), "from 2 to 2"),
        (b"no picture", "not an image"),
        (b"", "empty"),
    ],
)
def test_bad_images(image, message, identity):
    with pytest.raises(ValueError, match=message):
        deblur(image, identity)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_of_arrays_is_untouched(channels, dtype, rng):
    white = np.iinfo(dtype).max
    image = rng.integers(0, white, (21, 30, channels), dtype)
    result = deblur(image, lambda images: 1 - images)
    np.testing.assert_array_equal(result[..., -1], image[..., -1])
    np.testing.assert_array_equal(result[..., :-1], white - image[..., :-1])


def test_bytes_and_callables(photo):
    file = io.BytesIO()
    Image.fromarray(photo[:20, :30]).save(file, "PNG")
    result = deblur(file.getvalue(), lambda images: 1 - images)
    np.testing.assert_array_equal(np.asarray(result), 255 - photo[:20, :30])


def test_a_model_is_traced_once(photo):
    """Whatever the size; and it is freed with its graph."""
    model = RADN(**TINY_RADN)
    traced = []
    model.get_layer("crop").call = _counted(
        model.get_layer("crop").call, traced
    )
    for size in (20, 33, 48):
        result = deblur(photo[:size, :30], model)
        np.testing.assert_array_equal(result, photo[:size, :30])
    assert len(traced) == 1
    # With the weights of now, not those of the first call.
    model.get_layer("reconstruction").bias.assign([0.5, 0, -0.5])
    assert not np.array_equal(deblur(photo[:20, :30], model), photo[:20, :30])
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def _counted(function, calls):
    def counted(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return counted


def test_float64_model(photo):
    image = photo[:20, :30] / 255
    result = deblur(image, RADN(**TINY_RADN, dtype="float64"))
    np.testing.assert_allclose(result, image, atol=1e-6)


def test_wrong_type(identity):
    with pytest.raises(TypeError, match="Received: list"):
        deblur([[0.5]], identity)


@pytest.mark.slow
def test_packaged_network_deblurs():
    """Photographs that were in no training set, blurred in linear light."""
    strength = BlurStrength(
        path_shape=100, path_scale=0.1, sharp=0, linear_light=1, foreground=0
    )
    gains = []
    for i, photo in enumerate(
        (data.astronaut(), data.chelsea(), data.coffee())
    ):
        rng = np.random.default_rng(i)
        blurred, sharp = blur_scene(rng, photo[:288, :448], None, strength)
        before = peak_signal_noise_ratio(sharp, blurred)
        gains.append(peak_signal_noise_ratio(sharp, deblur(blurred)) - before)
    assert min(gains) > 0.1
    assert np.mean(gains) > 0.3


def test_ensemble_keeps_size_and_equivariance(tiny_radn, photo):
    model = tiny_radn()
    picture = photo[:33, :46]
    result = deblur(picture, model, ensemble=True)
    assert result.shape == picture.shape
    turned = deblur(np.rot90(picture), model, ensemble=True)
    assert np.abs(np.rot90(result).astype(int) - turned).max() <= 1
    single = deblur(picture, model)
    assert np.abs(single.astype(int) - result).max() > 1
