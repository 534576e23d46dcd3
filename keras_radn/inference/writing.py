"""Writing pictures so that no quality and no metadata are lost on the way."""

import functools
import io
import operator
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import PngImagePlugin

from keras_radn.files import written_beside
from keras_radn.inference.pictures import EXIF_PREFIX, Picture
from keras_radn.inference.reading import register_heif
from keras_radn.inference.tiff_writing import write_tiff_pages

# Of lossy formats; that of a JPEG source is never gone below.
DEFAULT_QUALITY = 95
LEAST_QUALITY = 90

# What can be written, and the suffixes. Not GIF, which has only 256 colors.
_SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "HEIF": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2",),
    "PPM": (".ppm", ".pgm", ".pnm"),
}
_FORMATS = {s: format_ for format_, list_ in _SUFFIXES.items() for s in list_}
_WITHOUT_ALPHA = ("JPEG", "PPM")
_WITHOUT_METADATA = ("BMP", "JPEG2000", "PPM")

# Chunks of PNG files that say what is taken for granted without them.
_SRGB_CHUNKS = {
    b"gAMA": struct.pack(">L", 45455),
    b"cHRM": struct.pack(
        ">8L", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000
    ),
}

# A segment of a JPEG file has a length of 16 bits.
_LONGEST_SEGMENT = 65533


def output_format(path: str | os.PathLike) -> str:
    """Pillow's name of the format of a path's suffix.

    Raises:
        ValueError: if images of this kind cannot be written.
        ImportError: if it is HEIC and pillow-heif is not installed.
    """
    suffix = Path(path).suffix.lower()
    format_ = _FORMATS.get(suffix)
    if format_ is None:
        raise ValueError(
            f"{path}: the suffix {suffix!r} is no image format that can be "
            "written; use .png, .jpg, .webp or .tif. A new folder has to end "
            "in a slash."
        )
    if format_ == "HEIF":
        register_heif()
    return format_


