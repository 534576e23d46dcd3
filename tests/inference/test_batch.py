"""With a network that is the identity: all else of a file has to stay."""

import sys

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from keras_radn.inference import Deblurrer, deblur_files
from keras_radn.inference.batch import run_job
from keras_radn.inference.planning import Job
from keras_radn.pictures.jpeg import jpeg_quality
from keras_radn.pictures.reading import (
    read_pages,
    read_picture,
    register_heif,
)
from tests.inference.video.test_process import moving, write_clip

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">caption \xc3\xa9</x:xmpmeta>'
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def identity(images):
    return images


def run(source, target, **options):
    """Deblurs by the identity; the report of a file that is done."""
    report = run_job(Job(source, target), Deblurrer(identity), **options)
    assert report.status == "done", report.error
    return report


def exif_tags(orientation=1):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x829A] = IFDRational(1, 60)  # exposure time
    exif.get_ifd(0x8825)[0x0001] = "N"  # GPS
    return exif


def diverged(images):
    """The answer of a network whose weights are NaN."""
    return images * np.float32(np.nan)


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("source", ["a.png", "a.tif", "a.mp4"])
def test_nothing_is_written_of_a_network_that_diverged(
    source, ensemble, tmp_path, photo
):
    source = tmp_path / source
    if source.suffix == ".mp4":
        write_clip(source, moving(photo, 2))
    else:
        Image.fromarray(photo[:40, :50]).save(source)
    compare = tmp_path / "out/compare.jpg" if source.suffix == ".png" else None
    job = Job(source, tmp_path / "out" / source.name, compare=compare)
    job.target.parent.mkdir()
    report = run_job(job, Deblurrer(diverged, ensemble=ensemble))
    assert report.status == "failed"
    assert report.error.startswith(f"{source}: The network answers with NaN")
    assert list(job.target.parent.iterdir()) == []


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
    """Pixels and alpha exactly, also of what is fully transparent."""
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
    """Read by OpenCV and tifffile, which share no code with what wrote them."""
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


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(suffix, orientation, photo, tmp_path):
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {"quality": 97}
    if suffix in (".png", ".tif"):
        options = {}
    image = Image.fromarray(photo[:32, :48])
    image.save(source, exif=exif_tags(orientation), **options)
    run(source, target)
    with Image.open(source) as before, Image.open(target) as after:
        expected = np.asarray(ImageOps.exif_transpose(before)).astype(int)
        assert np.abs(np.asarray(after) - expected).mean() < 1.5
        assert after.getexif().get(0x0112, 1) == 1
        assert after.getexif()[0x010F] == "maker"


def test_orientation_of_16_bits(rng, tmp_path):
    array = rng.integers(0, 65536, (20, 30, 3), np.uint16)
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    tifffile.imwrite(
        source, array, photometric="rgb", extratags=[(274, 3, 1, 6)]
    )
    run(source, target)
    np.testing.assert_array_equal(tifffile.imread(target), np.rot90(array, -1))
    with Image.open(target) as image:
        assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("before", [".jpg", ".png", ".webp", ".tif", ".heic"])
@pytest.mark.parametrize("after", [".jpg", ".png", ".webp", ".tif", ".heic"])
def test_metadata(before, after, photo, tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    source, target = tmp_path / f"in{before}", tmp_path / f"out{after}"
    options = {"exif": exif_tags(), "icc_profile": ICC, "xmp": XMP}
    image = Image.fromarray(photo[:32, :48])
    if before == ".png":
        options["pnginfo"] = texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode())
    elif before == ".tif":
        options["exif"] = Image.Exif()
        options["exif"].load(exif_tags().tobytes())
        options["exif"][700] = options.pop("xmp")
    image.save(source, **options)
    report = run(source, target)
    assert report.notes == []
    with Image.open(target) as image:
        exif = image.getexif()
        assert exif[0x010F] == "maker"
        assert exif.get_ifd(0x8769)[0x829A] == pytest.approx(1 / 60)
        assert exif.get_ifd(0x8825)[0x0001] == "N"
        assert image.info["icc_profile"] == ICC
        assert image.info["xmp"] == XMP


