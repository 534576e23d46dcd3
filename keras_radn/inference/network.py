"""A network as a function of one image."""

import weakref
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

_functions = weakref.WeakKeyDictionary()


def as_function(
    model: Callable[[tf.Tensor], tf.Tensor],
) -> Callable[[np.ndarray], np.ndarray]:
    """A network as a function of one float32 image `(height, width, 3)`.

    A Keras model is traced once for images of any size, and once for all
    calls with the same model.

    Args:
        model: a Keras model, or another callable, of a batch of images
            `(1, height, width, 3)`.

    Returns:
        A function that gives a float array of the image's shape.
    """
    if not isinstance(model, keras.Model):
        return lambda image: np.asarray(model(image[np.newaxis]))[0]
    if model.distribute_strategy.num_replicas_in_sync > 1:
        # Its variables are read by the rules of the strategy.
        return lambda image: model.predict_on_batch(image[np.newaxis])[0]
    if model not in _functions:
        _functions[model] = _trace(weakref.ref(model))
    function = _functions[model]
    return lambda image: function(image[np.newaxis])[0].numpy()


def _trace(model):
    """A weak reference, so that the model is not kept by its own function."""
    images = tf.TensorSpec([1, None, None, 3], model().inputs[0].dtype)

    @tf.function(input_signature=[images])
    def function(batch):
        return model()(batch, training=False)

    return function


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