def save_pages(
    pages: Iterable[Picture],
    path: str | os.PathLike,
    quality: int | None = None,
    force: bool = True,
) -> list[str]:
    """Writes a picture, or the pages of a TIFF file, beside and renames it.

    Args:
        pages: pictures, taken one by one; exactly one if the format is not
            TIFF.
        path: where to write; the suffix chooses the format.
        quality: 1 to 100, of JPEG, WebP, HEIC and AVIF. `None`: at least that
            of a JPEG source and at least 90; 95 for other sources, and
            lossless WebP stays so.
        force: whether an existing file is replaced.

    Returns:
        Sentences on what the format could not hold.

    Raises:
        ValueError: if the suffix names no format or the format cannot hold
            the picture.
        FileExistsError: if there is a file and not `force`.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    format_ = output_format(path)
    notes = []
    if format_ == "TIFF":
        pages = _with_notes(pages, notes)
        write = functools.partial(write_tiff_pages, pages=pages)
    else:
        (picture,) = pages
        data = _encoded(picture, format_, quality, notes)
        write = operator.methodcaller("write", data)
    try:
        # By Python: Pillow's own writing to a file takes no notice when the
        # disk is full within the last block.
        with (
            written_beside(path, replace=force) as partial,
            partial.open("wb") as file,
        ):
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno is None:  # not of the file, but of a page
            raise
        if isinstance(error, FileExistsError):
            raise FileExistsError(
                f"{path}: exists already; choose another output or use --force."
            ) from None
        raise OSError(
            f"{path}: cannot be written: {error.strerror}."
        ) from error
    return list(dict.fromkeys(notes))


def check_alpha(picture: Picture, format_: str) -> None:
    """Whether a format can hold a picture, before any work is done for it.

    Args:
        picture: a picture; what counts is whether it has alpha.
        format_: of `output_format`.

    Raises:
        ValueError: if the picture has alpha and the format has none.
    """
    if picture.alpha is not None and format_ in _WITHOUT_ALPHA:
        raise ValueError(
            f"{format_} has no alpha channel; write a .png instead."
        )


def _with_notes(pages, notes):
    for page in pages:
        _note_colors(page.metadata, "TIFF", notes)
        yield page


def _note_colors(metadata, format_, notes):
    """Says which chunks of a PNG file are lost that other programs heed."""
    chunks = metadata.png_colors
    # Before the chunks gAMA and cHRM counts the profile, or that it is sRGB.
    if b"cICP" not in chunks and (metadata.icc_profile or b"sRGB" in chunks):
        return
    lost = [
        name.decode()
        for name, data in chunks.items()
        if name != b"sRGB" and data != _SRGB_CHUNKS.get(name)
    ]
    if lost:
        notes.append(
            f"{format_} holds no {', '.join(lost)} of PNG; the colors may be "
            "shown otherwise"
        )


def _encoded(picture, format_, quality, notes):
    """The bytes of a file."""
    metadata = picture.metadata
    check_alpha(picture, format_)
    if format_ != "PNG":
        _note_colors(metadata, format_, notes)
    if format_ == "PNG" and picture.pixels.dtype != np.uint8:
        return _deep_png(_with_depth(picture, np.uint16, notes, "PNG"))
    picture = _with_depth(picture, np.uint8, notes, format_)
    options = {
        key: getattr(metadata, key)
        for key in ("exif", "icc_profile", "xmp", "dpi")
        if getattr(metadata, key)
    }
    if format_ in _WITHOUT_METADATA:
        lost = [
            k for k in ("exif", "xmp", "icc_profile") if options.pop(k, None)
        ]
        if lost:
            names = ", ".join(lost).replace("_profile", " profile")
            notes.append(f"{format_} holds no {names}")
    elif format_ == "PNG":
        options["pnginfo"] = _png_info(metadata)
        options.pop("xmp", None)
    elif format_ == "JPEG":
        options |= _jpeg_options(picture, quality)
        _drop_long_segments(options, notes)
    elif format_ == "WEBP" and picture.encoding.lossless and quality is None:
        options |= {"lossless": True, "exact": True}
    else:
        options["quality"] = quality or DEFAULT_QUALITY
    image = picture.to_pil()
    image.info = {}  # all is in the options
    file = io.BytesIO()
    try:
        image.save(file, format_, **options)
    except (OSError, ValueError) as error:  # the size, as a rule
        raise ValueError(
            f"{image.width}x{image.height} pixels cannot be written as "
            f"{format_}: {error}; choose .png or .tif."
        ) from error
    return file.getbuffer()


def _with_depth(picture, dtype, notes, format_):
    """The picture in 8 or 16 bits."""
    if picture.pixels.dtype == dtype:
        return picture
    notes.append(
        f"{format_} holds {np.iinfo(dtype).bits} bits per channel; the picture "
        f"had {picture.pixels.dtype}"
    )

    def convert(array):
        white = 65535 if array.dtype == np.uint16 else 1
        scale = np.iinfo(dtype).max / white
        return np.rint(array * np.float32(scale)).astype(dtype)

    alpha = picture.alpha
    return replace(
        picture,
        pixels=convert(picture.pixels),
        alpha=None if alpha is None else convert(alpha),
    )


def _jpeg_options(picture, quality):
    source = picture.encoding
    if quality is None:
        quality = max(source.quality or DEFAULT_QUALITY, LEAST_QUALITY)
    options = {
        "quality": quality,
        "subsampling": source.subsampling or 0,
        "progressive": source.progressive,
    }
    if picture.metadata.comment:
        options["comment"] = picture.metadata.comment
    iptc = picture.metadata.iptc
    if iptc and len(iptc) <= _LONGEST_SEGMENT:
        length = (len(iptc) + 2).to_bytes(2, "big")
        options["extra"] = b"\xff\xed" + length + iptc
    return options


def _drop_long_segments(options, notes):
    for key, overhead in (("exif", 0), ("xmp", 29), ("comment", 0)):
        if len(options.get(key, b"")) + overhead > _LONGEST_SEGMENT:
            del options[key]
            notes.append(f"JPEG holds no {key} of more than 64 kB")


def _png_info(metadata):
    """Chunks of colors and texts."""
    info = PngImagePlugin.PngInfo()
    for name, data in metadata.png_colors.items():
        if name != b"sRGB" or not metadata.icc_profile:  # one of them
            info.add(name, data)
    for key, text in metadata.text.items():
        if key == "XML:com.adobe.xmp" or key.startswith("Raw profile type"):
            continue  # written as XMP and EXIF
        info.add_itxt(key, text)
    if metadata.xmp:
        text = metadata.xmp.decode("utf-8", "replace")
        info.add_itxt("XML:com.adobe.xmp", text)
    return info


def _deep_png(picture):
    """A PNG file of 16 bits.

    Pillow writes none in color, and imagecodecs no metadata; so these are
    put behind the header.
    """
    import imagecodecs

    data = imagecodecs.png_encode(np.ascontiguousarray(picture.array()))
    metadata = picture.metadata
    chunks = io.BytesIO()
    if metadata.icc_profile:
        profile = zlib.compress(metadata.icc_profile)
        PngImagePlugin.putchunk(chunks, b"iCCP", b"ICC Profile\0\0", profile)
    if metadata.dpi:
        per_metre = [round(dpi / 0.0254) for dpi in metadata.dpi]
        PngImagePlugin.putchunk(
            chunks, b"pHYs", struct.pack(">LLB", *per_metre, 1)
        )
    if metadata.exif:
        exif = metadata.exif.removeprefix(EXIF_PREFIX)
        PngImagePlugin.putchunk(chunks, b"eXIf", exif)
    for chunk in _png_info(metadata).chunks:
        PngImagePlugin.putchunk(chunks, *chunk[:2])
    header = len(b"\x89PNG\r\n\x1a\n") + 25
    return data[:header] + chunks.getvalue() + data[header:]
