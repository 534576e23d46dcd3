"""Writing TIFF files of any depth.

Pillow writes 8 bits only and changes tags, tifffile writes no EXIF directory.
Here the strips are compressed by imagecodecs, and tags stay as they are.
"""

import struct
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from keras_radn.pictures import tiff_tags
from keras_radn.pictures.exif import (
    EXIF,
    MAKERS_NOTE,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Value,
    directory_bytes,
    exif_tags,
    in_order,
)
from keras_radn.pictures.picture import Picture

# TIFF's numbers of the compressions that are kept; others become Deflate.
_COMPRESSIONS = {"NONE": 1, "LZW": 5}
_DEFLATE = 8
_STRIP_BYTES = 2**18
_BYTE, _SHORT, _LONG, _FRACTION, _UNDEFINED = 1, 3, 4, 5, 7
_INCH, _NOT_PREMULTIPLIED = 2, 2
# Bytes before a maker's note that are filled so that it stays where it was.
_MOST_PADDING = 2**20


class TiffWriter:
    """Writes pictures as the pages of a TIFF file.

    The maker's note of the first page stays at its place in EXIF, and the file
    gets the byte order of that, since notes may point to places and have no
    byte order of their own.

    Args:
        file: an empty file, open for writing.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._order = None  # until there is a page
        self._link = 4  # where the place of the next page is written

    def add(self, page: Picture) -> None:
        """Writes the next page.

        Raises:
            ValueError: if the file becomes larger than 4 GB, which TIFF cannot
                address.
            struct.error: if EXIF is damaged.
        """
        exif, exif_order = {}, "<"
        if page.metadata.exif:
            exif, exif_order = exif_tags(page.metadata.exif)
        note = exif.get(EXIF, {}).get(MAKERS_NOTE)
        stays = False
        if self._order is None:
            self._order = exif_order if note else "<"
            stays = note and 8 <= note.place <= _MOST_PADDING
            self._begin(note if stays else None)
        if note and not stays:
            exif[EXIF][MAKERS_NOTE] = note._replace(place=None)
        if exif_order != self._order:
            exif = in_order(exif, exif_order, self._order)
        file, order = self._file, self._order
        start = file.seek(0, 2)
        file.write(bytes(start % 2))  # a directory starts at an even place
        start += start % 2
        directory, strips = _directory(page, exif, order, start)
        file.write(directory)
        for strip in strips:
            file.write(strip)
        file.seek(self._link)
        file.write(struct.pack(f"{order}L", start))
        (count,) = struct.unpack_from(f"{order}H", directory)
        self._link = start + 2 + 12 * count

    def _begin(self, note):
        """Writes the header, and a note at its place."""
        mark = {"<": b"II", ">": b"MM"}[self._order]
        self._file.write(mark + struct.pack(f"{self._order}HL", 42, 0))
        if note is not None:
            self._file.write(bytes(note.place - 8) + note.data)


def _directory(page, exif, order, start) -> tuple[bytes, list[bytes]]:
    """The bytes of a directory at a place, and the strips behind it."""
    tags = {t: v for t, v in exif.items() if t not in tiff_tags.NOT_EXIF}
    layout, strips = _pixels(page, order)
    tags |= layout | _tags_of(page.metadata, order)
    sizes = [len(strip) for strip in strips]
    tags[tiff_tags.STRIP_SIZES] = _numbers(_LONG, order, *sizes)
    tags[tiff_tags.STRIPS] = _numbers(_LONG, order, *sizes)
    first = start + len(directory_bytes(tags, order, start))
    if first + sum(sizes) >= 2**32 - 2**20:
        raise ValueError("TIFF files cannot be larger than 4 GB.")
    places = np.cumsum([first, *sizes[:-1]]).tolist()
    tags[tiff_tags.STRIPS] = _numbers(_LONG, order, *places)
    return directory_bytes(tags, order, start), strips


def _numbers(kind, order, *numbers):
    letter = {_SHORT: "H", _LONG: "L"}[kind]
    return Value(kind, struct.pack(f"{order}{len(numbers)}{letter}", *numbers))


def _pixels(page, order) -> tuple[Directory, list[bytes]]:
    """Tags that say how the pixels are stored, and the strips."""
    array = page.array()
    height, width = array.shape[:2]
    samples = array.shape[2] if array.ndim == 3 else 1
    is_float = np.issubdtype(array.dtype, np.floating)
    compression = _COMPRESSIONS.get(page.encoding.compression, _DEFLATE)
    predicted = compression != 1 and not is_float
    rows = max(1, _STRIP_BYTES // array[0].nbytes)
    strips = [
        _compressed(array[y : y + rows], compression, predicted, order)
        for y in range(0, height, rows)
    ]

    def short(*numbers):
        return _numbers(_SHORT, order, *numbers)

    tags = {
        tiff_tags.WIDTH: _numbers(_LONG, order, width),
        tiff_tags.LENGTH: _numbers(_LONG, order, height),
        tiff_tags.BITS: short(*[array.dtype.itemsize * 8] * samples),
        tiff_tags.COMPRESSION: short(compression),
        tiff_tags.PHOTOMETRIC: short(2 if samples >= 3 else 1),
        tiff_tags.SAMPLES: short(samples),
        tiff_tags.ROWS_PER_STRIP: _numbers(_LONG, order, rows),
        tiff_tags.PLANAR: short(1),
        tiff_tags.SAMPLE_FORMAT: short(*[3 if is_float else 1] * samples),
    }
    if predicted:
        tags[tiff_tags.PREDICTOR] = short(2)
    if page.alpha is not None:
        tags[tiff_tags.EXTRA_SAMPLES] = short(_NOT_PREMULTIPLIED)
    return tags, strips


def _tags_of(metadata, order) -> Directory:
    """The tags of metadata beside EXIF."""
    tags = {
        tag: Value(kind, data)
        for tag, kind, data in (
            (tiff_tags.XMP, _BYTE, metadata.xmp),
            (tiff_tags.ICC, _UNDEFINED, metadata.icc_profile),
            (tiff_tags.IPTC, _UNDEFINED, metadata.iptc),
            (tiff_tags.PHOTOSHOP, _BYTE, metadata.photoshop),
        )
        if data
    }
    if metadata.dpi:
        for tag, dpi in zip(
            (X_RESOLUTION, Y_RESOLUTION), metadata.dpi, strict=True
        ):
            ratio = Fraction(float(dpi)).limit_denominator(10_000)
            pair = ratio.numerator, ratio.denominator
            tags[tag] = Value(_FRACTION, struct.pack(f"{order}2L", *pair))
        tags[RESOLUTION_UNIT] = _numbers(_SHORT, order, _INCH)
    return tags


def _compressed(rows, compression, predicted, order):
    if predicted:
        # Differences to the left neighbour; the first pixel stays.
        rows = rows if rows.ndim == 3 else rows[..., np.newaxis]
        rows = np.concatenate([rows[:, :1], np.diff(rows, axis=1)], axis=1)
    data = np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder(order)))
    if compression == 1:
        return data.tobytes()
    import imagecodecs

    encode = (
        imagecodecs.lzw_encode if compression == 5 else imagecodecs.zlib_encode
    )
    return encode(data.tobytes())
