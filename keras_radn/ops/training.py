"""Parts of a network in a training step, on the compiled library.

Each is an operation with a gradient, for the CPU. Layers compute the same with
Keras's own operations elsewhere. Other backends do not import this module.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_radn.ops import library, tracing


class DenseUnit(NamedTuple):
    """Weights of a unit of a dense block, float32.

    Attributes:
        gamma: of the norm before the 1x1 convolution, `(channels,)`.
        beta: of that norm.
        kernel: of the 1x1 convolution, `(1, 1, channels, filters)`.
        growth_gamma: of the norm before the 3x3 convolution, `(filters,)`.
        growth_beta: of that norm.
        growth_kernel: of the 3x3 convolution, `(3, 3, filters, growth_rate)`.
    """

    gamma: tf.Tensor
    beta: tf.Tensor
    kernel: tf.Tensor
    growth_gamma: tf.Tensor
    growth_beta: tf.Tensor
    growth_kernel: tf.Tensor


class Moments(NamedTuple):
    """Mean and biased variance of the channels that a batch norm reads.

    Attributes:
        mean: float32 `(channels,)`.
        variance: float32 `(channels,)`.
    """

    mean: tf.Tensor
    variance: tf.Tensor


def available(dtype: str = "float32") -> bool:
    """Whether the compiled library is to be used in the present graph.

    Args:
        dtype: what a layer computes in.
    """
    return (
        dtype in ("float32", "bfloat16")
        and tracing.current().training_ops is not False
        and library.has_cpu_ops()
    )


def dense_block(
    features: tf.Tensor,
    units: Sequence[DenseUnit],
    epsilon: float,
    fixed: Sequence[Moments] = (),
) -> tuple[tf.Tensor, list[Moments]]:
    """Appends the outputs of units to the features, one after the other.

    Each is `conv3x3(relu(norm(conv1x1(relu(norm(x))))))` of all features
    before it.

    Args:
        features: `(batch, height, width, channels)`, float32 or bfloat16, not
            empty.
        units: a `DenseUnit` or such a tuple each; each sees the channels of
            all before it.
        epsilon: of the norms.
        fixed: what the norms use instead of the moments of the batch: for the
            first and the second norm of each unit, in order.

    Returns:
        The features and behind them the outputs of the units, in the dtype of
        `features`, and the moments of the batch for each norm, in the order of
        `fixed`. They have no gradient.
    """
    outputs = library.load().ops.keras_radn_dense_block_training(
        features,
        *map(list, zip(*units, strict=True)),
        [moments[0] for moments in fixed],
        [moments[1] for moments in fixed],
        epsilon=epsilon,
    )
    moments = []
    growth = zip(outputs.growth_means, outputs.growth_variances, strict=True)
    for unit, growth_moments in zip(units, growth, strict=True):
        channels = unit[0].shape[0]
        moments += [
            Moments(outputs.mean[:channels], outputs.variance[:channels]),
            Moments(*growth_moments),
        ]
    return outputs.outputs, moments


@tf.RegisterGradient("KerasRadn>DenseBlockTraining")
def _dense_block_gradient(op: Any, gradient: tf.Tensor, *_: tf.Tensor) -> list:
    outputs, *more = op.outputs
    count = op.get_attr("N")
    bottlenecks, (mean, variance, *growth) = more[:count], more[count:]
    weights, fixed = _weights(op, len(DenseUnit._fields))
    to_features, *to_weights = (
        library.load().ops.keras_radn_dense_block_gradient(
            gradient,
            outputs,
            bottlenecks,
            mean,
            variance,
            *_lists(growth, count),
            *weights,
            *fixed,
            epsilon=op.get_attr("epsilon"),
        )
    )
    return [to_features, *itertools.chain(*to_weights), *_none(fixed)]


class DeformUnit(NamedTuple):
    """Weights of a unit of a dense deformable module, float32.

    Attributes:
        offset_kernel: of the convolution for the offsets, `(3, 3, channels,
            18)`.
        offset_bias: of it, `(18,)`.
        kernel: of the deformable convolution, `(3, 3, channels, filters)`.
        gamma: of the norm behind it, `(filters,)`.
        beta: of that norm.
    """

    offset_kernel: tf.Tensor
    offset_bias: tf.Tensor
    kernel: tf.Tensor
    gamma: tf.Tensor
    beta: tf.Tensor


def deform_units(
    features: tf.Tensor,
    units: Sequence[DeformUnit],
    epsilon: float,
    max_offset: float,
    fixed: Sequence[Moments] = (),
) -> tuple[tf.Tensor, list[Moments]]:
    """Appends the outputs of deformable convolutions to the features.

    Each is `relu(norm(deformable_conv2d(x, kernel, offset)))` of all features
    before it, with `offset = conv3x3(x, offset_kernel) + offset_bias`.

    Args:
        features: `(batch, height, width, channels)`, float32 or bfloat16, not
            empty.
        units: their weights, a `DeformUnit` or such a tuple each; each sees
            the channels of all before it.
        epsilon: of the norms.
        max_offset: to which the absolute offsets are clipped, in pixels.
        fixed: what the norms use instead of the moments of the batch.

    Returns:
        The features and behind them the outputs of the units, in the dtype of
        `features`, and the moments of the batch for each norm. They have no
        gradient.
    """
    outputs = library.load().ops.keras_radn_deform_units_training(
        features,
        *map(list, zip(*units, strict=True)),
        [moments[0] for moments in fixed],
        [moments[1] for moments in fixed],
        epsilon=epsilon,
        max_offset=max_offset,
    )
    moments = zip(outputs.batch_means, outputs.batch_variances, strict=True)
    return outputs.outputs, [Moments(*both) for both in moments]


@tf.RegisterGradient("KerasRadn>DeformUnitsTraining")
def _deform_units_gradient(op: Any, gradient: tf.Tensor, *_: tf.Tensor) -> list:
    outputs, offsets, *more = op.outputs
    weights, fixed = _weights(op, len(DeformUnit._fields))
    to_features, *to_weights = (
        library.load().ops.keras_radn_deform_units_gradient(
            gradient,
            outputs,
            offsets,
            *_lists(more, op.get_attr("N")),
            *weights,
            *fixed,
            epsilon=op.get_attr("epsilon"),
            max_offset=op.get_attr("max_offset"),
        )
    )
    return [to_features, *itertools.chain(*to_weights), *_none(fixed)]


def context(
    features: tf.Tensor,
    kernels: Sequence[tf.Tensor],
    biases: Sequence[tf.Tensor],
    sizes: Sequence[int],
) -> tf.Tensor:
    """Appends averages of the features over windows of several sizes.

    Each is `enlarge(conv1x1(average(features)) + bias)`, enlarged bilinearly.

    Args:
        features: `(batch, height, width, channels)`, float32 or bfloat16.
        kernels: float32 `(1, 1, channels, 1)` each.
        biases: float32 `(1,)` each.
        sizes: sides of the windows; the last windows may be partial.

    Returns:
        `(batch, height, width, channels + sizes)` in the dtype of `features`.
    """
    return (
        library.load()
        .ops.keras_radn_context_training(features, kernels, biases, sizes=sizes)
        .outputs
    )


@tf.RegisterGradient("KerasRadn>ContextTraining")
def _context_gradient(op: Any, gradient: tf.Tensor, *_: tf.Tensor) -> list:
    kernels, biases = _lists(op.inputs[1:], op.get_attr("N"))
    to_features, *to_weights = library.load().ops.keras_radn_context_gradient(
        gradient,
        op.outputs[1:],
        kernels,
        biases,
        sizes=op.get_attr("sizes"),
    )
    return [to_features, *itertools.chain(*to_weights)]


def convolution(
    features: tf.Tensor,
    units: Sequence[tuple],
    epsilon: float = 0.0,
    norm_first: bool = False,
    transposed: bool = False,
    fixed: Sequence[Moments] = (),
) -> tuple[tf.Tensor, list[Moments]]:
    """A convolution, with a batch norm and a ReLU before or behind it.

    Args:
        features: `(batch, height, width, channels)`, float32 or bfloat16, not
            empty if there is a norm.
        units: one tuple of float32 weights: the kernel, `(side, side, channels,
            filters)` of side 1 or 3, and gamma and beta of the norm, if there
            is one.
        epsilon: of the norm.
        norm_first: whether the norm and the ReLU are before the convolution,
            not behind it.
        transposed: whether it is a transposed convolution with stride 2. Its
            kernel is `(4, 4, filters, channels)`, and it has no norm before it.
        fixed: what the norm uses instead of the moments of the batch.

    Returns:
        `(batch, height, width, filters)`, or twice as high and wide, in the
        dtype of `features`, and the moments that the norm used. They have no
        gradient.
    """
    [(kernel, *norm)] = units
    outputs = library.load().ops.keras_radn_convolution_training(
        features,
        kernel,
        norm[:1],
        norm[1:],
        [moments[0] for moments in fixed],
        [moments[1] for moments in fixed],
        epsilon=epsilon,
        norm_first=norm_first,
        transposed=transposed,
    )
    moments = Moments(outputs.mean, outputs.variance)
    return outputs.outputs, [moments] if norm else []


@tf.RegisterGradient("KerasRadn>ConvolutionTraining")
def _convolution_gradient(op: Any, gradient: tf.Tensor, *_: tf.Tensor) -> list:
    features, kernel, *more = op.inputs
    gammas, betas, *fixed = _lists(more, max(op.get_attr("N"), 1)) or ((), ())
    to_features, to_kernel, *to_norm = (
        library.load().ops.keras_radn_convolution_gradient(
            gradient,
            features,
            *op.outputs[1:],
            kernel,
            gammas,
            betas,
            epsilon=op.get_attr("epsilon"),
            norm_first=op.get_attr("norm_first"),
            transposed=op.get_attr("transposed"),
            fixed=bool(fixed),
        )
    )
    return [to_features, to_kernel, *itertools.chain(*to_norm), *_none(fixed)]


def _weights(op, kinds):
    """A list of each kind of weights; fixed means and variances."""
    _, *more = op.inputs
    weights = _lists(more[: kinds * op.get_attr("N")], op.get_attr("N"))
    fixed = more[kinds * op.get_attr("N") :]
    half = len(fixed) // 2
    return weights, (fixed[:half], fixed[half:])


def _lists(tensors, size):
    return [tensors[i : i + size] for i in range(0, len(tensors), size)]


def _none(fixed):
    return [None for _ in itertools.chain(*fixed)]
