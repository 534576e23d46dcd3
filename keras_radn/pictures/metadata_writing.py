"""What formats can hold of what a file says about its picture."""

import contextlib
import struct
import zlib
from dataclasses import replace

from keras_radn.pictures import jpeg, png
from keras_radn.pictures.exif import (
    exif_tags,
    has_resolution,
    without_orientation,
)
from keras_radn.pictures.picture import Metadata
from keras_radn.pictures.xmp import without_extension

# What formats have a place for.
_HELD = {
    "PNG": {"exif", "xmp", "icc_profile", "dpi", "iptc", "comments"},
    "JPEG": {"exif", "xmp", "xmp_extension", "icc_profile", "dpi", "iptc"}
    | {"comments"},
    "WEBP": {"exif", "xmp", "icc_profile"},
    "TIFF": {"exif", "xmp", "icc_profile", "dpi", "iptc"},
    "BMP": {"dpi"},
    "HEIF": {"exif", "xmp", "icc_profile"},
    "AVIF": {"exif", "xmp", "icc_profile"},
    "JPEG2000": {"comments"},
    "PPM": set(),
}
_NAMES = {
    "exif": "EXIF",
    "xmp": "XMP",
    "xmp_extension": "extended XMP",
    "icc_profile": "ICC profile",
    "dpi": "resolution",
    "iptc": "IPTC",
    "comments": "comment",
}

# Chunks of PNG files that say what is taken for granted without them.
_SRGB_CHUNKS = {
    b"gAMA": struct.pack(">L", 45455),
    b"cHRM": struct.pack(
        ">8L", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000
    ),
}


def held(metadata: Metadata, format_: str, notes: list[str]) -> Metadata:
    """What a format has a place for.

    Args:
        metadata: of a picture.
        format_: of `output_format`.
        notes: gets a sentence on what is lost.

    Returns:
        What is to be written.
    """
    if format_ != "PNG":
        _note_colors(metadata, format_, notes)
        metadata = _without_texts(metadata, format_, notes)
    lost = [
        key
        for key in _NAMES
        if key not in _HELD[format_] and getattr(metadata, key)
    ]
    if "iptc" not in _HELD[format_] and metadata.photoshop:
        lost.append("iptc")
    if "dpi" in lost and "exif" not in lost and has_resolution(metadata.exif):
        lost.remove("dpi")
    if lost:
        names = ", ".join(_NAMES[key] for key in dict.fromkeys(lost))
        notes.append(f"{format_} holds no {names}")
    if "xmp_extension" in lost and "xmp" not in lost:
        metadata = replace(metadata, xmp=without_extension(metadata.xmp))
    metadata = replace(
        metadata, **{key: getattr(Metadata, key) for key in lost}
    )
    if format_ in ("TIFF", "AVIF"):
        metadata = _with_readable_exif(metadata, format_, notes)
    if format_ == "JPEG":
        metadata = _within_segments(metadata, notes)
    if format_ == "JPEG2000" and len(metadata.comments) > 1:
        notes.append("JPEG2000 holds no second comment")
    return metadata


def _within_segments(metadata, notes):
    """What fits into segments of a JPEG file."""
    comments = tuple(
        c for c in metadata.comments if len(c) <= jpeg.LONGEST_SEGMENT
    )
    lost = {} if comments == metadata.comments else {"comments": comments}
    for key, overhead in (("exif", 0), ("xmp", 29)):
        data = getattr(metadata, key) or b""
        if len(data) + overhead > jpeg.LONGEST_SEGMENT:
            lost[key] = None
    notes += [f"JPEG holds no {_NAMES[k]} of more than 64 kB" for k in lost]
    if "xmp" in lost:
        lost["xmp_extension"] = None
    return replace(metadata, **lost)


def _with_readable_exif(metadata, format_, notes):
    """Drops damaged EXIF, which only formats that do not read it can hold."""
    if not metadata.exif:
        return metadata
    try:
        exif_tags(metadata.exif)
    except struct.error:
        notes.append(f"{format_} holds no damaged EXIF")
        return replace(metadata, exif=None)
    if format_ == "AVIF":
        # Pillow would write all tags anew to take it out.
        return replace(metadata, exif=without_orientation(metadata.exif))
    return metadata


def _without_texts(metadata, format_, notes):
    """Drops the texts of a PNG file, but for a comment that can stay one."""
    comments, lost = list(metadata.comments), []
    for text in metadata.png_texts:
        comment = None
        if png.keyword(text) == "Comment" and "comments" in _HELD[format_]:
            with contextlib.suppress(ValueError, zlib.error):  # if damaged
                comment = png.text_of(text)
        if comment is None:
            lost.append(png.keyword(text))
        else:
            comments.append(comment)
    lost += [
        name.decode() for name in metadata.png_chunks if name not in png.COLORS
    ]
    if lost:
        names = ", ".join(dict.fromkeys(lost))
        notes.append(f"{format_} holds no {names} of PNG")
    return replace(metadata, comments=tuple(comments), png_texts=())


def _note_colors(metadata, format_, notes):
    """Says which chunks of a PNG file are lost that other programs heed."""
    chunks = metadata.png_chunks
    # A profile, or the chunk sRGB, takes precedence over gAMA and cHRM.
    if b"cICP" not in chunks and (metadata.icc_profile or b"sRGB" in chunks):
        return
    lost = [
        name.decode()
        for name, data in chunks.items()
        if name in png.COLORS
        and name != b"sRGB"
        and data != _SRGB_CHUNKS.get(name)
    ]
    if lost:
        notes.append(
            f"{format_} holds no {', '.join(lost)} of PNG; the colors may be "
            "shown otherwise"
        )
