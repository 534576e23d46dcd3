"""What Pillow does not read of TIFF files: more than 8 bits in colour."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image

from keras_radn.pictures import photoshop, tiff_tags
from keras_radn.pictures.exif import (
    ORIENTATION,
    X_RESOLUTION,
    Directory,
    exif_bytes,
    read_directory,
)
from keras_radn.pictures.picture import (
    Metadata,
    Picture,
    PictureError,
    from_pil,
    picture_of,
    upright,
)
from keras_radn.pictures.pixels import white
from keras_radn.pictures.xmp import xmp_orientation

# Numbers of types of places in a file.
_PLACES = (13, 18)
_RGB, _CMYK = 2, 5
_FAX = (2, 3, 4)
_REQUIRED = {
    "ImageWidth": (tiff_tags.WIDTH,),
    "ImageLength": (tiff_tags.LENGTH,),
    "PhotometricInterpretation": (tiff_tags.PHOTOMETRIC,),
    "StripOffsets": (tiff_tags.STRIPS, tiff_tags.TILES),
}


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
    """Whether a preview is that of a camera's raw file (DNG, NEF, ...).

    The picture itself is then in a directory below that of the page.
    """
    return bool(page.subifds) or tiff_tags.DNG_VERSION in page.tags


def compression_of(page: tifffile.TiffPage) -> str | None:
    """tifffile's name of the compression, the default's if there is no tag."""
    try:
        return tifffile.COMPRESSION(page.compression).name
    except ValueError:
        return None


def check_layout(page: tifffile.TiffPage) -> None:
    """Refuses a page without one of the tags that have no default.

    Raises:
        PictureError: if some are not, or do not fit each other.
    """
    # The old kind of JPEG has others in their place; what fax means is known.
    if page.compression == tifffile.COMPRESSION.OJPEG:
        return
    is_fax = page.compression in _FAX
    missing = [
        name
        for name, tags in _REQUIRED.items()
        if not any(tag in page.tags for tag in tags)
        and not (is_fax and tiff_tags.PHOTOMETRIC in tags)
    ]
    if missing:
        raise PictureError(
            f"is a TIFF file without the tag {missing[0]}, which none can be "
            "read without; save it anew with the program that it comes from."
        )
    least = {_RGB: 3, _CMYK: 4}.get(page.photometric, 1)
    is_jpeg = page.compression == tifffile.COMPRESSION.JPEG  # it tells itself
    if page.samplesperpixel < least and not is_jpeg:
        raise PictureError(
            f"is a TIFF file of {page.photometric.name} with "
            f"{page.samplesperpixel} samples per pixel; save it anew with the "
            "program that it comes from."
        )


def is_deep(page: tifffile.TiffPage) -> bool:
    """Whether the pixels are gray, RGB or CMYK of more than 8 bits.

    Raises:
        PictureError: if its channels differ in depth.
    """
    if isinstance(page.bitspersample, tuple):
        bits = ", ".join(map(str, page.bitspersample))
        raise PictureError(
            f"has channels of different depths ({bits} bits); convert it to a "
            "TIFF file of 8 or 16 bits."
        )
    return page.bitspersample > 8 and page.photometric in (0, 1, 2, _CMYK)


def has_unknown_channels(page: tifffile.TiffPage) -> bool:
    """Whether there are channels beside colors and alpha."""
    return tifffile.EXTRASAMPLE.UNSPECIFIED in page.extrasamples


def read_deep(page: tifffile.TiffPage) -> Picture:
    """The pixels of a page of 16 bits or floating-point numbers.

    Returns:
        A picture whose metadata are its color profile alone.

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
    if page.photometric == _CMYK:
        return _of_cmyk(array, page)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        array = _inverted(array)
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
    if is_float and picture.alpha is not None:
        _check_alpha(picture.alpha)
    if extra and extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        picture = _unassociated(picture)
    metadata = Metadata(icc_profile=_bytes(page, tiff_tags.ICC))
    return replace(picture, metadata=metadata)


def _check_alpha(alpha):
    if not (alpha.min() >= 0 and alpha.max() <= 1):  # or NaN
        raise PictureError("has alpha that is not in [0, 1].")


def _inverted(array):
    """Gray that is black at its largest value; alpha stays."""
    level = white(array.dtype)
    if array.ndim == 2:
        return level - array
    return np.concatenate([level - array[..., :1], array[..., 1:]], axis=-1)


