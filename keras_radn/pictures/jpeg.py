"""The segments of JPEG files: what Pillow does not tell or write of them."""

import functools
import hashlib
import io
import re
import struct

from PIL import Image

from keras_radn.pictures import photoshop, xmp
from keras_radn.pictures.picture import Metadata

# Bytes that a segment holds beside its length.
LONGEST_SEGMENT = 65533

_APP1, _APP13, _COMMENT = 0xE1, 0xED, 0xFE
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
# What Pillow reads, or what says how this file is stored; JFXX is a thumbnail.
_KNOWN = {
    "APP0": (b"JFIF\0", b"JFXX\0"),
    "APP1": (_EXIF, _XMP, _EXTENSION),
    "APP2": (b"ICC_PROFILE\0", b"MPF\0"),
    "APP13": (_PHOTOSHOP,),
    "APP14": (b"Adobe",),
}
# A marker within or behind the compressed pixels.
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)


def metadata_of(
    segments: list[tuple[str, bytes]], main_xmp: bytes | None
) -> tuple[Metadata, list[str]]:
    """What segments say about a picture beside EXIF, XMP and color profile.

    Args:
        segments: names and contents, as Pillow's `applist`.
        main_xmp: that of the file, which may name an extension.

    Returns:
        Metadata, and notes on what is left out.
    """
    notes = []
    unknown = {
        name: None
        for name, data in segments
        if name != "COM" and not data.startswith(_KNOWN.get(name, ()))
    }
    if unknown:
        notes.append(f"its segments {', '.join(unknown)} are left out")
    resources = b"".join(
        data.removeprefix(_PHOTOSHOP)
        for name, data in segments
        if name == "APP13" and data.startswith(_PHOTOSHOP)
    )
    resources = photoshop.without_thumbnails(resources)
    name = xmp.extension_name(main_xmp) if main_xmp else None
    extension = _extension(segments, name) if name else None
    if name and extension is None:
        notes.append("its extended XMP is damaged and left out")
    metadata = Metadata(
        xmp_extension=extension,
        comments=tuple(data for name, data in segments if name == "COM"),
        iptc=photoshop.iptc_of(resources),
        photoshop=resources or None,
    )
    return metadata, notes


def _extension(segments, name):
    """All parts of extended XMP; each tells its place."""
    head = struct.Struct(">32sLL")
    parts = {}
    for app, data in segments:
        start = len(_EXTENSION) + head.size
        if app != "APP1" or not data.startswith(_EXTENSION):
            continue
        if len(data) < start:
            return None
        owner, total, place = head.unpack_from(data, len(_EXTENSION))
        if owner.upper() == name.upper():
            parts[place] = data[start:], total
    whole = b"".join(parts[place][0] for place in sorted(parts))
    complete = parts and {total for _, total in parts.values()} == {len(whole)}
    return whole if complete else None


def segments_of(metadata: Metadata) -> bytes:
    """Segments for what Pillow does not write."""
    segments = [(_COMMENT, comment) for comment in metadata.comments]
    resources = photoshop.with_iptc(metadata.photoshop or b"", metadata.iptc)
    length = LONGEST_SEGMENT - len(_PHOTOSHOP)
    segments += [
        (_APP13, _PHOTOSHOP + part) for part in _parts(resources, length)
    ]
    if extension := metadata.xmp_extension:
        # As the standard has it; that of some files is another one.
        name = metadata.xmp and xmp.extension_name(metadata.xmp)
        name = name or hashlib.md5(extension).hexdigest().upper().encode()
        length, place = 65_000, 0
        for part in _parts(extension, length):
            head = struct.pack(">32sLL", name, len(extension), place)
            segments.append((_APP1, _EXTENSION + head + part))
            place += len(part)
    return b"".join(
        struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data
        for marker, data in segments
    )


def _parts(data, length):
    return [data[i : i + length] for i in range(0, len(data), length)]


def end_of_picture(data: bytes) -> int:
    """Where the first picture of a JPEG file ends; that of the file if it is
    cut off."""
    place = 2
    while match := _MARKER.search(data, place):
        place = match.end()
        marker = match[1][0]
        if marker == 0xD9:
            return place
        if marker not in (0x01, 0xD8):
            place += int.from_bytes(data[place : place + 2], "big")
    return len(data)


def bits_of(data: bytes) -> int:
    """Bits of a channel as the head of a JPEG file says; 8 if it does not."""
    place = 2
    while match := _MARKER.search(data, place):
        place, marker = match.end(), match[1][0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[place + 2] if place + 2 < len(data) else 8
        if marker in (0xD9, 0xDA):
            break
        place += int.from_bytes(data[place : place + 2], "big")
    return 8


def jpeg_quality(quantization: dict[int, list[int]]) -> int | None:
    """The quality of libjpeg that quantises as finely as some tables.

    Args:
        quantization: tables as Pillow gives them, that of luma first.

    Returns:
        1 to 100: the lowest one whose table of luma has no larger sum. None
        if there are no tables, as in lossless files.
    """
    if not quantization:
        return None
    luma = sum(quantization[min(quantization)])
    for quality in range(1, 100):
        if _luma_sum(quality) <= luma:
            return quality
    return 100


@functools.cache
def _luma_sum(quality):
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return sum(image.quantization[0])
