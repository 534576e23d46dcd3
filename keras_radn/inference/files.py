import os
from pathlib import Path

import keras

from keras_radn.inference.deblur import MAX_PIXELS, deblur
from keras_radn.inference.pictures import (
    open_picture,
    output_format,
    save_picture,
)


def deblur_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: keras.Model | None = None,
    force: bool = False,
    max_pixels: int = MAX_PIXELS,
    ensemble: bool = False,
) -> None:
    """Deblurs a picture file into another file.

    Args:
        source: an image file.
        target: the file to write; its suffix chooses the format.
        model: see `deblur`.
        force: whether an existing target is replaced.
        max_pixels: see `deblur`.
        ensemble: see `deblur`.

    Raises:
        FileNotFoundError: if there is no source.
        FileExistsError: if there is a target and not `force`.
        ValueError: if the source is no image or the target no image format.
        OSError: if the target cannot be written.
    """
    source, target = Path(source), Path(target)
    output_format(target)
    if target.exists() and not force:
        raise FileExistsError(
            f"{target}: exists already; choose another output or use --force."
        )
    # Before the work is done, not after.
    if not os.access(target.parent, os.W_OK) or not target.parent.is_dir():
        raise OSError(
            f"{target}: cannot be written: {target.parent} is no folder that "
            "can be written to."
        )
    picture = open_picture(source)
    try:
        result = deblur(picture, model, max_pixels, ensemble)
    except ValueError as error:  # which does not know the file
        raise ValueError(f"{source}: {error}") from error
    save_picture(result, target)
