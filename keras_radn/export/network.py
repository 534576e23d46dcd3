"""What all formats share: the function that is exported, and its check."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_radn.ops import library


@dataclass(frozen=True)
class Exported:
    """What was written, and how it compares with the model.

    Attributes:
        path: the file, or the folder of the version.
        max_difference: largest absolute difference to the model's output on a
            made-up picture, of values in [0, 1].
        psnr: of the same, in dB; infinite if there is no difference.
    """

    path: Path
    max_difference: float
    psnr: float

    def __str__(self) -> str:
        return (
            f"{self.path}: differs from the model by at most "
            f"{self.max_difference:.1e} ({self.psnr:.1f} dB)"
        )


def picture_function(
    model: keras.Model,
) -> tf.types.experimental.GenericFunction:
    """What is exported: a picture in, a picture out.

    Args:
        model: a network that maps images `(batch, height, width, 3)` to such.

    Returns:
        A function of float32 images in [0, 1], named `images`, to images of
        the same shape, clipped to [0, 1]. Batch norms use their moving
        averages, and there is no custom op.

    Raises:
        ValueError: if the model is of another kind.
    """
    shapes = [tuple(x.shape) for x in (*model.inputs, *model.outputs)]
    if len(shapes) != 2 or any(len(s) != 4 or s[-1] != 3 for s in shapes):
        raise ValueError(
            "Only networks that map images (batch, height, width, 3) to such "
            "can be exported. Received: a model with inputs and outputs of "
            f"the shapes {shapes}"
        )

    @tf.function(
        input_signature=[tf.TensorSpec(shapes[0], tf.float32, "images")]
    )
    def deblur(images):
        # Here, since Keras and TensorFlow may trace it when they like.
        with library.forced("gather"):
            outputs = model(
                tf.cast(images, model.inputs[0].dtype), training=False
            )
        return tf.clip_by_value(tf.cast(outputs, tf.float32), 0, 1)

    return deblur


def compare(
    path: Path,
    model: keras.Model,
    run: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
) -> Exported:
    """Compares an exported network with its model.

    Args:
        path: goes into the result.
        model: the network.
        run: the exported one.
        images: float32 `(batch, height, width, 3)` in [0, 1].
    """
    expected = model(images, training=False)
    expected = np.clip(keras.ops.convert_to_numpy(expected), 0, 1)
    difference = np.abs(run(images).astype("float64") - expected)
    error = np.square(difference).mean()
    psnr = -10 * np.log10(error) if error > 0 else np.inf
    return Exported(path, float(difference.max()), float(psnr))


def require(exported: Exported, condition: bool, limit: str) -> Exported:
    """Raises ValueError if what was exported is not as it must be."""
    if not condition:
        raise ValueError(f"{exported}; {limit} is needed. Nothing was kept.")
    return exported


def made_up_picture(height: int, width: int) -> np.ndarray:
    """A picture with the spectrum of photographs, edges and motion blur.

    Args:
        height: in pixels.
        width: in pixels.

    Returns:
        float32 `(1, height, width, 3)` in [0, 1].
    """
    rng = np.random.default_rng(0)
    side = max(height, width, 16)
    rows, columns = np.meshgrid(*[np.fft.fftfreq(side)] * 2, indexing="ij")
    # Amplitudes of photographs fall as 1/f (Field, 1987).
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / side)
    # The channels of photographs are much alike.
    noise = rng.normal(size=(side, side, 1))
    noise = noise + rng.normal(0, 0.3, (side, side, 3))
    spectrum = np.fft.fft2(noise, axes=(0, 1)) * amplitude[..., np.newaxis]
    picture = np.fft.ifft2(spectrum, axes=(0, 1)).real
    picture = 0.5 + 0.2 * picture / picture.std()
    y, x = np.mgrid[:side, :side] / side
    picture[(y + 2 * x) % 0.5 < 0.1] += 0.3
    picture[np.hypot(y - 0.5, x - 0.4) < 0.2] -= 0.3
    blurred = np.mean(
        [np.roll(picture, (i // 2, i), (0, 1)) for i in range(7)], 0
    )
    return np.clip(blurred, 0, 1).astype("float32")[None, :height, :width]
