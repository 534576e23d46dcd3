"""What all formats share: the function that is exported, and its check."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_radn.inference.network import check_network
from keras_radn.models import RADN
from keras_radn.models.deblurring_model import DeblurringModel
from keras_radn.models.inference_graph import portable_function
from keras_radn.models.presets import DTYPES
from keras_radn.ops import tracing


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
    loops: bool = True,
    check: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> tf.types.experimental.GenericFunction:
    """The function from pictures to pictures that is exported.

    Args:
        model: a network from images `(batch, height, width, 3)` to images.
        loops: whether large images may be done a chunk at a time.
        check: what the network's answer goes through before it is clipped.

    Returns:
        A function of float32 images in [0, 1], named `images`, to images of
        the same shape, clipped to [0, 1]. A RADN takes its inference form,
        with norms as parts of the convolutions; there is no custom op.

    Raises:
        ValueError: if the model is of another kind.
    """
    check_network(model)

    network = _network(model)

    @tf.function(
        input_signature=[
            tf.TensorSpec(model.inputs[0].shape, tf.float32, "images")
        ],
        autograph=False,
    )
    def deblur(images):
        # Here, since Keras and TensorFlow may trace it when they like.
        with tracing.options(implementation="gather", loops=loops):
            outputs = network(images)
        return tf.clip_by_value(check(tf.cast(outputs, tf.float32)), 0, 1)

    return deblur


def _network(model):
    """The network as a function: for a RADN its inference form."""
    if isinstance(model, RADN) and model.compute_dtype in DTYPES:
        return portable_function(model, model.compute_dtype)
    dtype = model.inputs[0].dtype
    return lambda images: model(tf.cast(images, dtype), training=False)


def in_float32(model: keras.Model) -> keras.Model:
    """The network in float32, for runtimes that do not know bfloat16.

    Raises:
        ValueError: if it is of another dtype and not a network of this package.
    """
    if model.compute_dtype == "float32":
        return model
    if not isinstance(model, DeblurringModel):
        raise ValueError(
            "Only networks in float32 can be exported to this format. "
            f"Received: a model in {model.compute_dtype}"
        )
    copy = type(model).from_config({**model.get_config(), "dtype": "float32"})
    copy.set_weights(model.get_weights())
    return copy


def require_new_file(path: str | os.PathLike, suffix: str, force: bool) -> Path:
    """The path of a file that can be written, checked before the work is done.

    Raises:
        FileExistsError: if there is such a file and not `force`.
        ValueError: if it has another suffix.
        OSError: if there is no such folder.
    """
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(f"{path}: the name of the file must end in {suffix}.")
    if path.exists() and not force:
        raise FileExistsError(
            f"{path}: exists already; choose another output or use force=True."
        )
    if not path.absolute().parent.is_dir():
        raise OSError(f"{path}: there is no folder {path.parent}.")
    return path


def compare(
    path: Path,
    model: keras.Model,
    run: Callable[[np.ndarray], np.ndarray],
    size: tuple[int | None, int | None] = (None, None),
    max_difference: float = np.inf,
    least_psnr: float = 0,
) -> Exported:
    """Compares an exported network with its model on a made-up picture.

    Args:
        path: goes into the result.
        model: the network.
        run: the exported one.
        size: height and width of the picture, where the network is not of any
            size.
        max_difference: the largest one that is allowed.
        least_psnr: the least that is needed, in dB.

    Raises:
        ValueError: if the difference is too large.
    """
    batch, *fixed, _ = model.inputs[0].shape
    # Odd sides, where the network takes any.
    sides = [n or m or k for n, m, k in zip(fixed, size, (75, 99), strict=True)]
    images = np.repeat(made_up_picture(*sides), batch or 1, axis=0)
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    difference = np.abs(run(images) - np.clip(expected, 0, 1).astype("float64"))
    error = np.square(difference).mean()
    psnr = -10 * np.log10(error) if error > 0 else np.inf
    exported = Exported(path, float(difference.max()), float(psnr))
    # Written so that NaN does not pass.
    if not (
        exported.max_difference <= max_difference
        and exported.psnr >= least_psnr
    ):
        limit = (
            f"at least {least_psnr} dB are needed"
            if least_psnr
            else f"at most {max_difference} is allowed"
        )
        raise ValueError(f"{exported}; {limit}. Nothing was written.")
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
