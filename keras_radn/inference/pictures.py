"""Reading and writing pictures."""

import os
from pathlib import Path

from PIL import Image, ImageOps

from keras_radn.files import written_beside

# Quality 95 is the highest that Pillow advises.
_SAVE_OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
}


def open_picture(path: str | os.PathLike) -> Image.Image:
    """Opens a picture and applies its EXIF orientation.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a folder, no image, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not an image file.")
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path}: is not an image that can be read.") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: is too large: {error}") from error
    # Pillow raises SyntaxError for some broken PNG files.
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot be read: {error}.") from error


def save_picture(image: Image.Image, path: str | os.PathLike) -> None:
    """Writes a picture beside its place, then renames it.

    EXIF data, ICC profile and resolution in `image.info` are kept.

    Args:
        image: the picture.
        path: where to write; the suffix chooses the format.

    Raises:
        ValueError: if the suffix names no image format or the format cannot
            hold the picture.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    format_ = output_format(path)
    if format_ == "JPEG" and image.mode not in ("L", "RGB"):
        raise ValueError(
            f"{path}: JPEG has no alpha channel; write a .png instead."
        )
    metadata = {
        key: image.info[key]
        for key in ("exif", "icc_profile", "dpi")
        if key in image.info
    }
    try:
        with written_beside(path) as partial:
            image.save(
                partial, format_, **metadata, **_SAVE_OPTIONS.get(format_, {})
            )
    except OSError as error:
        raise OSError(
            f"{path}: cannot be written: {error.strerror or error}."
        ) from error


def output_format(path: str | os.PathLike) -> str:
    """Pillow's name of the format of a path's suffix.

    Raises:
        ValueError: if images of this kind cannot be written.
    """
    suffix = Path(path).suffix.lower()
    format_ = Image.registered_extensions().get(suffix)
    if format_ not in Image.SAVE:
        raise ValueError(
            f"{path}: the suffix {suffix!r} is no image format that can be "
            "written; use .png, .jpg, .webp or .tif."
        )
    return format_
