"""A network as a function of one image."""

import re
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_radn.ops import backend

_functions = weakref.WeakKeyDictionary()


def as_function(
    model: Callable[[Any], Any],
    after_run: Callable[[], None] | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """A network as a function of one float32 image `(height, width, 3)`.

    A Keras model is compiled once for all calls with the same model; on JAX
    once for each size of images.

    Args:
        model: a Keras model, or another callable, of a batch of images
            `(1, height, width, 3)`.
        after_run: called after each run of the network.

    Returns:
        A function that gives a float array of the image's shape. It raises a
        `ValueError` for an answer of another shape, or of which not all is
        finite.

    Raises:
        ValueError: if it is a Keras model whose inputs and outputs are others.
    """
    run = _keras_function(model) if isinstance(model, keras.Model) else model

    def function(image):
        answer = _checked(run(image[np.newaxis]), image.shape)
        if after_run is not None:
            after_run()
        return answer

    return function


def check_network(model: keras.Model) -> None:
    """Refuses what does not map images to images.

    Args:
        model: a Keras model; one without inputs of known shapes passes.

    Raises:
        ValueError: if it has not one input and one output, both of the shape
            `(batch, height, width, 3)`.
    """
    # Subclasses of `keras.Model` have none.
    inputs = getattr(model, "inputs", None)
    if inputs is None:
        return
    shapes = [tuple(tensor.shape) for tensor in (*inputs, *model.outputs)]
    if len(shapes) != 2 or any(len(s) != 4 or s[-1] != 3 for s in shapes):
        raise ValueError(
            "A network maps images (batch, height, width, 3) to images. "
            "Received: a model with inputs and outputs of the shapes "
            f"{', '.join(map(str, shapes))}."
        )


def reason_of(error: Exception) -> str:
    """The line of a message of Keras or its backend that says what is wrong.

    Args:
        error: of loading or running a model.

    Returns:
        One line without a full stop.
    """
    text = str(error.args[0] if isinstance(error, KeyError) else error)
    emphasized = re.findall(r"\x1b\[1m(.+?)\x1b\[0m", text, re.DOTALL)
    text = emphasized[-1] if emphasized else text
    text = text.rpartition("Exception encountered: ")[2]
    text = text.partition("\n\t [[")[0]  # the operation in its graph
    text = text.partition(" Full object config")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # Before the error there is a traceback.
    traced = lines[0].startswith(("Graph execution error", "in user code"))
    return lines[-1 if traced else 0].rstrip(".:")


def _keras_function(model):
    check_network(model)
    if model not in _functions:
        # A weak reference, so that the model is not kept by its own function.
        _functions[model] = backend.compiled_model(weakref.ref(model))
    function = _functions[model] or model.predict_on_batch

    def run(batch):
        try:
            return function(batch)
        except backend.FAILURES as error:
            if backend.is_out_of_memory(error):
                raise
            height, width = batch.shape[1:3]
            raise ValueError(
                f"The network {model.name!r} fails on an image of "
                f"{width}x{height} pixels: {reason_of(error)}."
            ) from error

    return run


def _checked(answer, shape):
    """The array of a network's answer to an image of a shape."""
    if tuple(getattr(answer, "shape", ())) != (1, *shape):
        received = getattr(answer, "shape", type(answer).__name__)
        raise ValueError(
            "The network must answer with images of the size that it was "
            f"given, {(1, *shape)}. Received: {received}."
        )
    array = np.asarray(answer)[0]
    if not np.isfinite(array).all():
        raise ValueError(
            "The network answers with NaN or infinite pixels, as after a "
            "training that diverged, or in float16; take other weights, or "
            "float32."
        )
    return array


def self_ensemble(
    network: Callable[[np.ndarray], np.ndarray], image: np.ndarray
) -> np.ndarray:
    """Mean over the 8 flips and right-angle rotations of an image.

    Geometric self-ensemble, with which the paper makes Final+ of Final
    (section "Quantitative Evaluation" cites Lim et al., EDSR, 2017).

    Args:
        network: a function of an image, as `as_function` gives it.
        image: float32 `(height, width, channels)`.

    Returns:
        float32 array of the same shape.
    """
    total = 0
    for turns in range(4):
        for flip in (1, -1):
            turned = np.rot90(image, turns)[:, ::flip]
            answer = network(np.ascontiguousarray(turned))
            total = total + np.rot90(answer[:, ::flip], -turns)
    return total / 8
