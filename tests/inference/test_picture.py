"""The pixels of picture files of all formats, deblurred by the identity."""

import sys

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_radn.inference import Deblurrer
from keras_radn.inference.batch import run_job
from keras_radn.inference.planning import Job
from keras_radn.pictures.jpeg import jpeg_quality
from keras_radn.pictures.reading import read_pages, read_picture, register_heif
from tests.inference.identity import identity, run


@pytest.mark.parametrize(
    ("suffix", "format_"),
    [
        (".png", "PNG"),
        (".jpg", "JPEG"),
        (".webp", "WEBP"),
        (".tif", "TIFF"),
        (".bmp", "BMP"),
        (".heic", "HEIF"),
        (".avif", "AVIF"),
        (".jp2", "JPEG2000"),
        (".ppm", "PPM"),
    ],
)
def test_formats(suffix, format_, photo, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(photo[:64, :90]).save(source)
    report = run(source, target)
    assert (report.width, report.height, report.pages) == (90, 64, 1)
    with Image.open(source) as before, Image.open(target) as after:
        assert after.format == format_
        difference = np.asarray(before).astype(int) - np.asarray(after)
        assert np.abs(difference).mean() < 3
    assert {p.name for p in tmp_path.iterdir()} == {source.name, target.name}


def test_heic_without_its_library(photo, monkeypatch, tmp_path):
    register_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    source = tmp_path / "a.png"
    Image.fromarray(photo[:20, :30]).save(source)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    for job in (
        Job(source, tmp_path / "b.heic"),
        Job(tmp_path / "a.heic", tmp_path / "b.png"),
    ):
        report = run_job(job, Deblurrer(identity))
        assert report.status == "failed"
        assert "a.heic" in report.error or "a.png" in report.error
        assert "pip install 'keras-radn[heic]'" in report.error


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "PA"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_modes(mode, suffix, photo, tmp_path):
    """Pixels and alpha stay exact, even where a pixel is transparent."""
    image = Image.fromarray(photo[:20, 100:130])
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image = image.convert(mode)
    elif mode == "PA":
        image = image.convert("P")
        image.info["transparency"] = 3
    else:
        image = image.convert(mode)
    if suffix != ".png" and mode == "PA":
        image = image.convert("RGBA")
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    image.save(source, **options)
    run(source, target)
    with Image.open(source) as before, Image.open(target) as after:
        before = before.convert("RGBA")
        np.testing.assert_array_equal(after.convert("RGBA"), before)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits(suffix, channels, rng, tmp_path):
    """OpenCV and tifffile, which did not write the files, read them."""
    array = rng.integers(0, 65536, (40, 50, channels), np.uint16)
    array = array[..., 0] if channels == 1 else array
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    if suffix == ".tif":
        extra = ["unassalpha"] if channels in (2, 4) else None
        photometric = "rgb" if channels > 2 else "minisblack"
        tifffile.imwrite(
            source,
            array,
            photometric=photometric,
            extrasamples=extra,
            planarconfig="contig" if channels > 1 else None,
            compression="lzw",
            predictor=True,
        )
    else:
        imagecodecs = pytest.importorskip("imagecodecs")
        source.write_bytes(imagecodecs.png_encode(array))
    run(source, target)
    if suffix == ".tif":
        np.testing.assert_array_equal(tifffile.imread(target), array)
        with tifffile.TiffFile(target) as tiff:
            assert tiff.pages[0].compression.name == "LZW"
            assert tiff.pages[0].photometric.name.lower() == photometric
    if channels != 2:
        result = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
        order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(channels)
        result = result if order is None else cv2.cvtColor(result, order)
        np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": None},
        {"compression": "zlib", "predictor": True},
        {"planarconfig": "separate"},
        {"byteorder": ">"},
        {"tile": (16, 16)},
        {"bigtiff": True},
    ],
)
def test_kinds_of_tiff(options, rng, tmp_path):
    array = rng.integers(0, 65536, (40, 50, 3), np.uint16)
    stored = array
    if options.get("planarconfig") == "separate":
        stored = np.moveaxis(array, -1, 0)
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    tifffile.imwrite(source, stored, photometric="rgb", **options)
    run(source, target)
    np.testing.assert_array_equal(tifffile.imread(target), array)


