"""EXIF from format to format, byte by byte."""

import io
import re
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from keras_radn.pictures.exif import (
    Value,
    exif_bytes,
    exif_tags,
    in_order,
    upright_exif,
    without_orientation,
)
from keras_radn.pictures.reading import read_picture
from keras_radn.pictures.writing import save_pages
from tests.pictures import carried
from tests.pictures.carried import chunk, png_with, saved

WITH_EXIF = [".png", ".jpg", ".webp", ".tif", ".heic", ".avif"]


def pillow_exif(path):
    """Returns the tags as Pillow reads them, with texts in Latin-1."""
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        return dict(exif) | exif.get_ifd(0x8769) | exif.get_ifd(0x8825)


def sources_of_exif(image, order):
    exif = carried.exif(order=order)
    yield "jpg", saved(image, "JPEG", exif=exif)
    yield "png", saved(image, "PNG", exif=exif)
    yield "webp", saved(image, "WEBP", exif=exif)
    yield "heic", saved(image, "HEIF", exif=exif)
    for kind in (b"zTXt", b"tEXt"):
        raw = carried.raw_profile("exif", exif, kind)
        yield f"{kind}.png", png_with(saved(image, "PNG"), raw)
    raw = carried.raw_profile("APP1", exif)
    yield "app1.png", png_with(saved(image, "PNG"), raw)
    plain = saved(image, "JPEG2000")
    box = struct.pack(">L4s", 8 + 16 + len(exif) - 6, b"uuid")
    yield "jp2", plain + box + b"JpgTiffExif->JP2" + exif[6:]


@pytest.mark.slow
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", WITH_EXIF)
def test_texts_that_are_not_ascii(suffix, order, image, convert):
    """They survive TIFF and AVIF and the way back to JPEG."""
    for name, data in sources_of_exif(image, order):
        target, notes = convert(data, suffix)
        # OpenJPEG writes one.
        assert [note for note in notes if "comment" not in note] == [], name
        back, notes = convert(target.read_bytes(), ".jpg")
        assert notes == [], name
        for path in (target, back):
            tags = pillow_exif(path)
            assert tags[0x013B].encode("latin-1") == carried.AUTHOR, name
            assert tags[0x927C] == carried.NOTE, name
            assert float(tags[0x829A]) == pytest.approx(1 / 60), name
            assert tags[0x0001] == "N", name


def test_types_of_tags_stay():
    """Types that Pillow guesses from values stay, too."""
    for order in "<>":
        tags = {
            0x010F: (2, b"maker\0"),
            0x8769: None,
            0xC000: (2, b"text\0"),
            0xC001: (9, struct.pack(f"{order}2l", -1, 70_000)),
            0xC002: (12, struct.pack(f"{order}d", 0.1)),
            0xC003: (7, b"\1\2\3"),
            0xC004: (10, struct.pack(f"{order}2l", -1, 3)),
            0xC005: (3, struct.pack(f"{order}3H", 1, 2, 3)),
        }
        directory = {t: Value(*v) for t, v in tags.items() if v}
        directory[0x8769] = {0xA434: Value(2, b"lens\0")}
        data = exif_bytes(directory, order)
        assert exif_tags(data) == (directory, order)
        swapped = in_order(directory, order, "<>".replace(order, ""))
        exif = Image.Exif()
        exif.load(exif_bytes(swapped, "<>".replace(order, "")))
        assert exif[0xC001] == (-1, 70_000)
        assert exif[0xC002] == 0.1
        assert exif[0xC003] == b"\1\2\3"
        assert float(exif[0xC004]) == pytest.approx(-1 / 3)
        assert exif[0xC005] == (1, 2, 3)
        assert exif.get_ifd(0x8769)[0xA434] == "lens"


@pytest.mark.parametrize("order", ["<", ">"])
def test_without_orientation(order):
    """Everything else keeps its place."""
    before = carried.exif(6, order)
    after = without_orientation(before)
    assert len(after) == len(before)
    place = before.index(carried.NOTE)
    assert after[place:].startswith(carried.NOTE)
    tags, _ = exif_tags(before)
    del tags[0x0112]
    assert exif_tags(after) == (tags, order)
    assert without_orientation(after) == after


