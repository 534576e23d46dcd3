"""Boxes of JPEG 2000, HEIC and AVIF files, whose metadata Pillow leaves out."""

import struct
from collections.abc import Iterator

from keras_radn.pictures.exif import EXIF_PREFIX
from keras_radn.pictures.picture import Metadata

_UUIDS = {
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp",
    b"JpgTiffExif->JP2": "exif",
}
# How the pictures are stored.
_OF_PICTURES = (
    *(b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"free", b"skip"),
    *(b"meta", b"mdat", b"idat", b"moov"),
)
# Codes of ISO/IEC 23091-2 for sRGB and BT.709, or for unknown ones.
_USUAL_PRIMARIES, _USUAL_TRANSFER = (1, 2), (1, 2, 6, 13)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents of successive boxes, up to one that is cut off."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">L4s", data, place)
        head = 8
        if size == 1 and place + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, place + 8)
            head = 16
        end = place + size if size else len(data)
        if not place + head <= end <= len(data):
            return
        yield kind, data[place + head : end]
        place = end


def jpeg_2000_metadata(data: bytes) -> tuple[Metadata, list[str]]:
    """What the boxes of a .jp2 file say.

    Returns:
        Metadata without resolution and comment, and notes on what is left out.
    """
    found = {}
    for kind, content in boxes(data):
        if kind == b"jp2h":
            for inner, value in boxes(content):
                if inner == b"colr" and value[:1] in (b"\2", b"\3"):
                    found["icc_profile"] = value[3:]
        elif kind == b"uuid" and content[:16] in _UUIDS:
            found[_UUIDS[content[:16]]] = content[16:]
    if "exif" in found:
        found["exif"] = EXIF_PREFIX + found["exif"].removeprefix(EXIF_PREFIX)
    return Metadata(**found), notes_on_boxes(data)


def notes_on_boxes(data: bytes) -> list[str]:
    """Notes on the boxes of a file that are left out."""
    unknown = dict.fromkeys(
        kind.decode("latin-1").strip()
        for kind, content in boxes(data)
        if kind not in _OF_PICTURES
        and not (kind == b"uuid" and content[:16] in _UUIDS)
    )
    return [f"its boxes {', '.join(unknown)} are left out"] if unknown else []


def unusual_colors(data: bytes) -> bool:
    """Whether a HEIC or AVIF file says that its colors are not sRGB's.

    That is, by numbers, which no other format holds, not by a profile.
    """
    mark = data.find(b"colrnclx")
    if mark < 0 or len(data) < mark + 12:
        return False
    primaries, transfer = struct.unpack_from(">HH", data, mark + 8)
    return primaries not in _USUAL_PRIMARIES or transfer not in _USUAL_TRANSFER
