"""With a network that is the identity, what goes in has to come out."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from keras_radn import RADN, deblur
from keras_radn.datasets.blur_synthesis import BlurStrength, blur_scene
from keras_radn.inference import deblur_file
from keras_radn.inference.deblur import self_ensemble
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


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_pil_images(mode, identity, photo):
    image = Image.fromarray(photo[:20, 100:130])
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image = image.convert(mode)
    result = deblur(image, identity)
    expected = {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert result.mode == expected
    np.testing.assert_array_equal(
        np.asarray(result), np.asarray(image.convert(expected))
    )


def test_the_output_is_clipped(photo, rng):
    model = RADN(**TINY_RADN)
    model.get_layer("reconstruction").bias.assign([0.5, 0, -0.5])
    result = deblur(photo[:20, :20], model).astype(int)
    expected = photo[:20, :20] + np.array([127.5, 0, -127.5])
    np.testing.assert_allclose(result, np.clip(expected, 0, 255), atol=0.5)


def test_file_keeps_metadata(identity, photo, tmp_path):
    source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
    exif = Image.Exif()
    exif[0x010F] = "camera"
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    image = Image.fromarray(photo[:20, :30])
    image.save(source, exif=exif, icc_profile=b"profile", quality=95)
    deblur_file(source, target, identity)
    with Image.open(target) as result:
        assert result.size == (20, 30)
        assert result.getexif()[0x010F] == "camera"
        assert result.getexif().get(0x0112, 1) == 1
        assert result.info["icc_profile"] == b"profile"
    assert {p.name for p in tmp_path.iterdir()} == {"in.jpg", "out.jpg"}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_formats(suffix, identity, photo, tmp_path):
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(photo[:20, :30]).save(source)
    deblur_file(source, target, identity)
    with Image.open(source) as before, Image.open(target) as after:
        assert after.format == before.format
        difference = np.asarray(before).astype(int) - np.asarray(after)
        assert np.abs(difference).mean() < 3


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5, 2)), "shape"),
        (np.zeros((4, 5, 4)), "shape"),
        (np.zeros((1, 4, 5, 3)), "shape"),
        (np.zeros(4), "shape"),
        (np.zeros((0, 5, 3)), "shape"),
        (np.zeros((4, 5, 3), int), "dtype int64"),
        (np.full((4, 5, 3), np.nan), "NaN"),
        (np.full((4, 5, 3), np.inf), "infinite"),
        (np.full((4, 5, 3), 255.0), "from 255 to 255"),
        (np.full((4, 5, 3), -0.1), "from -0.1"),
        (Image.new("I;16", (4, 5)), "mode I;16"),
        (Image.new("F", (4, 5)), "mode F"),
    ],
)
def test_bad_images(image, message, identity):
    with pytest.raises(ValueError, match=message):
        deblur(image, identity)


def test_too_large(identity, photo):
    with pytest.raises(ValueError, match=r"0\.3 megapixels"):
        deblur(photo, identity, max_pixels=100_000)


def test_out_of_memory(photo):
    class Greedy:
        def predict_on_batch(self, images):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    with pytest.raises(ValueError, match=r"not enough memory.*512x512"):
        deblur(photo, Greedy())


def test_wrong_type(identity):
    with pytest.raises(TypeError, match="Received: list"):
        deblur([[0.5]], identity)


def test_existing_target_is_kept(identity, photo, tmp_path):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(photo[:20, :30]).save(source)
    target.write_text("precious")
    with pytest.raises(FileExistsError, match="--force"):
        deblur_file(source, target, identity)
    assert target.read_text() == "precious"
    deblur_file(source, target, identity, force=True)
    with Image.open(target) as result:
        assert result.size == (30, 20)


def test_failed_write_leaves_nothing(identity, photo, tmp_path, monkeypatch):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(photo[:20, :30]).save(source)
    target.write_text("precious")

    def fill_the_disk(image, path, *args, **kwargs):
        path.write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    with pytest.raises(OSError, match=r"out\.png: cannot be written: No space"):
        deblur_file(source, target, identity, force=True)
    assert target.read_text() == "precious"
    assert {p.name for p in tmp_path.iterdir()} == {"in.png", "out.png"}


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


def test_self_ensemble_is_the_mean_of_eight_orientations(rng):
    """With a network that shifts the image by one row."""

    class Shift:
        def predict_on_batch(self, images):
            return np.roll(images, 1, axis=1)

    image = rng.random((6, 6, 3)).astype("float32")
    # Each of the four directions comes twice.
    expected = sum(
        np.roll(image, shift, axis) for axis in (0, 1) for shift in (1, -1)
    )
    np.testing.assert_allclose(
        self_ensemble(Shift(), image), expected / 4, rtol=1e-6
    )


def test_ensemble_keeps_size_and_equivariance(tiny_radn, photo):
    model = tiny_radn()
    picture = photo[:33, :46]
    result = deblur(picture, model, ensemble=True)
    assert result.shape == picture.shape
    turned = deblur(np.rot90(picture), model, ensemble=True)
    assert np.abs(np.rot90(result).astype(int) - turned).max() <= 1
    single = deblur(picture, model)
    assert np.abs(single.astype(int) - result).max() > 1