@pytest.mark.parametrize("order", ["<", ">"])
def test_makers_notes_in_tiff_of_16_bits(order, convert):
    """The file takes the byte order of the notes, which do not state it."""
    exif, array = carried.exif(order=order), carried.array(np.uint16)
    data = png_with(imagecodecs.png_encode(array), chunk(b"eXIf", exif[6:]))
    target, notes = convert(data, ".tif")
    assert notes == []
    np.testing.assert_array_equal(tifffile.imread(target), array)
    content = target.read_bytes()
    assert content[:2] == exif[6:8]
    assert content[exif[6:].index(carried.NOTE) :].startswith(carried.NOTE)
    # On a second page it cannot stay at its place.
    pages = [read_picture(data), read_picture(target.read_bytes())]
    save_pages(pages, target)
    with tifffile.TiffFile(target) as result:
        for page in result.pages:
            np.testing.assert_array_equal(page.asarray(), array)
            tags = page.tags[0x8769].value
            assert tags["MakerNote"] == carried.NOTE
            assert page.tags[0x013B].value == carried.AUTHOR.decode()


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".heic"])
def test_no_thumbnail_stays(orientation, order, suffix, image, convert):
    thumbnail = saved(image.resize((8, 8)), "JPEG")
    exif = carried.exif(orientation, order, thumbnail)
    data = saved(image, "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as before:
        assert before.getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(
            thumbnail
        )
    target, _ = convert(data, suffix)
    with Image.open(target) as result:
        after = result.info["exif"].removeprefix(b"Exif\0\0")
        assert result.getexif().get_ifd(ExifTags.IFD.IFD1) == {}
        assert result.getexif()[0x010F] == "maker"
    # Nothing else has moved or changed but what the turn has made.
    changed = sum(x != y for x, y in zip(exif[6:], after, strict=True))
    assert 0 < changed <= 16


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_width_and_height_are_those_of_the_result(
    suffix, orientation, image, convert
):
    exif = carried.exif(orientation)
    xmp = (
        b'<x tiff:ImageWidth="48" tiff:ImageLength="32"><exif:PixelXDimension>'
        b"48</exif:PixelXDimension><exif:PixelYDimension>32</exif:"
        b"PixelYDimension></x>"
    )
    data = saved(image, "JPEG", exif=exif, xmp=xmp, dpi=(300, 200))
    target, _ = convert(data, suffix)
    turned = orientation > 4
    width, height = (32, 48) if turned else (48, 32)
    tags = pillow_exif(target)
    assert (tags[0xA002], tags[0xA003]) == (width, height)
    with Image.open(target) as result:
        assert result.size == (width, height)
        numbers = re.findall(rb"[0-9]+", result.info["xmp"])
        if suffix != ".avif":
            dpi = (200, 300) if turned else (300, 200)
            assert result.info["dpi"] == pytest.approx(dpi, abs=0.1)
    assert numbers == [b"%d" % n for n in (width, height) * 2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("tag", [0x9214, 0xA214])
@pytest.mark.parametrize("sides", [(), (9,), (7, 9)])
def test_the_subject_is_where_it_was(orientation, tag, sides, convert):
    """A white pixel keeps its distances from the nearest edges."""
    pixels = np.zeros((32, 48), np.uint8)
    pixels[5, 11] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[tag] = (11, 5, *sides)
    data = saved(Image.fromarray(pixels), "PNG", exif=exif)
    target, _ = convert(data, ".png")
    with Image.open(target) as result:
        x, y, *after = result.getexif().get_ifd(0x8769)[tag]
        assert result.getpixel((x, y)) == 255
    assert tuple(after) == (sides[::-1] if orientation > 4 else sides)


def test_resolution_in_exif_is_turned():
    """The values are fractions stored elsewhere in the bytes."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B] = 6, 300.0, 200.0
    tags = Image.Exif()
    tags.load(upright_exif(exif.tobytes(), 6))
    assert (tags[0x011A], tags[0x011B], tags[0x0112]) == (200, 300, 1)


@pytest.mark.parametrize("suffix", WITH_EXIF)
def test_damaged_exif(suffix, image, convert):
    """Either nothing can be read, or a tag's value lies beyond the end."""
    exif = carried.exif()
    unreadable = exif[:14] + b"\xff\xff" + exif[16:]
    target, notes = convert(saved(image, "JPEG", exif=unreadable), suffix)
    assert notes == ["its damaged EXIF is left out"]
    with Image.open(target) as result:
        assert b"maker" not in (result.info.get("exif") or b"")
    place = exif.index(struct.pack(">HHL", 0x013B, 2, len(carried.AUTHOR) + 1))
    damaged = exif[: place + 8] + b"\xff" * 4 + exif[place + 12 :]
    target, notes = convert(saved(image, "JPEG", exif=damaged), suffix)
    name = {".tif": "TIFF", ".avif": "AVIF"}.get(suffix)
    if name is not None:
        assert notes == [f"{name} holds no damaged EXIF"]
    else:
        assert notes == []
        assert damaged[6:] in target.read_bytes()


def test_exif_of_avif_as_it_is(image):
    """Pillow rewrites it if the file itself turns the picture."""
    data = saved(image, "AVIF", exif=carried.exif(6))
    written = carried.AUTHOR.decode("latin-1").encode("ascii", "replace")
    assert written in data
    data = data.replace(written, carried.AUTHOR)
    picture = read_picture(data)
    assert picture.pixels.shape == (48, 32, 3)
    tags, _ = exif_tags(picture.metadata.exif)
    assert tags[0x013B].data == carried.AUTHOR + b"\0"
    assert tags[0x8769][0x927C].data == carried.NOTE
