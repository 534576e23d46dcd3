"""Reading pictures of any depth, with their metadata.

Pillow identifies a file, decodes 8 bits and knows the metadata. Of colours with
more bits it keeps 8; these are decoded by tifffile and imagecodecs.
"""

import contextlib
import functools
import io
import os
import re
import stat
import struct
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from keras_radn.inference.pictures import Encoding, Metadata, Picture, from_pil

# Not all that Pillow knows: one of its formats starts Ghostscript.
_FORMATS = (
    *("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM"),
    *("JPEG2000", "AVIF", "HEIF"),
)

_ORIENTATION = 0x0112
_SUBFILE_TYPE, _BITS, _PHOTOMETRIC, _EXTRA_SAMPLES = 254, 258, 262, 338

# Tags that say how a TIFF file is laid out, and those of the color profile,
# XMP and Photoshop, which are not EXIF.
_LAYOUT_TAGS = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279),
    *(280, 281, 282, 283, 284, 292, 293, 296, 297, 301, 317, 318, 319, 320),
    *(322, 323, 324, 325, 330, 338, 339, 340, 341, 347, 512, 513, 514, 519),
    *(520, 521, 529, 530, 531, 532, 700, 33723, 34377, 34675, 37724),
}


class _PictureError(Exception):
    """The reason why a picture cannot be read."""


def read_picture(source: str | os.PathLike | bytes) -> Picture:
    """Reads a picture and applies its EXIF orientation.

    Args:
        source: the path of a file, or its bytes.

    Returns:
        The picture in the depth of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no regular file, no image, damaged, an animation,
            or has several pages; or more pixels than Pillow allows, twice
            `PIL.Image.MAX_IMAGE_PIXELS`.
        ImportError: if it is HEIC and pillow-heif is not installed.
    """
    pages = read_pages(source)
    first = next(pages)
    if next(pages, None) is not None:
        raise ValueError(
            f"{_name(source)}: has several pages; use "
            "`keras_radn.deblur_files` with a .tif output."
        )
    return first


def read_pages(source: str | os.PathLike | bytes) -> Iterator[Picture]:
    """Reads the pages of a TIFF file one by one; of other files the picture.

    Previews and other pictures that cameras put beside the main one are left
    out.

    Args:
        source: see `read_picture`.

    Yields:
        At least one picture.

    Raises:
        As `read_picture`, except that several pages are welcome.
    """
    name, notes = _name(source), []
    with _explained(name, notes):
        image = _open(source)
    with image:
        with _explained(name, notes):
            frames = _frames(image)
            if len(frames) < getattr(image, "n_frames", 1):
                notes.append("previews and other pictures in it are left out")
        for frame in frames:
            with _explained(name, notes):
                picture = _read_frame(image, frame, source)
            yield replace(picture, notes=(*notes, *picture.notes))
            notes = []


def _name(source):
    return "<bytes>" if isinstance(source, bytes) else os.fspath(source)


def _file(source):
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return Path(source).open("rb")


@contextlib.contextmanager
def _explained(name, notes):
    """Makes one sentence of an exception, and notes of warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except (FileNotFoundError, ImportError) as error:
            raise type(error)(f"{name}: {error}") from None
        except _PictureError as error:
            raise ValueError(f"{name}: {error}") from None
        except UnidentifiedImageError:
            raise ValueError(
                f"{name}: is not an image that can be read."
            ) from None
        except Image.DecompressionBombError:
            raise ValueError(f"{name}: {_too_large()}") from None
        except MemoryError:
            raise
        except Exception as error:  # decoders raise all kinds for damaged files
            reason = getattr(error, "strerror", None) or str(error)
            reason = " ".join(reason.split()) or type(error).__name__
            raise ValueError(
                f"{name}: cannot be read: {reason.rstrip('.')}."
            ) from error
    notes.extend(
        dict.fromkeys(" ".join(str(w.message).split()) for w in caught)
    )


def _too_large():
    return (
        f"has more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.4g} megapixels; if "
        "you trust the file, raise `--max-megapixels` or "
        "`PIL.Image.MAX_IMAGE_PIXELS`, half of the limit."
    )


def _open(source):
    if not isinstance(source, bytes):
        _check_file(source)
    elif not source:
        raise _PictureError("is empty.")
    with _file(source) as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis", b"jp2 "):
        _register_heif()
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    return Image.open(file, formats=_formats())


def _check_file(path):
    """Before it is opened: reading a pipe or a device may never end."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError("there is no such file.") from None
    if stat.S_ISDIR(status.st_mode):
        raise _PictureError("is a folder, not an image file.")
    if not stat.S_ISREG(status.st_mode):
        raise _PictureError("is no regular file; copy the image to one.")
    if status.st_size == 0:
        raise _PictureError("is empty.")