def _unassociated(picture):
    """Colors that were multiplied by alpha, divided by it."""
    level = white(picture.pixels.dtype)
    alpha = (
        picture.alpha
        if picture.pixels.ndim == 2
        else (picture.alpha[..., np.newaxis])
    )
    pixels = picture.pixels * np.float32(level) / np.maximum(alpha, 1e-6)
    if level != 1:  # of those, a value beyond white is refused
        if np.any((picture.pixels > alpha) & (alpha > 0)):
            text = "colors brighter than their alpha allows were cut off"
            warnings.warn(text, stacklevel=2)
        pixels = np.rint(np.minimum(pixels, level))
    pixels = pixels.astype(picture.pixels.dtype)
    return picture.with_pixels(np.where(alpha > 0, pixels, picture.pixels))


def _of_cmyk(array, page):
    """RGB of 8 bits, by the color profile if there is one."""
    if array.dtype != np.uint16:
        raise PictureError(
            "is CMYK of floating-point numbers; convert it to RGB."
        )
    if array.shape[-1] > 4:
        text = "channels beside those of CMYK are left out"
        warnings.warn(text, stacklevel=2)
    warnings.warn("of 16 bits per channel 8 were read", stacklevel=2)
    ink = np.rint(array[..., :4] / np.float32(257)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(ink), "CMYK")
    if profile := _bytes(page, tiff_tags.ICC):
        image.info["icc_profile"] = profile
    return from_pil(image)


def read_tags(page: tifffile.TiffPage, file: BinaryIO) -> tuple[Metadata, int]:
    """The metadata of a page, and its orientation.

    What is damaged is left out, with a warning. The orientation is that of
    the tag, or else of the XMP, as Pillow has it; the metadata are those of the
    upright picture.

    Args:
        page: a page.
        file: the file that it is in.
    """
    tags, dpi = {}, None
    big, order = page.parent.is_bigtiff, page.parent.byteorder
    try:
        tags = read_directory(file, order, page.offset, big)
        # Inch or centimetre.
        if X_RESOLUTION in tags and page.resolutionunit in (2, 3):
            dpi = page.get_resolution(tifffile.RESUNIT.INCH)
    except Exception:  # as many kinds as there are damaged files
        warnings.warn("its damaged EXIF is left out", stacklevel=2)
    _warn_of_losses(page)
    xmp = _bytes(page, tiff_tags.XMP)
    orientation = page.tags.valueof(ORIENTATION)
    if xmp and orientation is None:
        orientation = xmp_orientation(xmp)
    resources = photoshop.without_thumbnails(
        _data(tags, tiff_tags.PHOTOSHOP) or b""
    )
    exif = {tag: value for tag, value in tags.items() if _is_exif(tag, value)}
    metadata = Metadata(
        exif=exif_bytes(exif, order) if exif else None,
        icc_profile=_bytes(page, tiff_tags.ICC),
        xmp=xmp,
        dpi=dpi,
        iptc=_data(tags, tiff_tags.IPTC) or photoshop.iptc_of(resources),
        photoshop=resources or None,
    )
    orientation = orientation or 1
    size = page.imagewidth, page.imagelength
    return upright(metadata, orientation, size), orientation


def _warn_of_losses(page):
    """Warns of what is lost; the notes are made of these warnings."""
    for tag, name in (
        (tiff_tags.LAYERS, "the layers of Photoshop are"),
        (tiff_tags.SUBDIRECTORIES, "the pictures below it, as previews, are"),
        (tiff_tags.TRANSFER_FUNCTION, "its transfer function is"),
    ):
        if tag in page.tags:
            warnings.warn(f"{name} left out", stacklevel=3)


def _data(tags: Directory, tag):
    value = tags.get(tag)
    return None if value is None else value.data


def _is_exif(tag, value):
    if tag in tiff_tags.NOT_EXIF or tag == ORIENTATION:
        return False
    return isinstance(value, dict) or value.kind not in _PLACES


def _bytes(page, tag):
    value = page.tags.valueof(tag)
    value = value.encode() if isinstance(value, str) else value
    # Given a number, `bytes` would make as many zeros.
    return value if isinstance(value, bytes) and value else None
