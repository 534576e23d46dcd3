"""Reading pictures of any depth, with their metadata.

Pillow identifies a file, decodes 8 bits and knows the metadata. It keeps 8 bits
of deeper colours; tifffile and imagecodecs decode these.
"""

import contextlib
import functools
import io
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from keras_radn.pictures import jpeg, png
from keras_radn.pictures.exif import ORIENTATION
from keras_radn.pictures.metadata_reading import read_metadata
from keras_radn.pictures.picture import (
    Encoding,
    Picture,
    PictureError,
    from_pil,
    oriented,
    picture_of,
    upright,
)

# Not all that Pillow knows: one of its formats starts Ghostscript.
_FORMATS = (
    *("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM"),
    *("JPEG2000", "AVIF", "HEIF"),
)

# Little and big endian, and BigTIFF.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG = b"\xff\xd8\xff"


def read_picture(
    source: str | os.PathLike | bytes,
    advice: str = "give one of them as a file of its own",
) -> Picture:
    """Reads a picture and applies its EXIF orientation.

    Args:
        source: the path of a file, or its bytes.
        advice: what to do with a file of several pages, which is an error.

    Returns:
        The picture in the depth of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a regular file, not an image, damaged, an
            animation, a raw file, or has several pages, which `read_pages`
            reads; or more pixels than Pillow allows, twice
            `PIL.Image.MAX_IMAGE_PIXELS`.
        ImportError: if it is HEIC and pillow-heif is not installed.
    """
    pages = read_pages(source)
    first = next(pages)
    if next(pages, None) is not None:
        raise ValueError(f"{_name(source)}: has several pages; {advice}.")
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
    with contextlib.ExitStack() as stack:
        with _explained(name, notes):
            file = stack.enter_context(_file(source))
            is_tiff = file.read(4) in _TIFF
            file.seek(0)
        read = _tiff_pages if is_tiff else _only_picture
        pictures = read(file, notes)
        while True:
            with _explained(name, notes):
                picture = next(pictures, None)
            if picture is None:
                return
            yield replace(picture, notes=(*notes, *picture.notes))
            notes.clear()


def _name(source):
    return "<bytes>" if isinstance(source, bytes) else os.fspath(source)


def _file(source):
    if not isinstance(source, bytes):
        _check_file(source)
        return Path(source).open("rb")
    if not source:
        raise PictureError("is empty.")
    return io.BytesIO(source)


@contextlib.contextmanager
def _explained(name, notes):
    """Makes one sentence of an exception, and notes of warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # On damaged tags, in its own words.
        warnings.filterwarnings("ignore", module="PIL.TiffImagePlugin")
        try:
            yield
        except (FileNotFoundError, ImportError) as error:
            raise type(error)(f"{name}: {error}") from None
        except PictureError as error:
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
            raise ValueError(f"{name}: {_reason(error)}") from error
    notes.extend(
        dict.fromkeys(" ".join(str(w.message).split()) for w in caught)
    )


def _reason(error):
    """A sentence of what a decoder says of a file, if it says it for people."""
    if not _is_for_people(error):
        return (
            "is damaged, or of a kind that cannot be read; convert it to PNG "
            "or TIFF with another program."
        )
    reason = getattr(error, "strerror", None) or str(error)
    reason = " ".join(reason.split()) or type(error).__name__
    return f"cannot be read: {reason.rstrip('.')}."


def _is_for_people(error):
    """Whether an error was written for people, not by Python or NumPy."""
    if isinstance(error, OSError | SyntaxError):
        return True
    module = type(error).__module__.partition(".")[0]
    return module not in ("builtins", "struct", "zlib", "numpy")


def _too_large():
    return (
        f"has more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.4g} megapixels; if "
        "you trust the file, raise `PIL.Image.MAX_IMAGE_PIXELS`, half of the "
        "limit."
    )


def _check_file(path):
    """Refuses what is not a regular file: reading a pipe may never end."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError("there is no such file.") from None
    if stat.S_ISDIR(status.st_mode):
        raise PictureError("is a folder, where one image file is expected.")
    if not stat.S_ISREG(status.st_mode):
        raise PictureError("is not a regular file; copy the image to one.")
    if status.st_size == 0:
        raise PictureError("is empty.")