@functools.cache
def _register_heif():
    try:
        import pillow_heif
    except ImportError:
        raise ImportError(
            "HEIC needs pillow-heif: pip install 'keras-radn[heic]'."
        ) from None
    pillow_heif.register_heif_opener()


def _formats():
    Image.init()
    return [format_ for format_ in _FORMATS if format_ in Image.OPEN]


def _frames(image):
    """Which frames of a file are its pictures."""
    count = getattr(image, "n_frames", 1)
    if image.format == "TIFF":
        pages = [i for i in range(count) if not _is_preview(image, i)]
        return pages or [0]
    if image.format in ("MPO", "HEIF"):
        return [image.tell()]
    if count > 1:
        raise _PictureError(
            f"is an animation of {count} frames; deblur it as a video, or its "
            "frames one by one."
        )
    return [0]


def _is_preview(image, frame):
    image.seek(frame)
    return image.tag_v2.get(_SUBFILE_TYPE, 0) & 1


def _read_frame(image, frame, source):
    if image.tell() != frame or image.format == "TIFF":
        image.seek(frame)
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > 2 * limit:
        raise _PictureError(_too_large())
    notes = []
    encoding = _encoding(image, source)
    picture = _deep_picture(image, frame, source, notes)
    if picture is None:
        image.load()  # which applies the orientation of TIFF
        picture = from_pil(image)
    bits = image.info.get("bit_depth", 8)
    if bits > 8:
        notes.append(f"of {bits} bits per channel 8 were read")
    metadata, orientation = _metadata(image, picture.metadata, notes)
    picture = replace(
        picture,
        metadata=metadata,
        encoding=encoding,
        notes=(*picture.notes, *notes),
    )
    return _oriented(picture, orientation)


def _deep_picture(image, frame, source, notes):
    """A picture of more than 8 bits that Pillow would cut, or None."""
    if image.format == "PNG" and ";16" in str(image.tile[0].args):
        import imagecodecs

        data = (
            source if isinstance(source, bytes) else Path(source).read_bytes()
        )
        return _split(imagecodecs.png_decode(data))
    if image.format == "TIFF" and max(image.tag_v2.get(_BITS, (1,))) > 8:
        if image.tag_v2.get(_PHOTOMETRIC, 1) in (0, 1, 2):
            return _deep_tiff(image, frame, source)
        notes.append("of 16 bits per channel 8 were read")
    return None


def _deep_tiff(image, frame, source):
    import tifffile

    with _file(source) as file, tifffile.TiffFile(file) as tiff:
        page = tiff.pages[frame]
        bits, samples = page.bitspersample, page.samplesperpixel
        array = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and samples > 1:
            array = np.moveaxis(array, 0, -1)
    is_float = np.issubdtype(array.dtype, np.floating)
    if not is_float and (array.dtype != np.uint16 or bits != 16):
        raise _PictureError(
            f"has {bits} bits per sample of type {array.dtype}; unsigned "
            "samples of 8 or 16 bits and floating-point ones can be read."
        )
    if image.tag_v2.get(_PHOTOMETRIC, 1) == 0:  # zero is white
        array = (1 if is_float else 65535) - array
    extra = image.tag_v2.get(_EXTRA_SAMPLES, ())
    colors = samples - len(extra) if extra else samples
    if extra and extra[0] == 0:  # not said to be alpha
        array = array[..., :colors]
    return _split(array)


