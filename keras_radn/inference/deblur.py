import functools
import os

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_radn.inference.pictures import open_picture
from keras_radn.models import RADN

# An image of this size needs 5 GB; beyond it the memory of the attention, which
# grows with the square of the pixels, takes over.
MAX_PIXELS = 6_000_000

_FULL_SCALE = {"uint8": 255, "uint16": 65535}


def deblur(
    image: np.ndarray | Image.Image | str | os.PathLike,
    model: keras.Model | None = None,
    max_pixels: int = MAX_PIXELS,
    ensemble: bool = False,
) -> np.ndarray | Image.Image:
    """Removes motion blur from a picture.

    Args:
        image: one of
            - an array `(height, width, 3)` in RGB, or `(height, width)` or
              `(height, width, 1)` in gray; uint8, uint16, or floats in
              [0, 1];
            - a PIL image of 8 bits per channel (an alpha channel is kept);
            - the path of an image file.
        model: a network of this package; `None` is `RADN(pretrained=True)`,
            made once.
        max_pixels: images with more pixels are refused before they fill the
            memory.
        ensemble: whether the network sees the picture in all 8 orientations
            and the mean of its answers is taken: the paper's Final+, for 8
            times the time.

    Returns:
        An array of the shape and dtype of the input, or a PIL image.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no image, the number of channels, the
            dtype or the values are not as above, or the image is too large
            for `max_pixels` or the memory.
        TypeError: if `image` is none of the three.

    Example:

    ```python
    sharp = keras_radn.deblur("blurred.jpg")  # a PIL image
    sharp.save("sharp.jpg")
    ```
    """
    if isinstance(image, str | os.PathLike):
        image = open_picture(image)
    if model is None:
        model = _default_model()
    if isinstance(image, Image.Image):
        return _deblur_pil(image, model, max_pixels, ensemble)
    if isinstance(image, np.ndarray):
        return _deblur_array(image, model, max_pixels, ensemble)
    raise TypeError(
        "`image` must be a NumPy array, a PIL image or a path. "
        f"Received: {type(image).__name__}"
    )


@functools.cache
def _default_model():
    return RADN(pretrained=True)


def _deblur_pil(image, model, max_pixels, ensemble):
    if image.mode.startswith("I") or image.mode == "F":
        raise ValueError(
            f"Images of mode {image.mode} (more than 8 bits per channel) are "
            "not supported; convert the image to 8 bits, or pass a uint16 "
            "array."
        )
    info, has_alpha = image.info, image.has_transparency_data
    if has_alpha:
        image = image.convert("RGBA" if image.mode != "LA" else "LA")
        alpha = image.getchannel("A")
    gray = image.mode in ("1", "L", "LA")
    array = np.asarray(image.convert("L" if gray else "RGB"))
    result = Image.fromarray(_deblur_array(array, model, max_pixels, ensemble))
    if has_alpha:
        result.putalpha(alpha)
    # Metadata that a saved file carries on; transparency is in the alpha now.
    for key in ("exif", "icc_profile", "dpi", "xmp"):
        if key in info:
            result.info[key] = info[key]
    return result


def _deblur_array(array, model, max_pixels, ensemble):
    scale = _check_array(array, max_pixels)
    blurred = array.astype("float32") / scale
    if blurred.ndim == 2:
        blurred = blurred[..., np.newaxis]
    gray = blurred.shape[-1] == 1
    blurred = np.repeat(blurred, 3, axis=-1) if gray else blurred
    try:
        predict = self_ensemble if ensemble else _predict
        sharp = predict(model, blurred)
    except tf.errors.ResourceExhaustedError as error:
        height, width = blurred.shape[:2]
        raise ValueError(
            f"There is not enough memory for an image of {width}x{height} "
            "pixels; reduce it."
        ) from error
    if gray:
        sharp = sharp.mean(axis=-1, keepdims=True)
    sharp = np.clip(sharp, 0, 1).reshape(array.shape) * scale
    if scale != 1:
        sharp = np.rint(sharp)
    return sharp.astype(array.dtype)


def _predict(model, image):
    return model.predict_on_batch(image[np.newaxis])[0]


def self_ensemble(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Mean over the 8 flips and right-angle rotations of an image.

    Geometric self-ensemble, with which the paper makes Final+ of Final
    (section "Quantitative Evaluation" cites Lim et al., EDSR, 2017).

    Args:
        model: a network of images.
        image: float32 `(height, width, channels)`.

    Returns:
        float32 array of the same shape.
    """
    total = 0
    for turns in range(4):
        for flip in (1, -1):
            turned = np.rot90(image, turns)[:, ::flip]
            answer = _predict(model, np.ascontiguousarray(turned))
            total = total + np.rot90(answer[:, ::flip], -turns)
    return total / 8


def _check_array(array, max_pixels):
    """The value of white; raises ValueError for what is no image."""
    if (
        array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] not in (1, 3))
        or array.size == 0
    ):
        raise ValueError(
            "An image array must have the shape (height, width, 3) in RGB or "
            f"(height, width) in gray. Received: shape {array.shape}"
        )
    pixels = array.shape[0] * array.shape[1]
    if pixels > max_pixels:
        raise ValueError(
            f"The image has {pixels / 1e6:.1f} megapixels; up to "
            f"{max_pixels / 1e6:.1f} are processed. Reduce it, or raise the "
            "limit if there is enough memory."
        )
    if array.dtype.name in _FULL_SCALE:
        return _FULL_SCALE[array.dtype.name]
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            "An image array must be uint8, uint16 or floating point. "
            f"Received: dtype {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            "The image contains NaN or infinite pixels; replace them first."
        )
    if array.min() < 0 or array.max() > 1:
        raise ValueError(
            "A floating-point image must be in [0, 1]. Received: values from "
            f"{array.min():g} to {array.max():g}"
        )
    return 1
