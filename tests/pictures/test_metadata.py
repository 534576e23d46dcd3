"""IPTC, XMP, texts and profiles from format to format, byte by byte."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, PngImagePlugin

from keras_radn.inference import deblur
from tests.pictures import carried
from tests.pictures.carried import chunk, png_with, resource, saved, segment


def test_thumbnails_elsewhere(image, convert):
    """Those in XMP, in Photoshop's resources and in Pillow's pictures go."""
    xmp = b"<x><xmp:Thumbnails><rdf:Alt>/9j/</rdf:Alt></xmp:Thumbnails>a</x>"
    resources = (
        resource(0x03ED, b"resolution"),
        resource(0x040C, b"a picture"),
        resource(0x0404, carried.IPTC),
        resource(0x0409, b"another"),
    )
    head = b"Photoshop 3.0\0"
    extra = segment(0xED, head + b"".join(resources))
    data = saved(image, "JPEG", xmp=xmp, extra=extra)
    target, notes = convert(data, ".jpg")
    assert notes == []
    with Image.open(target) as result:
        assert result.info["xmp"] == b"<x>a</x>"
    left = resources[0] + resources[2]
    assert carried.jpeg_segments(target, "APP13", head) == [left]
    target, notes = convert(data, ".tif")
    assert carried.tiff_tag(target, 34377) == left
    exif = carried.exif(thumbnail=saved(image, "JPEG"))
    image.info["exif"] = exif
    result = deblur(image, lambda x: x)
    assert result.getexif().get_ifd(ExifTags.IFD.IFD1) == {}
    assert len(result.info["exif"]) == len(exif)


def test_iptc_of_tiff(convert):
    """It survives TIFF, JPEG and PNG; either tag is enough."""
    resources = resource(0x0404, carried.IPTC) + resource(0x03ED, b"res")
    for tags in (
        [(33723, 7, len(carried.IPTC), carried.IPTC)],
        [(34377, 1, len(resources), resources)],
        [
            (33723, 7, len(carried.IPTC), carried.IPTC),
            (34377, 1, len(resources), resources),
        ],
    ):
        file = io.BytesIO()
        array = carried.array(np.uint16)
        tifffile.imwrite(file, array, photometric="rgb", extratags=tags)
        for suffix in (".tif", ".jpg", ".png"):
            target, notes = convert(file.getvalue(), suffix)
            assert not any("IPTC" in note for note in notes)
            target, _ = convert(target.read_bytes(), ".tif")
            assert carried.tiff_tag(target, 33723) == carried.IPTC
            if tags[-1][0] == 34377:
                assert carried.tiff_tag(target, 34377) == resources


def test_iptc_in_numbers_of_4_bytes(convert):
    """Photoshop writes it so, in the file's own byte order."""
    data = carried.IPTC + bytes(-len(carried.IPTC) % 4)
    for order in "<>":
        file = io.BytesIO()
        numbers = np.frombuffer(data, f"{order}u4").tolist()
        tag = (33723, 4, len(numbers), numbers)
        array = carried.array(np.uint16)
        tifffile.imwrite(
            file, array, photometric="rgb", byteorder=order, extratags=[tag]
        )
        target, _ = convert(file.getvalue(), ".tif")
        assert carried.tiff_tag(target, 33723) == data


def test_iptc_in_several_segments(image, convert):
    """Large resources are cut at any byte."""
    resources = resource(0x0425, b"x" * 100_001) + resource(
        0x0404, carried.IPTC
    )
    head = b"Photoshop 3.0\0"
    extra = segment(0xED, head + resources[:65_000])
    extra += segment(0xED, head + resources[65_000:])
    target, notes = convert(saved(image, "JPEG", extra=extra), ".jpg")
    assert notes == []
    parts = carried.jpeg_segments(target, "APP13", head)
    assert len(parts) == 2
    assert b"".join(parts) == resources
    target, _ = convert(target.read_bytes(), ".tif")
    assert carried.tiff_tag(target, 33723) == carried.IPTC


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_raw_profiles_of_png(kind, image, convert):
    """ImageMagick writes IPTC, XMP and resources like this."""
    resources = resource(0x0404, carried.IPTC)
    for name in ("iptc", "8bim"):
        data = png_with(
            saved(image, "PNG"),
            carried.raw_profile(name, resources, kind),
            carried.raw_profile("xmp", carried.XMP, kind),
            carried.raw_profile("icc", carried.ICC, kind),
        )
        for suffix in (".png", ".jpg", ".tif"):
            target, notes = convert(data, suffix)
            assert notes == []
            with Image.open(target) as result:
                assert result.info["xmp"] == carried.XMP
                assert result.info["icc_profile"] == carried.ICC
            target, _ = convert(target.read_bytes(), ".tif")
            assert carried.tiff_tag(target, 33723) == carried.IPTC


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_xmp_in_any_text_of_png(kind, image, convert):
    text = {
        b"tEXt": b"\0" + carried.XMP,
        b"zTXt": b"\0\0" + zlib.compress(carried.XMP),
        b"iTXt": b"\0\1\0\0\0" + zlib.compress(carried.XMP),
    }[kind]
    data = png_with(
        saved(image, "PNG"), chunk(kind, b"XML:com.adobe.xmp" + text)
    )
    for suffix in (".png", ".jpg", ".webp"):
        target, notes = convert(data, suffix)
        assert notes == []
        with Image.open(target) as result:
            assert result.info["xmp"] == carried.XMP


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_long_texts_of_png(dtype, convert):
    """Workflows and large EXIF stay as they are, whatever Pillow reads."""
    long = bytes(range(32, 127)) * 100_000
    texts = [
        (b"zTXt", b"workflow\0\0" + zlib.compress(long)),
        (b"iTXt", b"prompt\0\1\0de\0Befehl\0" + zlib.compress(long)),
        (b"tEXt", b"Comment\0one"),
        (b"tEXt", b"Comment\0\xe9"),
    ]
    file = imagecodecs.png_encode(carried.array(dtype))
    profile = carried.ICC + bytes(2_000_000)
    data = png_with(
        file,
        chunk(b"iCCP", b"large\0\0" + zlib.compress(profile)),
        *(chunk(*text) for text in texts),
    )
    target, notes = convert(data, ".png")
    assert notes == []
    stream = PngImagePlugin.ChunkStream(io.BytesIO(target.read_bytes()))
    stream.fp.seek(8)
    found = []
    while (header := stream.read())[0] != b"IEND":
        found.append((header[0], stream.fp.read(header[2])))
        stream.fp.read(4)
    assert [
        pair for pair in found if pair[0] in (b"zTXt", b"iTXt", b"tEXt")
    ] == (texts)
    (iccp,) = (content for name, content in found if name == b"iCCP")
    assert zlib.decompress(iccp.split(b"\0\0", 1)[1]) == profile
    np.testing.assert_array_equal(
        imagecodecs.png_decode(target.read_bytes()), carried.array(dtype)
    )
    target, notes = convert(data, ".jpg")
    assert "JPEG holds no workflow, prompt of PNG" in notes
    comments = carried.jpeg_segments(target, "COM")
    assert comments == [b"one", "é".encode()]


