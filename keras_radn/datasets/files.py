"""Finding and reading the image files of a data set."""

import functools
import os
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

# `warnings.catch_warnings` changes the whole process.
_warnings_lock = threading.Lock()


def find_files(
    folder: str | os.PathLike, suffixes: tuple[str, ...]
) -> list[Path]:
    """The files below a folder with one of the suffixes, sorted."""
    return sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in suffixes and path.is_file()
    )


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
        ValueError: if the file is no readable image, is truncated, has more
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
            f"{path} is no readable image ({error}); replace or remove it."
        ) from error
    array.setflags(write=False)
    return array


# The latest images stay in memory.
cached_rgb = functools.lru_cache(maxsize=512)(read_rgb)


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
