"""What weights are for, where optimizers treat some of them differently.

Layers mark their weights, and optimizers ask (see `keras_radn.optimizers`).
"""

import keras


def mark_steering(layer: keras.layers.Layer) -> None:
    """Marks weights that decide where features are taken from.

    They estimate offsets and similarities, and may have a learning rate of
    their own.

    Args:
        layer: a built layer; all weights that it has so far are marked.
    """
    for variable in layer.variables:
        variable.steers = True


def steers(variable: keras.Variable) -> bool:
    """Whether `mark_steering` marked a weight.

    Args:
        variable: a weight of any layer.
    """
    return getattr(variable, "steers", False)


def mark_decoding(layer: keras.layers.Layer) -> None:
    """Marks weights whose outputs are pixels.

    Args:
        layer: a built layer; all weights that it has so far are marked.
    """
    for variable in layer.variables:
        variable.decodes = True


def decodes(variable: keras.Variable) -> bool:
    """Whether `mark_decoding` marked a weight.

    Args:
        variable: a weight of any layer.
    """
    return getattr(variable, "decodes", False)
