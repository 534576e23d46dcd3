"""What Pillow does not read of TIFF files: more than 8 bits in colour."""

import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image

from keras_radn.inference.pictures import (
    ORIENTATION,
    Metadata,
    Picture,
    PictureError,
    picture_of,
    upright_xmp,
    xmp_orientation,
)

_XMP, _ICC, _DNG_VERSION = 700, 34675, 50706

# Tags that say how a file is laid out, and those of the color profile, XMP
# and Photoshop, which are not EXIF.
_LAYOUT_TAGS = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280),
    *(281, 282, 283, 284, 292, 293, 296, 297, 301, 317, 318, 319, 320, 322),
    *(323, 324, 325, 330, 338, 339, 340, 341, 347, 512, 513, 514, 519, 520),
    *(521, 529, 530, 531, 532, _XMP, 33723, 34377, _ICC, 37724),
}
_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005


def distinct_pages(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """The pages of a file; those of a loop, which tifffile follows, once.

    Raises:
        PictureError: if the directory of a page is damaged.
    """
    seen = set()
    for page in tiff.pages:
        if page.offset in seen:
            return
        seen.add(page.offset)
        yield page
    # tifffile leaves out what it cannot find.
    tiff.filehandle.seek(tiff.pages.next_page_offset)
    if any(tiff.filehandle.read(tiff.tiff.offsetsize)):
        raise PictureError(f"is damaged behind page {len(seen)}.")


def is_of_raw_file(page: tifffile.TiffPage) -> bool:
    """Whether a preview comes from a camera's raw file, as of DNG or NEF.

    The picture itself is then in a directory below that of the page.
    """
    return bool(page.subifds) or _DNG_VERSION in page.tags


def is_deep(page: tifffile.TiffPage) -> bool:
    """Whether the pixels are gray or RGB of more than 8 bits."""
    return page.bitspersample > 8 and page.photometric in (0, 1, 2)


def read_deep(page: tifffile.TiffPage) -> Picture:
    """The pixels of a page of 16 bits or floating-point numbers.

    Raises:
        PictureError: if they are neither.
    """
    array = page.asarray()
    if (
        page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        and page.samplesperpixel > 1
    ):
        array = np.moveaxis(array, 0, -1)
    is_float = np.issubdtype(array.dtype, np.floating)
    bits = page.bitspersample
    if not is_float and (array.dtype != np.uint16 or bits != 16):
        raise PictureError(
            f"has {bits} bits per sample, read as {array.dtype}; unsigned "
            "samples of 8 or 16 bits and floating-point ones are supported."
        )
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        array = (1 if is_float else 65535) - array
    extra = page.extrasamples
    if len(extra) > 1:
        raise PictureError(
            f"has {page.samplesperpixel} channels; gray or RGB and one more "
            "are supported."
        )
    if extra and extra[0] == tifffile.EXTRASAMPLE.UNSPECIFIED:
        # The notes are made of warnings.
        warnings.warn("a channel of unknown meaning is left out", stacklevel=2)
        array = array[..., :-1]
    picture = picture_of(array)
    if extra and extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        picture = _unassociated(picture)
    return picture


def _unassociated(picture):
    """Colors that were multiplied by alpha, divided by it."""
    white = 65535 if picture.pixels.dtype == np.uint16 else 1
    alpha = (
        picture.alpha
        if picture.pixels.ndim == 2
        else (picture.alpha[..., np.newaxis])
    )
    pixels = picture.pixels * np.float32(white) / np.maximum(alpha, 1e-6)
    pixels = np.clip(pixels, 0, white).astype(picture.pixels.dtype)
    return picture.with_pixels(np.where(alpha > 0, pixels, picture.pixels))


def read_tags(page: tifffile.TiffPage, file: BinaryIO) -> tuple[Metadata, int]:
    """The metadata of a page, and its orientation.

    What is damaged is left out, with a warning. The orientation is that of
    the tag, or else of the XMP, as Pillow has it; both are taken out.

    Args:
        page: a page.
        file: the file that it is in.
    """
    exif = dpi = None
    try:
        exif = _exif(page, file)
        if page.resolutionunit in (2, 3):  # inch, centimetre
            dpi = page.get_resolution(tifffile.RESUNIT.INCH)
    except Exception as error:  # as many kinds as there are damaged files
        text = f"its EXIF data are damaged ({error})"
        warnings.warn(text, stacklevel=2)
    xmp = _bytes(page, _XMP)
    orientation = page.tags.valueof(ORIENTATION)
    if xmp:
        if orientation is None:
            orientation = xmp_orientation(xmp)
        xmp = upright_xmp(xmp)
    metadata = Metadata(
        exif=exif, icc_profile=_bytes(page, _ICC), xmp=xmp, dpi=dpi
    )
    return metadata, orientation or 1


def _exif(page, file):
    if page.parent.is_bigtiff and page.parent.byteorder == ">":
        # Pillow takes such a file for one that is not BigTIFF.
        if any(_is_exif(tag.code) for tag in page.tags):
            text = "EXIF data of a big-endian BigTIFF file are left out"
            warnings.warn(text, stacklevel=2)
        return None
    tags = Image.Exif()
    tags.endian = page.parent.byteorder
    tags.bigtiff = page.parent.is_bigtiff
    tags.load_from_fp(file, page.offset)
    exif = Image.Exif()
    exif.endian = tags.endian
    for tag, value in tags.items():
        if tag == _EXIF:
            exif[tag] = dict(tags.get_ifd(tag))
            # A place in this file.
            exif[tag].pop(_INTEROPERABILITY, None)
        elif tag == _GPS:
            exif[tag] = dict(tags.get_ifd(tag))
        elif _is_exif(tag):
            exif[tag] = value
    return exif.tobytes() if len(exif) else None


def _is_exif(tag):
    return tag not in _LAYOUT_TAGS and tag != ORIENTATION


def _bytes(page, tag):
    value = page.tags.valueof(tag)
    value = value.encode() if isinstance(value, str) else value
    # A number is none: of it, `bytes` would make as many zeros.
    return value if isinstance(value, bytes) and value else None
