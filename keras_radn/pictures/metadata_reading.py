"""What a file that is not TIFF says about its picture, format by format.

What is not kept is named in a note.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from PIL import Image

from keras_radn.pictures import boxes, jpeg, png, xmp
from keras_radn.pictures.exif import EXIF_PREFIX, has_resolution
from keras_radn.pictures.picture import Metadata

_GIF_EXTENSION = re.compile(rb"!\xff\x0b(.{11})", re.DOTALL)
_OF_FRAMES = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_WEBP_CHUNKS = (
    *(b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"),
    *(b"ICCP", b"EXIF", b"XMP "),
)
_EMBEDDED = b"DEBM"
_MPO_HEAD, _MPO_ENTRIES = b"MPF\0", 0xB002
_PPM_COMMENT = re.compile(rb"#([^\r\n]*)")


def read_metadata(
    image: Image.Image, file: BinaryIO, chunks: Sequence[png.Chunk]
) -> tuple[Metadata, list[str]]:
    """What a file says, the orientation and thumbnails with it.

    Args:
        image: the file as Pillow has opened it.
        file: the same.
        chunks: of `png.split`, if it is PNG.

    Returns:
        Metadata, and notes on what is left out.
    """
    file.seek(0)
    read = _READERS.get(image.format)
    metadata, notes = Metadata(), []
    if image.format == "PNG":
        metadata, notes = png.metadata_of(chunks)
    elif read is not None:
        metadata, notes = read(image, file.read())
    info = image.info
    known_by_pillow = Metadata(
        exif=info.get("exif"),
        icc_profile=info.get("icc_profile"),
        xmp=_encoded(info.get("xmp")),
        dpi=info.get("dpi"),
    )
    metadata = replace(
        metadata,
        **{
            key: getattr(metadata, key) or getattr(known_by_pillow, key)
            for key in ("exif", "icc_profile", "xmp", "dpi")
        },
    )
    exif = metadata.exif
    if exif and not exif.startswith(EXIF_PREFIX):
        metadata = replace(metadata, exif=EXIF_PREFIX + exif)
    return metadata, notes


def _encoded(text):
    return text.encode() if isinstance(text, str) else text


def _jpeg(image, data):
    info, main = image.info, image.info.get("xmp")
    if info.get("jfif_unit") not in (1, 2) and not has_resolution(
        info.get("exif")
    ):
        info.pop("dpi", None)  # a guess of Pillow's
    metadata, notes = jpeg.metadata_of(image.applist, main)
    profile = any(d.startswith(b"ICC_PROFILE\0") for _, d in image.applist)
    if profile and not info.get("icc_profile"):
        notes.append("its ICC profile is damaged and left out")
    rest = data[_end_of_pictures(image, data) :]
    if rest.strip(b"\0\xff"):
        notes.append(
            f"{len(rest)} bytes behind the picture, as the video of a motion "
            "photo, are left out"
        )
        if main:
            metadata = replace(metadata, xmp=xmp.without_motion(main))
    return metadata, notes


def _end_of_pictures(image, data):
    if image.format != "MPO":
        return jpeg.end_of_picture(data)
    start = data.index(_MPO_HEAD) + len(_MPO_HEAD)
    return max(
        # The first one is at the start of the file, which 0 stands for.
        entry["Size"] + (entry["DataOffset"] and start + entry["DataOffset"])
        for entry in image.mpinfo[_MPO_ENTRIES]
    )


def _jpeg_2000(image, data):
    metadata, notes = boxes.jpeg_2000_metadata(data)
    return replace(metadata, comments=_comments(image)), notes


def _gif(image, data):
    names = {
        match[1].decode("latin-1"): None
        for match in _GIF_EXTENSION.finditer(data)
        if match[1] not in _OF_FRAMES
    }
    notes = [f"its extension {name!r} is left out" for name in names]
    return Metadata(comments=_comments(image)), notes


def _comments(image):
    comment = image.info.get("comment")
    return (comment,) if comment else ()


def _heif(image, data):
    notes = boxes.notes_on_boxes(data)
    info = image.info
    if info.get("depth_images"):
        notes.append("its depth images are left out")
    if info.get("aux"):
        notes.append("its auxiliary images (gain maps) are left out")
    return Metadata(), notes + _note_on_colors(image, data)


def _avif(image, data):
    notes = boxes.notes_on_boxes(data) + _note_on_colors(image, data)
    if not image.info.get("exif"):
        return Metadata(), notes
    # Pillow writes its tags anew to enter the orientation, which `getexif` has.
    *_, exif, _, _ = image._decoder.get_info()
    return Metadata(exif=exif or image.info["exif"]), notes


def _note_on_colors(image, data):
    if image.info.get("icc_profile") or not boxes.unusual_colors(data):
        return []
    return [
        "its color primaries or transfer are not those of sRGB and are left "
        "out; the colors may be shown otherwise"
    ]


def _webp(image, data):
    end = 8 + int.from_bytes(data[4:8], "little")
    place, unknown = 12, {}
    while place + 8 <= min(end, len(data)):
        name, size = struct.unpack_from("<4sL", data, place)
        if name not in _WEBP_CHUNKS:
            unknown[name.decode("latin-1")] = None
        place += 8 + size + size % 2
    notes = [f"its chunk {name!r} is left out" for name in unknown]
    if data[end:].strip(b"\0"):
        notes.append(f"{len(data) - end} bytes behind the picture are left out")
    return Metadata(), notes


def _bmp(image, data):
    """Reads the color profile that a header of version 5 may point to."""
    if len(data) < 14 + 124 or data[14] != 124 or data[70:74] != _EMBEDDED:
        return Metadata(), []
    place, size = struct.unpack_from("<LL", data, 14 + 112)
    profile = data[14 + place : 14 + place + size]
    return Metadata(icc_profile=profile or None), []


def _ppm(image, data):
    head = data[: image.tile[0].offset if image.tile else 0]
    comments = [text.strip() for text in _PPM_COMMENT.findall(head)]
    return Metadata(comments=tuple(filter(None, comments))), []


_READERS = {
    **dict.fromkeys(("JPEG", "MPO"), _jpeg),
    "JPEG2000": _jpeg_2000,
    "GIF": _gif,
    "HEIF": _heif,
    "AVIF": _avif,
    "WEBP": _webp,
    "BMP": _bmp,
    "PPM": _ppm,
}
