"""A network that is the identity returns its input."""

import gc
import io
import weakref

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from keras_radn import RADN, Deblurrer, deblur, inference_model
from keras_radn.datasets.blur_synthesis import BlurStrength, blur_scene
from keras_radn.inference import deblurrer
from keras_radn.models.inference_graph import InferenceModel, fast_dtype
from tests.conftest import TINY_RADN


@pytest.fixture(scope="module")
def identity():
    return RADN(**TINY_RADN)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [3, 4])
def test_gray_in_three_channels_stays_gray(dtype, channels, tiny_radn, rng):
    """The result equals one channel's, though the network gives a hue."""
    model = tiny_radn()
    gray = rng.random((40, 48, 1))
    if dtype.startswith("uint"):
        gray = gray * np.iinfo(dtype).max
    gray = gray.astype(dtype)
    image = np.repeat(gray, channels, axis=-1)
    result = deblur(image, model)
    np.testing.assert_array_equal(result[..., 0], deblur(gray, model)[..., 0])
    np.testing.assert_array_equal(result[..., 1], result[..., 0])
    np.testing.assert_array_equal(result[..., 2], result[..., 0])
    image[0, 0, 1] = 0  # a color is enough
    assert (np.ptp(deblur(image, model)[..., :3], axis=-1) > 0).mean() > 0.1


def test_non_contiguous_and_read_only(identity, photo):
    view = photo[40:80:2, 90:30:-1]
    view.setflags(write=False)
    np.testing.assert_array_equal(deblur(view, identity), view)


@pytest.mark.slow
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


def test_several_pages(identity, photo):
    """The advice names a function of Python."""
    file = io.BytesIO()
    with Image.fromarray(photo[:20, :30]) as image:
        image.save(file, "TIFF", save_all=True, append_images=[image])
    with pytest.raises(ValueError, match=r"`keras_radn\.deblur_files`"):
        deblur(file.getvalue(), identity)


@pytest.mark.slow
def test_a_model_is_traced_once(photo):
    """One graph serves all sizes, and is freed with its model."""
    images = keras.Input((None, None, 3))
    scaled = layers.Rescaling(0.5)
    model, traced = keras.Model(images, scaled(images)), []
    scaled.call = _counted(scaled.call, traced)
    for size in (20, 33, 48):
        result = deblur(photo[:size, :30] // 2 * 2, model)
        np.testing.assert_array_equal(result, photo[:size, :30] // 2)
    assert len(traced) == 1
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


@pytest.mark.slow
def test_an_inference_form_is_made_once_for_its_weights(photo, monkeypatch):
    """All sizes and callers share it, and it is freed with its model."""
    made = []
    monkeypatch.setattr(
        deblurrer, "inference_model", _counted(inference_model, made)
    )
    model = RADN(**TINY_RADN)
    for size in (20, 33):
        result = deblur(photo[:size, :30], model)
        np.testing.assert_array_equal(result, photo[:size, :30])
    assert made == [(model, "auto")]
    # With the weights of now, not those of the first call.
    lasting = Deblurrer(model)
    for bias in ([0.5, 0, -0.5], [0.1, 0, 0]):
        model.get_layer("reconstruction").bias.assign(bias)
        change = lasting(photo[:20, :30]).astype(int) - photo[:20, :30]
        assert (np.sign(change.mean((0, 1))) == np.sign(bias)).all()
    resolved = lasting.resolved()
    np.testing.assert_array_equal(resolved(photo[:20]), lasting(photo[:20]))
    with monkeypatch.context() as patched:
        patched.setattr(model, "get_weights", None)  # which would be called
        resolved(photo[:20])
    reference = weakref.ref(model)
    made.clear()
    del model, lasting
    gc.collect()
    assert reference() is None


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_form_that_runs(policy, photo):
    """A RADN runs in its inference form, unless its dtype has none."""
    model = RADN(**TINY_RADN, dtype=policy)
    form = Deblurrer(model).network
    assert isinstance(form, InferenceModel)
    assert form.dtype == fast_dtype()
    assert Deblurrer(model, dtype="bfloat16").network.dtype == "bfloat16"
    assert str(Deblurrer(model, dtype="float32", ensemble=True)) == (
        f"the inference form of {model.name} in float32, ensemble"
    )
    for other in (RADN(**TINY_RADN, dtype="float64"), form, deblur):
        assert Deblurrer(other).network is other


def test_the_name_of_a_preset(photo, monkeypatch):
    """`None` is the default preset; each dtype is built once."""
    made = []
    monkeypatch.setattr(
        deblurrer, "inference_model", lambda *name: made.append(name) or str
    )
    deblurrer._packaged.cache_clear()
    for _ in range(2):
        assert Deblurrer().network is Deblurrer("lite").network is str
        assert Deblurrer("lite", dtype="bfloat16").network is str
    assert made == [("lite", "auto"), ("lite", "bfloat16")]
    deblurrer._packaged.cache_clear()


@pytest.mark.parametrize("model", ["radn_final", "none.keras", 3, [1]])
def test_no_network(model):
    with pytest.raises(
        ValueError, match=r"weights \(.*\blite\b.*\)\. Received"
    ):
        Deblurrer(model)


def _counted(function, calls):
    def counted(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return counted


@pytest.mark.slow
def test_float64_model(photo):
    image = photo[:20, :30] / 255
    result = deblur(image, RADN(**TINY_RADN, dtype="float64"))
    np.testing.assert_allclose(result, image, atol=1e-6)


@pytest.mark.parametrize("dtype", ["banana", "float16", None, 32])
def test_a_dtype_that_is_none(dtype, identity, photo):
    for model in (None, identity, lambda images: images):
        with pytest.raises(ValueError, match=f"or 'auto'.*{dtype}"):
            Deblurrer(model, dtype=dtype)


@pytest.mark.slow
def test_a_dtype_of_a_given_model(tiny_radn, photo):
    """A RADN is converted to the dtype; other models must have it."""
    image = photo[:20, :30].astype("float32") / 255
    model = tiny_radn()
    expected = np.clip(model(image[np.newaxis])[0], 0, 1)
    for dtype, error in {"float32": 1e-4, "bfloat16": 0.5}.items():
        form = inference_model(model, dtype)
        answer = deblur(image, Deblurrer(model, dtype=dtype))
        np.testing.assert_array_equal(answer, deblur(image, form))
        np.testing.assert_array_equal(
            answer, Deblurrer(form, dtype=dtype)(image)
        )
        np.testing.assert_allclose(answer, expected, atol=error)
    with pytest.raises(ValueError, match=r"InferenceModel that .* bfloat16"):
        Deblurrer(form, dtype="float32")
    with pytest.raises(ValueError, match=r"a function that .* of its own"):
        Deblurrer(lambda images: images, dtype="float32")


def test_wrong_type(identity):
    with pytest.raises(TypeError, match="Received: list"):
        deblur([[0.5]], identity)


@pytest.mark.slow
def test_packaged_network_deblurs():
    """The photographs were in no training set; the blur is in linear light."""
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


@pytest.mark.slow
def test_ensemble_keeps_size_and_equivariance(tiny_radn, photo):
    model = tiny_radn()
    picture = photo[:33, :46]
    ensemble = Deblurrer(model, ensemble=True)
    result = ensemble(picture)
    assert result.shape == picture.shape
    turned = ensemble(np.rot90(picture))
    assert np.abs(np.rot90(result).astype(int) - turned).max() <= 1
    single = deblur(picture, model)
    assert np.abs(single.astype(int) - result).max() > 1
