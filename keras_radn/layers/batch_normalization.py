from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import ops

from keras_radn.ops import backend

# As in DenseNet of keras.applications.
EPSILON = 1.001e-5


# The name is that of the base class: Keras addresses weights in files by it.
@keras.saving.register_keras_serializable("keras_radn")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch norm of images, by one operation in training.

    The same function of the same weights. TensorFlow's fused operation reads
    half-precision features as they are; Keras's layer casts them to float32
    and goes over them a dozen times. What that operation does not know,
    synchronized statistics and float64, is left to the base class, and so are
    other backends, whose compilers fuse the layer by themselves.

    Args:
        **kwargs: arguments of `keras.layers.BatchNormalization`, with
            `center`, `scale` and `axis` as they are by default.

    Attributes:
        frozen: whether a call in training uses the moving averages and leaves
            them as they are, while `gamma` and `beta` go on learning. It is
            not saved.

    Input and output shape: `(batch, height, width, channels)`.
    """

    frozen = False

    def call(self, inputs, training=None):
        fused = training and self.trainable and not self.synchronized
        fused = fused and backend.fused_batch_norm is not None
        if not fused or self.compute_dtype == "float64":
            return super().call(inputs, training=training and not self.frozen)
        moments = self.moving_moments() if self.frozen else (None, None)
        outputs, mean, variance = backend.fused_batch_norm(
            inputs,
            ops.cast(self.gamma, "float32"),
            ops.cast(self.beta, "float32"),
            self.epsilon,
            *moments,
        )
        if not self.frozen:
            # Keras averages the biased estimate.
            count = ops.cast(ops.size(inputs[..., 0]), "float32")
            variance *= ops.maximum(count - 1, 1) / count
            _average([self], [(mean, variance)])
        return outputs

    def moving_moments(self):
        """Moving mean and variance, float32 `(channels,)` each."""
        return (
            ops.cast(self.moving_mean, "float32"),
            ops.cast(self.moving_variance, "float32"),
        )


def _average(norms, moments):
    """Adds the moments of a batch to the moving averages of norms."""
    averages = [
        average
        for norm in norms
        for average in (norm.moving_mean, norm.moving_variance)
    ]
    values = [value for both in moments for value in both]
    share = 1 - norms[0].momentum
    same = all(norm.momentum == norms[0].momentum for norm in norms)
    if same and backend.moves_together(averages):
        backend.optimizer_steps.move_averages(averages, values, share)
        return
    for i, (average, value) in enumerate(zip(averages, values, strict=True)):
        momentum = norms[i // 2].momentum
        last = ops.cast(average, "float32")
        average.assign(last * momentum + value * (1 - momentum))


def norms_of_one_op(norms: Sequence[BatchNormalization], dtype: str) -> bool:
    """Whether a compiled operation can compute all of these norms in training.

    Args:
        norms: of a layer.
        dtype: what the layer computes in.
    """
    return (
        len({norm.frozen for norm in norms}) == 1
        and all(norm.trainable and not norm.synchronized for norm in norms)
        and backend.has_training_ops(dtype)
    )


def call_op(
    op: Callable,
    inputs: Any,
    units: Iterable[Iterable],
    norms: Sequence[BatchNormalization],
    *arguments: Any,
) -> Any:
    """Calls an operation of `ops.training` and averages its moments.

    Args:
        op: the operation.
        inputs: its features.
        units: weights of each of its units.
        norms: all norms of the units, in their order.
        *arguments: what the operation has behind the epsilon of the norms.

    Returns:
        The outputs of the operation.
    """
    frozen = norms[0].frozen
    outputs, moments = op(
        inputs,
        [[ops.cast(weight, "float32") for weight in unit] for unit in units],
        norms[0].epsilon,
        *arguments,
        fixed=[norm.moving_moments() for norm in norms] if frozen else (),
    )
    if not frozen:
        _average(norms, moments)
    return outputs


def network_norm(
    name: str, dtype, momentum: float = 0.9, synchronized: bool = False
) -> BatchNormalization:
    """A batch norm as all networks of the package have it.

    Args:
        name: of the layer.
        dtype: dtype or dtype policy.
        momentum: of the moving averages.
        synchronized: whether it uses the statistics of all replicas of a
            distribution strategy.
    """
    return BatchNormalization(
        momentum=momentum,
        epsilon=EPSILON,
        synchronized=synchronized,
        dtype=dtype,
        name=name,
    )
