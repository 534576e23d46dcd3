"""The guide's second table: a note names what is left out of a file."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image

from keras_radn.pictures.metadata_reading import read_metadata
from keras_radn.pictures.reading import read_pages
from tests.pictures import carried
from tests.pictures.carried import chunk, png_with, saved, segment
from tests.pictures.test_carried import table

WIDE = struct.pack(">HHHB", 9, 16, 9, 0x80)


def box(kind, content):
    return struct.pack(">L4s", 8 + len(content), kind) + content


def mpo(image):
    return saved(image, "MPO", save_all=True, append_images=[image])


def films(image, format_):
    others = [image.rotate(90), image.rotate(180)]
    return saved(
        image, format_, save_all=True, append_images=others, duration=50
    )


def with_colors(data):
    """Gives a HEIC or AVIF file other colors, by their numbers."""
    place = data.index(b"colrnclx") + 8
    return data[:place] + WIDE + data[place + 7 :]


def tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


def tiff_with_previews(image):
    array, file = np.asarray(image), io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(array, photometric="rgb")
        writer.write(array[::4, ::4], photometric="rgb", subfiletype=1)
    return file.getvalue()


def tiff_with_pictures_below(image):
    array, file = np.asarray(image), io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(array, photometric="rgb", subifds=1)
        writer.write(array[::4, ::4], photometric="rgb", subfiletype=1)
    return file.getvalue()


def tiff_with_tag(number, length):
    def make(image):
        tags = [(number, 7, length, bytes(length), True)]
        return tiff(np.asarray(image), photometric="rgb", extratags=tags)

    return make


def five_channels(dtype):
    def make(image):
        array = carried.array(dtype, 4)
        return tiff(array, photometric="rgb", extrasamples=["unspecified"])

    return make


def raw(image):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        options = {"photometric": "rgb", "subfiletype": 1, "subifds": 1}
        writer.write(np.asarray(image), **options)
        cfa = np.zeros((32, 48), np.uint16)
        writer.write(cfa, photometric="cfa", subfiletype=0)
    return file.getvalue()


def gif_with_extension(image):
    data = saved(image, "GIF")
    block = b"!\xff\x0bXMP DataXMP" + bytes([3]) + b"xmp" + b"\0"
    end = 13 + 3 * 256
    return data[:end] + block + data[end:]


def deep(encode, bits, **options):
    def make(image):
        array = np.asarray(image).astype(np.uint16) << (bits - 8)
        return encode(array, bitspersample=bits, **options)

    return make


# A file, by row and words of the table.
FILES = {
    ("JPEG", "further pictures of an MPO"): mpo,
    ("JPEG", "segments that are not named above"): lambda i: saved(
        i, "JPEG", extra=segment(0xEB, b"JP\0\0") + segment(0xEC, b"Ducky")
    ),
    (
        "JPEG",
        "what stands behind the picture, as the video of a motion photo",
    ): (lambda i: saved(i, "JPEG", progressive=True) + b"\0\0\0\x18ftypmp42"),
    ("PNG", "other chunks"): lambda i: png_with(
        saved(i, "PNG"), chunk(b"sBIT", b"\5\5\5")
    ),
    ("PNG", "what stands behind the picture"): lambda i: (
        saved(i, "PNG") + b"more"
    ),
    ("WebP", "other chunks"): lambda i: _longer_webp(saved(i, "WEBP")),
    ("WebP", "what stands behind the picture"): lambda i: (
        saved(i, "WEBP") + b"more"
    ),
    ("TIFF", "previews"): tiff_with_previews,
    ("TIFF", "pictures below a picture"): tiff_with_pictures_below,
    ("TIFF", "layers of Photoshop"): tiff_with_tag(37724, 16),
    ("TIFF", "a transfer function"): tiff_with_tag(301, 512),
    ("TIFF", "channels of unknown meaning"): five_channels(np.uint16),
    ("HEIC", "further pictures"): lambda i: saved(
        i, "HEIF", save_all=True, append_images=[i]
    ),
    ("HEIC", "more than 8 bits"): lambda i: _deep_heic(),
    ("HEIC", "colors by numbers"): lambda i: with_colors(saved(i, "HEIF")),
    ("HEIC", "other boxes"): lambda i: (
        saved(i, "HEIF") + box(b"mpvd", b"a video")
    ),
    ("AVIF", "more than 8 bits"): deep(imagecodecs.avif_encode, 10),
    ("AVIF", "colors by numbers"): lambda i: with_colors(saved(i, "AVIF")),
    ("AVIF", "other boxes"): lambda i: (
        saved(i, "AVIF") + box(b"uuid", bytes(20))
    ),
    ("JPEG 2000", "more than 8 bits in color"): deep(
        imagecodecs.jpeg2k_encode, 12, level=0
    ),
    ("JPEG 2000", "other boxes"): lambda i: (
        saved(i, "JPEG2000") + box(b"xml ", b"<a/>")
    ),
    ("GIF", "extensions, as XMP"): gif_with_extension,
    ("PPM", "more than 8 bits in color"): lambda i: (
        b"P6 8 4 1023\n" + bytes(8 * 4 * 6)
    ),
}
WORDS = {
    "further pictures of an MPO": "other pictures in it are left out",
    "segments that are not named above": "segments APP11, APP12",
    "what stands behind the picture, as the video of a motion photo": (
        "12 bytes behind the picture"
    ),
    "what stands behind the picture": "4 bytes behind the picture",
    "previews": "previews in it",
    "pictures below a picture": "the pictures below it",
    "layers of Photoshop": "layers",
    "a transfer function": "transfer function",
    "channels of unknown meaning": "a channel of unknown meaning",
    "further pictures": "other pictures in it are left out",
    "more than 8 bits": "of 10 bits per channel 8 were read",
    "more than 8 bits in color": "bits per channel 8 were read",
    "colors by numbers": "primaries",
    "extensions, as XMP": "extension 'XMP DataXMP'",
}
REFUSED = {
    ("JPEG", "12 or 16 bits"): lambda i: imagecodecs.jpeg_encode(
        np.zeros((8, 8), np.uint16), lossless=True, bitspersample=12
    ),
    ("PNG", "animations"): lambda i: films(i, "PNG"),
    ("WebP", "animations"): lambda i: films(i, "WEBP"),
    ("GIF", "animations"): lambda i: films(i, "GIF"),
    ("AVIF", "animations"): lambda i: films(i, "AVIF"),
    ("TIFF", "raw files"): raw,
}


def _longer_webp(data):
    """Adds a chunk that no standard defines."""
    data += b"C2PA" + struct.pack("<L", 4) + b"more"
    return data[:4] + struct.pack("<L", len(data) - 8) + data[8:]


def _deep_heic():
    array = carried.array(np.uint16) >> 6 << 6
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", carried.SIZE, array.tobytes()).save(file)
    return file.getvalue()


def cells(row):
    return {
        text.strip() for text in row.split(";") if text.strip() not in ("", "-")
    }


@pytest.fixture
def image(photo):
    return Image.fromarray(photo[:32, :48])


@pytest.mark.parametrize("column", ["noted", "refused"])
def test_the_table_is_whole(column):
    made = FILES if column == "noted" else REFUSED
    rows = table("What is left out")
    listed = {
        (name, text)
        for name, row in rows.items()
        for text in cells(row[column])
    }
    assert listed == set(made)


@pytest.mark.parametrize("what", FILES, ids=" ".join)
def test_a_note_names_it(what, image):
    (picture,) = read_pages(FILES[what](image))
    words = {"other chunks": "chunk", "other boxes": "its boxes"} | WORDS
    (note,) = picture.notes
    assert words[what[1]] in note
    assert picture.pixels.ndim == 3


@pytest.mark.parametrize("what", REFUSED, ids=" ".join)
def test_a_sentence_refuses_it(what, image):
    with pytest.raises(ValueError, match=r"^<bytes>: is an? [^:]*\.$"):
        list(read_pages(REFUSED[what](image)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unknown_channels_of_any_depth(dtype, image):
    (picture,) = read_pages(five_channels(dtype)(image))
    assert picture.notes == ("a channel of unknown meaning is left out",)
    np.testing.assert_array_equal(
        picture.pixels, carried.array(dtype, 4)[..., :3]
    )


def test_no_video_is_promised(image):
    xmp = b'<x GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="9"/>'
    data = saved(image, "JPEG", xmp=xmp)
    (still,) = read_pages(data)
    assert (still.metadata.xmp, still.notes) == (xmp, ())
    (motion,) = read_pages(data + b"a video")
    assert motion.metadata.xmp == xmp.replace(b'"1"', b'"0"')


def test_a_video_behind_several_pictures(image):
    (picture,) = read_pages(mpo(image) + b"a video")
    other, behind = picture.notes
    assert "other pictures" in other
    assert behind.startswith("7 bytes behind the picture")


def test_further_images_of_heic(image):
    """No library here writes them: they are as pillow-heif reports them."""
    pillow_heif.register_heif_opener()
    file = io.BytesIO(saved(image, "HEIF"))
    with Image.open(file) as opened:
        opened.info["depth_images"] = [b"depth"]
        opened.info["aux"] = {"urn:com:apple:photo:2020:aux:hdrgainmap": [1]}
        _, notes = read_metadata(opened, file, [])
    assert notes == [
        "its depth images are left out",
        "its auxiliary images (gain maps) are left out",
    ]


def test_damage_is_noted(image):
    profile = zlib.compress(carried.ICC)[:-20]
    data = png_with(
        saved(image, "PNG"),
        chunk(b"iCCP", b"a\0\0" + profile),
        chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    )
    (picture,) = read_pages(data)
    assert picture.notes == (
        "its damaged chunk tEXt is left out",
        "its damaged iCCP is left out",
    )
    half = carried.ICC[:100]
    data = saved(
        image, "JPEG", extra=segment(0xE2, b"ICC_PROFILE\0\1\2" + half)
    )
    (picture,) = read_pages(data)
    assert picture.notes == ("its ICC profile is damaged and left out",)
    data = saved(
        image,
        "JPEG",
        xmp=carried.LONG_XMP,
        extra=carried.extended_xmp(left_out=1),
    )
    (picture,) = read_pages(data)
    assert picture.notes == ("its extended XMP is damaged and left out",)
