"""The metadata of picture files, deblurred by the identity."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from tests.inference.identity import run

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">caption \xc3\xa9</x:xmpmeta>'
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_tags(orientation=1):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x829A] = IFDRational(1, 60)  # exposure time
    exif.get_ifd(0x8825)[0x0001] = "N"  # GPS
    return exif


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
    """Only the orientation and the link to the thumbnail change in EXIF."""
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