def test_metadata_of_16_bits(rng, tmp_path):
    array = rng.integers(0, 65536, (20, 30, 3), np.uint16)
    first, second = tmp_path / "a.tif", tmp_path / "b.png"
    third = tmp_path / "c.tif"
    tifffile.imwrite(
        first,
        array,
        photometric="rgb",
        iccprofile=ICC,
        resolution=(300, 300),
        extratags=[(700, 1, len(XMP), XMP), (0x010F, 2, 0, "maker")],
    )
    run(first, second)
    run(second, third)
    for path in (second, third):
        with Image.open(path) as image:
            assert image.getexif()[0x010F] == "maker"
            assert image.info["icc_profile"] == ICC
            assert image.info["xmp"] == XMP
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_other_texts(photo, tmp_path):
    image = Image.fromarray(photo[:20, :30])
    iptc = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\0"
    segment = b"\xff\xed" + (len(iptc) + 2).to_bytes(2, "big") + iptc
    image.save(tmp_path / "a.jpg", comment=b"a comment", extra=segment)
    run(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as result:
        assert result.info["comment"] == b"a comment"
        assert ("APP13", iptc) in result.applist
    texts = PngInfo()
    texts.add_text("Author", "somebody")
    image.save(tmp_path / "a.png", pnginfo=texts)
    run(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as result:
        assert result.text["Author"] == "somebody"


def test_makers_notes_stay_where_they_are(photo, tmp_path):
    """All bytes of EXIF but the orientation and the link to the thumbnail."""
    exif = exif_tags(6)
    exif.get_ifd(0x8769)[0x927C] = b"maker's note with offsets"
    Image.fromarray(photo[:20, :30]).save(tmp_path / "a.jpg", exif=exif)
    run(tmp_path / "a.jpg", tmp_path / "b.jpg")
    exifs = []
    for name in ("a.jpg", "b.jpg"):
        with Image.open(tmp_path / name) as image:
            exifs.append(image.info["exif"])
    before, after = exifs
    assert len(before) == len(after)
    assert sum(x != y for x, y in zip(before, after, strict=True)) <= 2


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
    """Of different sizes and depths; a preview is left out."""
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


def test_phone_pictures(photo, tmp_path):
    """A JPEG file with a second picture behind the first one."""
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


def test_existing_files_are_kept(photo, tmp_path):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(photo[:20, :30]).save(source)
    target.write_text("precious")
    job = Job(source, target)
    report = run_job(job, Deblurrer(identity))
    assert report.status == "failed"
    assert "force=True" in report.error
    report = run_job(job, Deblurrer(identity), skip_existing=True)
    assert report.status == "skipped"
    assert target.read_text() == "precious"

    # One that appears during the work, too.
    target.unlink()

    def slow(images):
        target.write_text("another program's")
        return images

    assert run_job(job, Deblurrer(slow)).status == "failed"
    assert target.read_text() == "another program's"
    run(source, target, force=True)
    with Image.open(target) as result:
        assert result.size == (30, 20)
    assert {p.name for p in tmp_path.iterdir()} == {"in.png", "out.png"}


def test_compare(photo, tmp_path):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    both = tmp_path / "out.png.compare.jpg"
    Image.fromarray(photo[:200, :300]).save(source)
    (report,) = deblur_files(source, target, lambda x: 1 - x, compare=True)
    assert report.status == "done"
    with Image.open(both) as image:
        result = np.asarray(image).astype(int)
    assert result.shape == (200, 608, 3)
    assert np.abs(result[:, :300] - photo[:200, :300]).mean() < 3
    assert np.abs(result[:, 308:] - (255 - photo[:200, :300])).mean() < 3


def test_batch(photo, tmp_path):
    """A folder, mirrored; the report is in the order of the files."""
    folder = tmp_path / "in" / "deep" / "er"
    folder.mkdir(parents=True)
    for path in (tmp_path / "in" / "a.png", folder / "b.JPG"):
        Image.fromarray(photo[:20, :30]).save(path)
    (tmp_path / "in" / "c.png").write_text("broken")
    Image.fromarray(photo[:20, :30]).save(tmp_path / "in" / "d.gif")
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    output = tmp_path / "in" / "out"  # below the input
    for status in ("done", "failed"):
        reports = list(deblur_files(tmp_path / "in", output, identity))
        rows = [(r.source.rsplit("/", 1)[1], r.status) for r in reports]
        assert rows == [
            ("a.png", status),
            ("c.png", "failed"),
            ("d.gif", status),
            ("b.JPG", status),
        ]
    written = {str(p.relative_to(output)) for p in output.rglob("*.*")}
    assert written == {"a.png", "d.gif.png", "deep/er/b.JPG"}


def test_pages_are_read_one_by_one(tmp_path):
    image = Image.new("L", (8, 8))
    image.save(tmp_path / "a.tif", save_all=True, append_images=[image] * 2)
    pages = read_pages(tmp_path / "a.tif")
    assert next(pages).pixels.shape == (8, 8)
    pages.close()


def test_dry_run_and_progress(photo, tmp_path):
    """What would be done, then each file and each run of the network."""
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(photo[:20, :30]).save(tmp_path / "in" / name)
    output, calls = tmp_path / "out", []

    def start(**options):
        calls.clear()
        reports = deblur_files(
            tmp_path / "in",
            output,
            Deblurrer(identity, ensemble=True),
            progress=lambda *call: calls.append(call),
            **options,
        )
        return [report.status for report in reports]

    assert start(dry_run=True) == ["planned", "planned"]
    assert not output.exists()
    assert calls == [(0, 2, 0, 0), (1, 2, 0, 0), (2, 2, 0, 0)]
    assert start() == ["done", "done"]
    runs = [[(i, 2, run, 8) for run in range(1, 9)] for i in range(2)]
    assert calls == [
        *((0, 2, 0, 0), *runs[0], (1, 2, 0, 0), *runs[1], (2, 2, 0, 0))
    ]
    assert start(dry_run=True) == ["failed", "failed"]
    assert start(dry_run=True, skip_existing=True) == ["skipped", "skipped"]
