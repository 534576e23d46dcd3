"""Finding and reading the image files of a data set."""

import functools
import os
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def list_images(folder: str | os.PathLike) -> list[Path]:
    """The image files below a folder, sorted.

    Raises:
        FileNotFoundError: if there is no such folder or it has no images.
    """
    found = sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not found:
        raise FileNotFoundError(
            f"There are no images ({', '.join(SUFFIXES)}) in {folder}."
        )
    return found


@functools.lru_cache(maxsize=512)
def read_rgb(path: Path) -> np.ndarray:
    """Reads an image as RGB; the latest ones stay in memory.

    Returns:
        uint8 array `(height, width, 3)`, read-only.

    Raises:
        ValueError: if the file is no readable image.
    """
    try:
        with Image.open(path) as image:
            array = np.array(image.convert("RGB"))
    except OSError as error:
        raise ValueError(f"{path} is no readable image: {error}.") from error
    array.setflags(write=False)
    return array
