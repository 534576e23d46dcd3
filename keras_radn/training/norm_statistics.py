"""Statistics of batch norms for the weights as they are."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_radn import hooks
from keras_radn.layers.batch_normalization import BatchNormalization
from keras_radn.ops import backend


def norms_of(model: keras.Model) -> list[BatchNormalization]:
    """All batch norms of a model, those inside of other layers, too."""
    return [
        layer
        for layer in hooks.flatten_layers(model)
        if isinstance(layer, BatchNormalization)
    ]


def measure_statistics(
    model: keras.Model,
    batches: Iterable[Any],
    call: Callable | None = None,
) -> None:
    """Gives batch norms the statistics of images instead of moving averages.

    Moving averages follow the weights of the last steps; averaged weights have
    other ones, and a network whose norms are wrong by a little is worse by
    tenths of a dB.

    Args:
        model: its weights stay as they are.
        batches: float32 `(batch, height, width, 3)` each, all of one shape.
        call: what `ops.backend.training_call` gave for the model, of which it
            is compiled once for several measurements.

    Reference: Izmailov et al., Averaging Weights Leads to Wider Optima and
    Better Generalization, UAI 2018, section 3.2.
    """
    norms = norms_of(model)
    before = [(norm.momentum, norm.frozen) for norm in norms]
    for norm in norms:
        # Each call then leaves the statistics of its batch.
        norm.momentum, norm.frozen = 0.0, False
    run = call or backend.training_call(model)
    measured = []
    try:
        for images in batches:
            run(images)
            measured.append(
                [
                    (norm.moving_mean.numpy(), norm.moving_variance.numpy())
                    for norm in norms
                ]
            )
    finally:
        for norm, (momentum, frozen) in zip(norms, before, strict=True):
            norm.momentum, norm.frozen = momentum, frozen
    for norm, values in zip(norms, zip(*measured, strict=True), strict=True):
        means, variances = np.asarray(values, "float64").swapaxes(0, 1)
        norm.moving_mean.assign(means.mean(axis=0))
        # The variance of all batches together: within and between them.
        norm.moving_variance.assign(variances.mean(axis=0) + means.var(axis=0))
