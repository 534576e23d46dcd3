"""Weights that decide where features are taken from.

Optimizers may give them a learning rate of their own, as they do with what
estimates offsets and similarities (see `keras_radn.optimizers`).
"""

import keras


def mark_steering(layer: keras.layers.Layer) -> None:
    """Marks all weights that a layer has so far.

    Args:
        layer: a built layer.
    """
    for variable in layer.variables:
        variable.steers = True


def steers(variable: keras.Variable) -> bool:
    """Whether a weight was marked.

    Args:
        variable: a weight of any layer.
    """
    return getattr(variable, "steers", False)