@functools.cache
def register_heif() -> None:
    """Makes HEIC known to Pillow.

    Raises:
        ImportError: if pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ImportError:
        raise ImportError(
            "HEIC needs pillow-heif: pip install 'keras-radn[heic]'."
        ) from None
    pillow_heif.register_heif_opener()


def _open(file):
    """The file as Pillow knows it."""
    file.seek(0)
    head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis"):
        register_heif()
    Image.init()
    file.seek(0)
    formats = [format_ for format_ in _FORMATS if format_ in Image.OPEN]
    return Image.open(file, formats=formats)


def _check_size(width, height):
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise PictureError(_too_large())


def _only_picture(file, notes):
    """The picture of a file that is not TIFF, as an iterator."""
    chunks = []
    head = file.read(len(png.SIGNATURE))
    file.seek(0)
    if head == png.SIGNATURE:
        bare, chunks, left_out = png.split(file.read())
        file = io.BytesIO(bare)
        notes += left_out
    elif head.startswith(_JPEG) and (bits := jpeg.bits_of(file.read())) > 8:
        raise PictureError(
            f"is a JPEG file of {bits} bits per channel, where only 8 can be "
            "read; convert it to PNG or TIFF of 16."
        )
    image = _open(file)
    _check_size(*image.size)
    _check_frames(image, notes)
    encoding, bits = _encoding(image, file), _bits(image, file)
    metadata, left_out = read_metadata(image, file, chunks)
    notes += left_out
    for key in ("exif", "icc_profile", "xmp"):
        if (value := getattr(metadata, key)) is not None:
            image.info.setdefault(key, value)
    picture = _decoded(image, file)
    if bits > 8 and picture.pixels.dtype == np.uint8:
        notes.append(f"of {bits} bits per channel 8 were read")
    # The profile of CMYK does not fit.
    metadata = replace(metadata, icc_profile=picture.metadata.icc_profile)
    size = picture.pixels.shape[1::-1]
    metadata, orientation = _upright(metadata, image, size, notes)
    picture = replace(picture, metadata=metadata, encoding=encoding)
    yield oriented(picture, orientation)


def _check_frames(image, notes):
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format in ("MPO", "HEIF"):
        notes.append("other pictures in it are left out")
    elif frames > 1:
        raise PictureError(
            f"is an animation of {frames} frames; deblur it as a video, or its "
            "frames one by one."
        )


def _decoded(image, file):
    """The pixels in the depth of the file, with the color profile."""
    if image.format == "PNG" and ";16" in str(image.tile[0].args):
        import imagecodecs

        file.seek(0)
        picture = picture_of(imagecodecs.png_decode(file.read()))
        profile = image.info.get("icc_profile")
    elif image.format == "PPM" and image.mode == "I":
        # Whatever the largest value is in the file, Pillow makes it 65535.
        picture = picture_of(np.asarray(image).astype(np.uint16))
        profile = None
    else:
        image.load()
        return from_pil(image)
    metadata = replace(picture.metadata, icc_profile=profile)
    return replace(picture, metadata=metadata)


def _upright(metadata, image, size, notes):
    """Metadata of the upright picture, and the orientation to be applied."""
    orientation = 1
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
        return upright(metadata, orientation, size), orientation
    except Exception:  # as many kinds as there are damaged files
        notes.append("its damaged EXIF is left out")
    metadata = replace(metadata, exif=None)
    return upright(metadata, orientation, size), orientation


def _bits(image, file):
    """Bits of a channel in the file; Pillow may read 8 of them."""
    if image.format == "PPM" and image.mode == "RGB":
        arguments = image.tile[0].args  # with the largest value unless 255
        return arguments[-1].bit_length() if len(arguments) == 2 else 8
    if image.format not in ("JPEG2000", "AVIF"):
        return image.info.get("bit_depth", 8)  # of HEIC
    file.seek(0)
    data = file.read()
    if image.format == "JPEG2000":
        # The markers SOC and SIZ, and in the latter that of the first channel.
        return (data[data.find(b"\xff\x4f\xff\x51") + 42] & 0x7F) + 1
    flags = data[data.find(b"av1C") + 6]  # high_bitdepth, twelve_bit
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def _tiff_pages(file, notes):
    import tifffile

    from keras_radn.pictures import tiff_reading

    image = None
    with tifffile.TiffFile(file) as tiff:
        every = list(tiff_reading.distinct_pages(tiff))
        pages = [page for page in every if not page.is_reduced]
        if not pages and any(map(tiff_reading.is_of_raw_file, every)):
            raise PictureError(
                "is a raw file of which only a preview can be read; develop it "
                "into a TIFF file first."
            )
        pages = pages or every
        if len(pages) < len(every):
            notes.append("previews in it are left out")
        for page in pages:
            tiff_reading.check_layout(page)
            _check_size(page.imagewidth, page.imagelength)
            metadata, orientation = tiff_reading.read_tags(page, file)
            if tiff_reading.is_deep(page):
                picture = tiff_reading.read_deep(page)
            else:
                image = image or _open(file)
                image.seek(page.index)
                image.load()
                orientation = 1  # applied by Pillow
                picture = from_pil(image)
                if page.bitspersample > 8:
                    notes.append("of 16 bits per channel 8 were read")
                if tiff_reading.has_unknown_channels(page):
                    notes.append("a channel of unknown meaning is left out")
            # The profile of CMYK does not fit.
            profile = picture.metadata.icc_profile
            metadata = replace(metadata, icc_profile=profile)
            picture = replace(
                picture,
                metadata=metadata,
                encoding=Encoding(
                    "TIFF", compression=tiff_reading.compression_of(page)
                ),
            )
            yield oriented(picture, orientation)


def _encoding(image, file):
    if image.format not in ("JPEG", "MPO"):
        lossless = image.format == "WEBP" and _is_lossless_webp(file)
        return Encoding(image.format, lossless=lossless)
    return Encoding(
        "JPEG",
        quality=jpeg.jpeg_quality(image.quantization),
        subsampling=max(JpegImagePlugin.get_sampling(image), 0),
        progressive=bool(image.info.get("progressive")),
    )


def _is_lossless_webp(file):
    """Whether the bitstream is VP8L; Pillow does not tell."""
    file.seek(12)
    while header := file.read(8):
        name, size = header[:4], int.from_bytes(header[4:], "little")
        if name in (b"VP8L", b"VP8 ") or len(header) < 8:
            return name == b"VP8L"
        file.seek(size + size % 2, os.SEEK_CUR)
    return False