def test_inverted_gray_and_floats(rng, tmp_path):
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    gray = rng.integers(0, 65536, (40, 50), np.uint16)
    tifffile.imwrite(source, gray, photometric="miniswhite")
    run(source, target)
    np.testing.assert_array_equal(tifffile.imread(target), 65535 - gray)
    floats = rng.random((40, 50, 3), np.float32)
    tifffile.imwrite(source, floats, photometric="rgb")
    run(source, target, force=True)
    np.testing.assert_array_equal(tifffile.imread(target), floats)
    # PNG holds 16 bits at most, JPEG 8.
    report = run(source, tmp_path / "out.png")
    assert "16 bits" in report.notes[0]
    result = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(result[..., ::-1] / 65535, floats, atol=1e-5)
    report = run(source, tmp_path / "out.jpg")
    assert "8 bits" in report.notes[0]


@pytest.mark.parametrize("quality", [30, 85, 92, 98])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_quality(quality, subsampling, photo, tmp_path):
    options = {"quality": quality, "subsampling": subsampling}
    source, target = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Image.fromarray(photo[:64, :64]).save(source, **options)
    with Image.open(source) as image:
        assert jpeg_quality(image.quantization) == quality
    run(source, target)
    with Image.open(target) as image:
        assert jpeg_quality(image.quantization) == max(quality, 90)
        assert image.layer[0][1:3] == (1 + subsampling // 2,) * 2
    run(source, target, quality=70, force=True)
    with Image.open(target) as image:
        assert jpeg_quality(image.quantization) == 70


def test_pages(rng, photo, tmp_path):
    """Pages differ in size and depth; a preview is left out."""
    arrays = [
        photo[:33, :50],
        rng.integers(0, 65536, (20, 31), np.uint16),
        photo[:15, :15, 0],
    ]
    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    with tifffile.TiffWriter(source) as tiff:
        tiff.write(arrays[0], photometric="rgb")
        tiff.write(arrays[0][::4, ::4], photometric="rgb", subfiletype=1)
        tiff.write(arrays[1])
        tiff.write(arrays[2], compression="zlib")
    report = run(source, target)
    assert report.pages == 3
    assert "previews" in report.notes[0]
    with tifffile.TiffFile(target) as tiff:
        assert len(tiff.pages) == 3
        for page, array in zip(tiff.pages, arrays, strict=True):
            np.testing.assert_array_equal(page.asarray(), array)
    with Image.open(target) as image:
        assert image.n_frames == 3
    report = run_job(Job(source, tmp_path / "b.png"), Deblurrer(identity))
    assert report.status == "failed"
    assert "several pages" in report.error
    with pytest.raises(ValueError, match="several pages; give one of them"):
        read_picture(source)


def test_pages_are_read_one_by_one(tmp_path):
    image = Image.new("L", (8, 8))
    image.save(tmp_path / "a.tif", save_all=True, append_images=[image] * 2)
    pages = read_pages(tmp_path / "a.tif")
    assert next(pages).pixels.shape == (8, 8)
    pages.close()


def test_phone_pictures(photo, tmp_path):
    """A JPEG file has a second picture after the first one."""
    image, source = Image.fromarray(photo[:20, :30]), tmp_path / "a.jpg"
    image.save(source, "MPO", save_all=True, append_images=[image])
    report = run(source, tmp_path / "b.jpg")
    assert "left out" in report.notes[0]
    with Image.open(tmp_path / "b.jpg") as result:
        assert (result.format, result.size) == ("JPEG", (30, 20))


def test_cmyk(photo, tmp_path):
    source, target = tmp_path / "a.jpg", tmp_path / "b.jpg"
    image = Image.fromarray(photo[:20, :30]).convert("CMYK")
    image.save(source, icc_profile=b"no profile", quality=97)
    report = run(source, target)
    assert "approximate" in report.notes[0]
    with Image.open(target) as result:
        assert result.mode == "RGB"
        assert "icc_profile" not in result.info
        difference = np.asarray(result).astype(int) - photo[:20, :30]
        assert np.abs(difference).mean() < 4