def test_what_is_too_long_for_jpeg(image, convert):
    """A PNG file has long EXIF, XMP with its extension, and a comment."""
    exif = carried.exif() + bytes(70_000)
    xmp = carried.LONG_XMP + b" " * 70_000
    data = png_with(
        saved(image, "PNG", exif=exif),
        chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"c" * 70_000)),
        chunk(b"zTXt", b"Comment\0\0no stream"),
        chunk(b"tEXt", b"Comment\0short"),
    )
    target, notes = convert(data, ".jpg")
    assert notes == [
        "JPEG holds no Comment of PNG",  # the damaged one
        "JPEG holds no comment of more than 64 kB",
        "JPEG holds no EXIF of more than 64 kB",
        "JPEG holds no XMP of more than 64 kB",
    ]
    assert carried.jpeg_segments(target, "COM") == [b"short"]
    assert carried.jpeg_segments(target, "APP1") == []


def test_comments(image, convert):
    """All of them survive between formats that have a place for them."""
    two = segment(0xFE, b"first") + segment(0xFE, "é".encode())
    jpeg = saved(image, "JPEG", extra=two)
    target, notes = convert(jpeg, ".jpg")
    assert (carried.jpeg_segments(target, "COM"), notes) == (
        [b"first", "é".encode()],
        [],
    )
    target, notes = convert(jpeg, ".png")
    assert notes == []
    target, notes = convert(target.read_bytes(), ".jpg")
    assert carried.jpeg_segments(target, "COM") == [b"first", "é".encode()]
    target, notes = convert(jpeg, ".jp2")
    assert notes == ["JPEG2000 holds no second comment"]
    with Image.open(target) as result:
        assert result.info["comment"] == b"first"
    for data in (
        saved(image, "JPEG2000", comment=b"a comment"),
        saved(image, "GIF", comment=b"a comment"),
        b"P6\n# a comment\n48 32\n255\n" + bytes(48 * 32 * 3),
    ):
        target, notes = convert(data, ".png")
        assert notes == []
        assert carried.png_texts(target)["Comment"] == "a comment"
        target, notes = convert(data, ".webp")
        assert notes == ["WEBP holds no comment"]


def test_profiles_that_pillow_does_not_read(image, convert):
    """JPEG 2000 and BMP can have such profiles."""
    jp2 = saved(image, "JPEG2000")
    old = jp2.index(b"colr") - 4
    (size,) = struct.unpack_from(">L", jp2, old)
    colr = struct.pack(">L4sBBB", 11 + len(carried.ICC), b"colr", 2, 0, 0)
    head = jp2.index(b"jp2h") - 4
    (head_size,) = struct.unpack_from(">L", jp2, head)
    grown = head_size + 11 + len(carried.ICC) - size
    jp2 = b"".join(
        [
            jp2[:head],
            struct.pack(">L", grown),
            jp2[head + 4 : old],
            colr + carried.ICC,
            jp2[old + size :],
        ]
    )
    rows = np.asarray(image)[::-1, :, ::-1].tobytes()
    header = struct.pack("<LLLHHL", 124, 48, 32, 1, 24, 0)
    header = header.ljust(56, b"\0") + b"DEBM"
    header = header.ljust(112, b"\0") + struct.pack(
        "<LLL", 124 + len(rows), len(carried.ICC), 0
    )
    start = struct.pack("<LLL", 138 + len(rows) + len(carried.ICC), 0, 138)
    bmp = b"BM" + start + header + rows + carried.ICC
    for data in (jp2, bmp):
        target, notes = convert(data, ".png")
        assert notes == []
        with Image.open(target) as result:
            assert result.info["icc_profile"] == carried.ICC


def test_shape_of_a_pixel_in_tiff(convert):
    """The resolution has no unit."""
    file = io.BytesIO()
    array = carried.array(np.uint16)
    tifffile.imwrite(
        file, array, photometric="rgb", resolution=(3, 2), resolutionunit=1
    )
    target, _ = convert(file.getvalue(), ".tif")
    with tifffile.TiffFile(target) as result:
        assert result.pages[0].tags[282].value == (3, 1)
        assert result.pages[0].tags[296].value == 1
