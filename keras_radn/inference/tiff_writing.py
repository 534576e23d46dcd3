"""Writing TIFF files of any depth.

Pillow writes 8 bits only, and tifffile no EXIF directory. Here Pillow's class
writes the directories and the strips are compressed by imagecodecs.
"""

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags

from keras_radn.inference.pictures import Picture

# TIFF's numbers of the compressions that are kept; others become Deflate.
_COMPRESSIONS = {"NONE": 1, "LZW": 5}
_DEFLATE = 8
_STRIP_BYTES = 2**18
_XMP, _IPTC, _ICC = 700, 33723, 34675


def write_tiff_pages(file: BinaryIO, pages: Iterable[Picture]) -> None:
    """Writes pictures as the pages of a TIFF file.

    Args:
        file: an empty file, open for writing.
        pages: pictures, taken one by one.

    Raises:
        ValueError: if the file becomes larger than 4 GB, which TIFF cannot
            address.
    """
    pointer = None
    for page in pages:
        directory, strips = _directory(page)
        start = file.seek(0, 2)
        if start + sum(map(len, strips)) >= 2**32 - 2**20:
            raise ValueError("TIFF files cannot be larger than 4 GB.")
        directory.save(file)
        for strip in strips:
            file.write(strip)
        if file.tell() % 2:
            file.write(b"\0")  # a directory starts at an even place
        # The first directory follows the header of 8 bytes.
        start = start or 8
        if pointer is not None:
            file.seek(pointer)
            file.write(start.to_bytes(4, "little"))
        pointer = start + 2 + 12 * len(directory)


def _directory(page):
    array = page.array()
    height, width = array.shape[:2]
    samples = array.shape[2] if array.ndim == 3 else 1
    is_float = np.issubdtype(array.dtype, np.floating)
    compression = _COMPRESSIONS.get(page.encoding.compression, _DEFLATE)
    predicted = compression != 1 and not is_float
    rows = max(1, _STRIP_BYTES // array[0].nbytes)
    strips = [
        _compressed(array[y : y + rows], compression, predicted)
        for y in range(0, height, rows)
    ]
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    if page.metadata.exif:
        exif = Image.Exif()
        exif.load(page.metadata.exif)
        for tag in exif:
            is_directory = tag in TiffTags.TAGS_V2_GROUPS
            directory[tag] = exif.get_ifd(tag) if is_directory else exif[tag]
    directory[256] = width
    directory[257] = height
    directory[258] = (array.dtype.itemsize * 8,) * samples
    directory[259] = compression
    directory[262] = 2 if samples >= 3 else 1
    directory[277] = samples
    directory[278] = rows
    directory[284] = 1
    directory[339] = (3 if is_float else 1,) * samples
    if predicted:
        directory[317] = 2
    if page.alpha is not None:
        directory[338] = 2  # not premultiplied
    if page.metadata.dpi:
        directory[282], directory[283] = map(float, page.metadata.dpi)
        directory[296] = 2
    for tag, data in (
        (_XMP, page.metadata.xmp),
        (_ICC, page.metadata.icc_profile),
    ):
        if data:
            directory[tag] = data
    sizes = [len(strip) for strip in strips]
    # Pillow adds the length of the directory.
    directory[273] = tuple(np.cumsum([0, *sizes[:-1]]).tolist())
    directory[279] = tuple(sizes)
    directory.tagtype[273] = directory.tagtype[279] = TiffTags.LONG
    return directory, strips


def _compressed(rows, compression, predicted):
    if predicted:
        # Differences to the left neighbour; the first pixel stays.
        rows = rows if rows.ndim == 3 else rows[..., np.newaxis]
        rows = np.concatenate([rows[:, :1], np.diff(rows, axis=1)], axis=1)
    data = np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder("<")))
    if compression == 1:
        return data.tobytes()
    import imagecodecs

    encode = (
        imagecodecs.lzw_encode if compression == 5 else imagecodecs.zlib_encode
    )
    return encode(data.tobytes())
