"""Finding and reading the image files of a data set."""

import operator
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import cachetools
import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

# Bytes of the latest images, which stay in memory.
_CACHE = 2 * 2**30

# `warnings.catch_warnings` changes the whole process.
_warnings_lock = threading.Lock()


def find_files(
    folder: str | os.PathLike, suffixes: tuple[str, ...]
) -> list[Path]:
    """The files below a folder with one of the suffixes, sorted.

    Linked folders are entered; hidden files and folders, and those that macOS
    adds to archives, are left out.
    """
    return sorted(
        path
        for path in _walk(Path(folder), frozenset())
        if path.suffix.lower() in suffixes
    )


def _walk(folder, above) -> Iterator[Path]:
    # `Path.rglob` does not enter links, and they may lead back up.
    place = folder.resolve()
    if place in above or not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == "__MACOSX":
            continue
        if path.is_dir():
            yield from _walk(path, above | {place})
        elif path.is_file():
            yield path


def list_images(folder: str | os.PathLike) -> list[Path]:
    """The image files below a folder, sorted.

    Raises:
        FileNotFoundError: if there is no such folder or it has no images.
    """
    found = find_files(folder, SUFFIXES)
    if not found:
        raise FileNotFoundError(
            f"There are no images ({', '.join(SUFFIXES)}) in {folder}."
        )
    return found


def read_rgb(path: Path) -> np.ndarray:
    """Reads an image as RGB of 8 bits.

    The EXIF orientation is applied; grayscale, palette and CMYK become RGB,
    alpha is dropped, and of 16 bits the upper 8 are kept.

    Returns:
        uint8 array `(height, width, 3)`, read-only.

    Raises:
        ValueError: if the file is not a readable image, is truncated, has more
            pixels than `PIL.Image.MAX_IMAGE_PIXELS` or has floating-point
            values.
    """
    try:
        with _open(path) as image:
            array = _to_rgb(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS} pixels; reduce it "
            "or raise `PIL.Image.MAX_IMAGE_PIXELS`."
        ) from None
    # Pillow raises SyntaxError for some broken PNG files.
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{path} is not a readable image ({error}); replace or remove it."
        ) from error
    array.setflags(write=False)
    return array


def _version(path):
    try:
        status = os.stat(path)
    except OSError:  # `read_rgb` says what is wrong
        return path
    return path, status.st_mtime_ns, status.st_size


@cachetools.cached(
    cachetools.LRUCache(_CACHE, getsizeof=operator.attrgetter("nbytes")),
    key=_version,
    lock=threading.Lock(),
    info=True,
)
def cached_rgb(path: Path) -> np.ndarray:
    """Reads an image as `read_rgb` does, and keeps the latest in memory.

    A file that was written anew is read anew.
    """
    return read_rgb(path)


def _open(path):
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(path)


def _to_rgb(image):
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers")
    if image.mode.startswith("I"):  # Pillow's own conversion clips at 255
        gray = np.clip(np.array(image) // 256, 0, 255).astype(np.uint8)
        return np.repeat(gray[..., np.newaxis], 3, axis=-1)
    if image.mode == "P":  # its transparency may belong to single colors
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