def _split(array):
    """Pixels and alpha of an array `(height, width[, channels])`."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    channels = array.shape[2] if array.ndim == 3 else 1
    if channels > 4:
        raise _PictureError(f"has {channels} channels; 1 to 4 can be read.")
    if channels in (2, 4):
        array, alpha = array[..., :-1], array[..., -1]
    else:
        alpha = None
    pixels = array[..., 0] if array.shape[2:] == (1,) else array
    return Picture(pixels, alpha)


def _metadata(image, metadata, notes):
    """What is kept, and the orientation that is still to be applied."""
    orientation, exif = 1, image.info.get("exif")
    try:
        tags = image.getexif()
        orientation = tags.get(_ORIENTATION, 1)
        if image.format == "TIFF" or not exif:
            exif = _without_layout(tags)
        elif orientation != 1:
            exif = _upright(exif)
    except Exception as error:  # as many kinds as there are damaged files
        notes.append(f"its EXIF data are damaged ({error})")
    xmp = image.info.get("xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    if xmp and orientation != 1:
        xmp = re.sub(rb'(tiff:Orientation(?:="|>))[0-9]', rb"\g<1>1", xmp)
    iptc = [
        data
        for marker, data in getattr(image, "applist", ())
        if marker == "APP13"
    ]
    metadata = Metadata(
        exif=exif,
        # That of CMYK is of no use for RGB.
        icc_profile=metadata.icc_profile or image.info.get("icc_profile"),
        xmp=xmp,
        dpi=image.info.get("dpi"),
        text=dict(getattr(image, "text", {})),
        comment=image.info.get("comment"),
        iptc=iptc[0] if iptc else None,
    )
    return metadata, orientation


def _without_layout(tags):
    exif = Image.Exif()
    for tag, value in tags.items():
        if tag not in _LAYOUT_TAGS:
            exif[tag] = value
    for ifd in (0x8769, 0x8825):  # EXIF and GPS
        entries = tags.get_ifd(ifd)
        if entries:
            exif.get_ifd(ifd).update(entries)
            exif[ifd] = dict(entries)
    return exif.tobytes() if len(exif) else None


def _upright(exif):
    """EXIF bytes with orientation 1 and without the thumbnail.

    Nothing else moves, as makers' notes may point to places in them.
    """
    prefix = b"Exif\0\0" if exif.startswith(b"Exif\0\0") else b""
    data = bytearray(exif[len(prefix) :])
    order = "<" if data[:2] == b"II" else ">"
    (ifd,) = struct.unpack_from(f"{order}L", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, ifd)
    for entry in range(ifd + 2, ifd + 2 + 12 * count, 12):
        if struct.unpack_from(f"{order}H", data, entry)[0] == _ORIENTATION:
            struct.pack_into(f"{order}HLH", data, entry + 2, 3, 1, 1)
    struct.pack_into(f"{order}L", data, ifd + 2 + 12 * count, 0)
    return prefix + bytes(data)


def _oriented(picture, orientation):
    turn = {
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        8: np.rot90,
    }.get(orientation)
    if turn is None:
        return picture
    alpha = picture.alpha
    return replace(
        picture,
        pixels=turn(picture.pixels),
        alpha=None if alpha is None else turn(alpha),
    )


def _encoding(image, source):
    if image.format in ("JPEG", "MPO"):
        return Encoding(
            format="JPEG",
            quality=jpeg_quality(image.quantization),
            subsampling=max(JpegImagePlugin.get_sampling(image), 0),
            progressive=bool(image.info.get("progressive")),
        )
    return Encoding(
        format=image.format,
        lossless=image.format == "WEBP" and _is_lossless_webp(source),
        compression=image.info.get("compression")
        if image.format == "TIFF"
        else None,
    )


def jpeg_quality(quantization: dict[int, list[int]]) -> int:
    """The quality of libjpeg that quantises as finely as some tables.

    Args:
        quantization: tables as Pillow gives them, that of luma first.

    Returns:
        1 to 100: the lowest one whose table of luma has no larger sum.
    """
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


def _is_lossless_webp(source):
    """Whether the bitstream is VP8L; Pillow does not tell."""
    with _file(source) as file:
        file.seek(12)
        while header := file.read(8):
            name, size = header[:4], int.from_bytes(header[4:], "little")
            if name in (b"VP8L", b"VP8 ") or len(header) < 8:
                return name == b"VP8L"
            file.seek(size + size % 2, os.SEEK_CUR)
    return False
