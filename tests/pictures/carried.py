"""Files that carry metadata, and readers of what the results hold."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

pillow_heif.register_heif_opener()

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
AUTHOR = "© José 日本".encode()
NOTE = b"maker's note with places" * 3
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">caption \xc3\xa9</x:xmpmeta>'
GUID = b"0123456789ABCDEF0123456789ABCDEF"
LONG_XMP = XMP.replace(b">cap", b' xmpNote:HasExtendedXMP="%s">cap' % GUID)
EXTENSION = b"<x:xmpmeta>" + b"depth " * 30_000 + b"</x:xmpmeta>"
IPTC = b"\x1c\x02\x78\x00\x07caption"
SIZE = (48, 32)

_XMP_HEAD = b"http://ns.adobe.com/xmp/extension/\0"


def exif(orientation=1, order=">", thumbnail=b""):
    """Writes EXIF with a text in UTF-8, a maker's note and a thumbnail."""
    tags = Image.Exif()
    tags.endian = order
    tags[0x010F] = "maker"
    tags[0x0112] = orientation
    tags[0x013B] = AUTHOR
    tags.get_ifd(0x8769).update(
        {0x829A: 1 / 60, 0x927C: NOTE, 0xA002: SIZE[0], 0xA003: SIZE[1]}
    )
    tags.get_ifd(0x8825)[0x0001] = "N"
    data = bytearray(tags.tobytes())
    if thumbnail:
        # Behind the first directory, its link to that of the thumbnail.
        (count,) = struct.unpack_from(f"{order}H", data, 6 + 8)
        link, place = 6 + 8 + 2 + 12 * count, len(data) - 6
        struct.pack_into(f"{order}L", data, link, place)
        data += struct.pack(
            f"{order}HHHLLHHLLL",
            *(2, 0x0201, 4, 1, place + 30),
            *(0x0202, 4, 1, len(thumbnail), 0),
        )
        data += thumbnail
    return bytes(data)


def resource(number, content):
    """Encodes a resource of Photoshop."""
    head = b"8BIM" + struct.pack(">HHL", number, 0, len(content))
    return head + content + bytes(len(content) % 2)


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def extended_xmp(left_out=0):
    """Returns segments out of order, some of them missing."""
    parts = [
        segment(
            0xE1,
            _XMP_HEAD
            + GUID
            + struct.pack(">LL", len(EXTENSION), place)
            + EXTENSION[place : place + 60_000],
        )
        for place in range(0, len(EXTENSION), 60_000)
    ]
    return b"".join(parts[left_out:][::-1])


def chunk(name, content):
    """Encodes a chunk of PNG."""
    file = io.BytesIO()
    PngImagePlugin.putchunk(file, name, content)
    return file.getvalue()


def png_with(data, *chunks):
    """Inserts chunks after the header of a PNG file."""
    return data[:33] + b"".join(chunks) + data[33:]


def raw_profile(name, content, kind=b"zTXt"):
    """Encodes a profile as ImageMagick writes it."""
    text = f"\n{name}\n{len(content):8}\n".encode()
    text += content.hex().encode() + b"\n"
    key = f"Raw profile type {name}".encode()
    if kind == b"tEXt":
        return chunk(kind, key + b"\0" + text)
    return chunk(kind, key + b"\0\0" + zlib.compress(text))


def saved(image, format_, **options):
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def tiff_tag(path, tag):
    """Returns the bytes of a tag's value on the first page."""
    with tifffile.TiffFile(path) as tiff:
        if tag not in tiff.pages[0].tags:
            return None
        found = tiff.pages[0].tags[tag]
        start = found.valueoffset
        return Path(path).read_bytes()[start : start + found.valuebytecount]


def jpeg_segments(path, name, prefix=b""):
    """Returns the contents of segments, by Pillow."""
    with Image.open(path) as image:
        return [
            data.removeprefix(prefix)
            for app, data in image.applist
            if app == name and data.startswith(prefix)
        ]


def png_texts(path):
    with Image.open(path) as image:
        image.load()
        return image.text


def array(dtype, channels=3, seed=0):
    """Returns pixels that compress badly."""
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        return rng.random((SIZE[1], SIZE[0], channels)).astype(dtype)
    return rng.integers(
        0, np.iinfo(dtype).max, (SIZE[1], SIZE[0], channels), dtype, True
    )
