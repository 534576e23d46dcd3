import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_radn.datasets.image_files import cached_rgb, list_images, read_rgb


def opencv_rgb(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture
def crop(photo):
    return photo[100:140, 60:110]


def test_links_are_followed_and_hidden_files_left_out(tmp_path, crop):
    elsewhere = tmp_path / "elsewhere"
    root = tmp_path / "root"
    for path in (
        elsewhere / "1.png",
        root / "a" / "2.PNG",
        root / "a" / "._2.png",
        root / ".cache" / "3.png",
        root / "__MACOSX" / "4.png",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).save(path)
    (root / "b").symlink_to(elsewhere)
    (root / "c").symlink_to(elsewhere)
    (root / "a" / "up").symlink_to(root)  # not for ever
    assert list_images(root) == [
        root / "a" / "2.PNG",
        root / "b" / "1.png",
        root / "c" / "1.png",
    ]


def test_a_file_that_was_written_anew_is_read_anew(tmp_path, crop):
    path = tmp_path / "a.png"
    for image in (crop, crop[::-1, :20], crop[:, :10]):
        Image.fromarray(image).save(path)
        for _ in range(2):
            np.testing.assert_array_equal(cached_rgb(path), image)


def test_the_memory_of_latest_images_is_bounded(tmp_path, crop, monkeypatch):
    cached_rgb.cache_clear()
    monkeypatch.setattr(cached_rgb.cache, "_Cache__maxsize", 3 * crop.nbytes)
    for i in range(5):
        path = tmp_path / f"{i}.png"
        Image.fromarray(crop).save(path)
        cached_rgb(path)
    assert cached_rgb.cache_info().currsize == 3 * crop.nbytes


@pytest.mark.parametrize("mode", ["L", "LA", "1", "RGB", "RGBA"])
def test_modes_against_opencv(tmp_path, crop, mode):
    path = tmp_path / "a.png"
    Image.fromarray(crop).convert(mode).save(path)
    array = read_rgb(path)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, opencv_rgb(path))


def test_alpha_is_dropped(tmp_path, crop):
    alpha = np.arange(crop[..., 0].size, dtype=np.uint8).reshape(40, 50)
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([crop, alpha])).save(path)
    np.testing.assert_array_equal(read_rgb(path), crop)


@pytest.mark.parametrize("transparency", [None, 3, bytes([0, 128, 255])])
def test_palette(tmp_path, rng, transparency):
    colors = rng.integers(0, 256, (8, 3), np.uint8)
    indices = rng.integers(0, 8, (20, 30), np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(colors.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "a.png", **options)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), colors[indices])


def test_cmyk(tmp_path, rng):
    inks = rng.integers(0, 256, (20, 30, 4), np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.tif")
    paper = 255.0 - inks
    expected = paper[..., :3] * paper[..., 3:] / 255
    assert np.abs(read_rgb(tmp_path / "a.tif") - expected).max() <= 1


@pytest.mark.parametrize(
    ("suffix", "channels"), [("png", 1), ("png", 3), ("tif", 1)]
)
def test_16_bits(tmp_path, rng, suffix, channels):
    values = rng.integers(0, 65536, (20, 30, channels), np.uint16)
    path = tmp_path / f"a.{suffix}"
    assert cv2.imwrite(str(path), values[..., ::-1])
    expected = np.broadcast_to(values >> 8, (20, 30, 3))
    np.testing.assert_array_equal(read_rgb(path), expected)


def test_16_bits_with_the_high_byte_first(tmp_path, rng):
    values = rng.integers(0, 65536, (20, 30), np.uint16)
    image = Image.frombytes("I;16B", (30, 20), values.astype(">u2").tobytes())
    image.save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "I;16B"
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "a.tif")[..., 1], values >> 8
    )


def test_32_bits(tmp_path):
    values = np.array([[0, 255, 256, 65535, 70000, -5]], np.int32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "a.tif")[0, :, 0], [0, 0, 1, 255, 255, 0]
    )


def test_floating_point_values(tmp_path):
    Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif.*floating-point"):
        read_rgb(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_against_opencv(tmp_path, crop, orientation):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(crop).save(path, exif=exif, quality=95, subsampling=0)
    array = read_rgb(path)
    assert array.shape == ((40, 50, 3) if orientation < 5 else (50, 40, 3))
    # The two JPEG decoders round differently.
    assert np.abs(array - opencv_rgb(path).astype(int)).max() <= 3


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_truncated(tmp_path, crop, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(crop).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(
        ValueError, match=rf"a\.{suffix} is not a readable image"
    ):
        read_rgb(path)


def test_text(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("no image")
    with pytest.raises(ValueError, match=r"a\.png is not a readable image"):
        read_rgb(path)


@pytest.mark.parametrize("limit", [1500, 500])
@pytest.mark.parametrize("filters", ["error", "default", "ignore"])
def test_too_many_pixels(tmp_path, crop, monkeypatch, limit, filters):
    """Pillow raises an error at twice the limit and warns at the limit."""
    path = tmp_path / "a.png"
    Image.fromarray(crop).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter(filters)
        with pytest.raises(ValueError, match=rf"a\.png has more than {limit}"):
            read_rgb(path)
