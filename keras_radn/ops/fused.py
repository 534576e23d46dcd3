"""Convolutions for inference, with what stands before and after them.

The compiled library has kernels for the CPU; TensorFlow's own ops take their
place elsewhere. None of them has a gradient in the compiled form. Other
backends do not import this module.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_radn.ops import library
from keras_radn.ops.deformable import deformable_conv2d


class DenseUnit(NamedTuple):
    """Weights of a unit of a dense block; arrays become constants of a graph.

    Attributes:
        scale: of the norm before the 1x1 convolution, `(channels,)`.
        offset: of that norm, `(channels,)`.
        kernel: of the 1x1 convolution, `(1, 1, channels, filters)`.
        bias: added before the second ReLU, `(filters,)`.
        growth_kernel: of the 3x3 convolution, `(3, 3, filters, growth_rate)`.
    """

    scale: np.ndarray
    offset: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    growth_kernel: np.ndarray


def dense_block(
    features: tf.Tensor, units: Sequence[DenseUnit], native: bool
) -> tf.Tensor:
    """Appends the outputs of units to the features, one after the other.

    Each is `conv3x3(relu(conv1x1(relu(x * scale + offset)) + bias))` of all
    features before it.

    Args:
        features: `(batch, height, width, channels)`, float32 or bfloat16.
        units: their weights; each sees the channels of all before it.
        native: whether to use the compiled op, which must be there and runs on
            the CPU only.

    Returns:
        `(batch, height, width, channels + units * growth_rate)` in the dtype
        of `features`.
    """
    if native and units:
        weights = [
            [tf.constant(array, "float32") for array in arrays]
            for arrays in zip(*units, strict=True)
        ]
        return library.load().ops.keras_radn_dense_block(features, *weights)
    for unit in units:
        x = convolution(
            features,
            unit.kernel,
            unit.bias,
            relu=True,
            affine=(unit.scale, unit.offset),
            native=False,
        )
        x = convolution(x, unit.growth_kernel, native=False)
        features = tf.concat([features, x], axis=-1)
    return features


def _affine_relu(x, scale, offset):
    # The one op of TensorFlow's that does both without a copy in between.
    x = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=tf.constant(scale, "float32"),
        offset=tf.constant(offset, "float32"),
        mean=np.zeros(len(scale), "float32"),
        variance=np.ones(len(scale), "float32"),
        epsilon=0.0,
        is_training=False,
    )[0]
    return tf.nn.relu(x)


class DeformUnit(NamedTuple):
    """Weights of a unit of a dense deformable module.

    Attributes:
        offset_kernel: of the convolution for the offsets, `(3, 3, channels,
            18)`.
        offset_bias: of it, `(18,)`.
        kernel: of the deformable convolution, `(3, 3, channels, filters)`.
        bias: added before the ReLU, `(filters,)`.
    """

    offset_kernel: np.ndarray
    offset_bias: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray


def deform_units(
    features: Sequence[tf.Tensor],
    units: Sequence[DeformUnit],
    max_offset: float,
    native: bool,
) -> tf.Tensor:
    """Appends the outputs of deformable convolutions to the features.

    Each is `relu(deformable_conv2d(x, kernel, offset) + bias)` of all features
    before it, with `offset = conv3x3(x, offset_kernel) + offset_bias`.

    Args:
        features: tensors `(batch, height, width, channels)` of equal size and
            dtype, float32 or bfloat16, which are concatenated.
        units: their weights; each sees the channels of all before it.
        max_offset: to which the absolute offsets are clipped, in pixels.
        native: see `dense_block`.

    Returns:
        `(batch, height, width, channels + sum of filters)` in the dtype of
        `features`.
    """
    if not units:
        return tf.concat(features, axis=-1)
    # What a part of the features adds to the offsets of all later units is one
    # convolution: those of few filters are slow.
    widths = [0, *(unit.kernel.shape[2] for unit in units)]
    offset_kernels = [
        np.concatenate(
            [unit.offset_kernel[:, :, start:end] for unit in units[i:]], axis=-1
        )
        for i, (start, end) in enumerate(itertools.pairwise(widths))
    ]
    bias = np.concatenate([unit.offset_bias for unit in units])
    if native:
        return library.load().ops.keras_radn_deform_units(
            features,
            [tf.constant(kernel, "float32") for kernel in offset_kernels],
            tf.constant(bias, "float32"),
            [tf.constant(_taps(unit.kernel), "float32") for unit in units],
            [tf.constant(unit.bias, "float32") for unit in units],
            max_offset=max_offset,
        )
    x = tf.concat(features, axis=-1)
    added, offsets = x, 0
    for unit, offset_kernel in zip(units, offset_kernels, strict=True):
        offsets += convolution(added, offset_kernel, bias, native=False)
        offset = tf.clip_by_value(offsets[..., :18], -max_offset, max_offset)
        added = deformable_conv2d(
            x, tf.constant(unit.kernel, x.dtype), tf.cast(offset, "float32")
        )
        added = tf.nn.bias_add(added, tf.constant(unit.bias, x.dtype))
        added = tf.nn.relu(added)
        x = tf.concat([x, added], axis=-1)
        offsets, bias = offsets[..., 18:], None
    return x


def _taps(kernel):
    """A 3x3 kernel as that of a 1x1 convolution with the taps as filters."""
    _, _, channels, filters = kernel.shape
    taps = kernel.reshape(9, channels, filters).swapaxes(0, 1)
    return taps.reshape(1, 1, channels, 9 * filters)


def convolution(
    features: tf.Tensor,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    relu: bool = False,
    affine: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    native: bool,
) -> tf.Tensor:
    """`conv(relu(features * scale + offset), kernel) + bias`, then ReLU.

    Args:
        features: `(batch, height, width, channels)`, float32 or bfloat16.
        kernel: `(size, size, channels, filters)` with a size of 1 or 3.
        bias: `(filters,)` or `None`.
        relu: whether a ReLU follows.
        affine: scale and offset, each `(channels,)`, or `None`: then the
            features are convolved as they are.
        native: see `dense_block`.

    Returns:
        `(batch, height, width, filters)` in the dtype of `features`.
    """
    if native:
        return library.load().ops.keras_radn_fused_convolution(
            features,
            tf.constant(kernel, "float32"),
            [tf.constant(x, "float32") for x in affine or ()],
            [] if bias is None else [tf.constant(bias, "float32")],
            relu=relu,
        )
    if affine is not None:
        features = _affine_relu(features, *affine)
    # A constant, not a variable: oneDNN then keeps the kernel in the order
    # that it wants it.
    kernel = tf.constant(kernel, features.dtype)
    x = tf.nn.conv2d(features, kernel, 1, "SAME")
    if bias is not None:
        x = tf.nn.bias_add(x, tf.constant(bias, x.dtype))
    return tf.nn.relu(x) if relu else x


def deconvolution(
    features: Sequence[tf.Tensor],
    kernel: np.ndarray,
    bias: np.ndarray,
    native: bool,
) -> tf.Tensor:
    """A transposed convolution with stride 2, its bias and a ReLU.

    Args:
        features: tensors `(batch, height, width, channels)` of equal size and
            dtype, float32 or bfloat16, which are concatenated.
        kernel: `(4, 4, filters, sum of channels)`.
        bias: `(filters,)`.
        native: see `dense_block`.

    Returns:
        `(batch, 2 * height, 2 * width, filters)` in the dtype of `features`.
    """
    if native:
        return library.load().ops.keras_radn_fused_deconvolution(
            features,
            tf.constant(kernel, "float32"),
            tf.constant(bias, "float32"),
        )
    x = tf.concat(features, axis=-1)
    batch, height, width, _ = tf.unstack(tf.shape(x))
    shape = [batch, 2 * height, 2 * width, kernel.shape[2]]
    x = tf.nn.conv2d_transpose(x, tf.constant(kernel, x.dtype), shape, 2)
    return tf.nn.relu(tf.nn.bias_add(x, tf.constant(bias, x.dtype)))


def attention(
    features: tf.Tensor,
    queries: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    window_size: int = 0,
    pool_size: int = 1,
) -> tf.Tensor:
    """Adds to each position the mean of the values, weighted by similarity.

    `features[j] + sum over i of softmax over i (keys[i] . queries[j]) *
    values[i]`, the paper's equation 6, by the compiled op, which must be there
    and runs on the CPU only; `keras_radn.layers.self_attention.attend` does
    the same elsewhere.

    Args:
        features: `(batch, height, width, channels)`, float32 or bfloat16.
        queries: `(batch, height, width, depth)`, of the same dtype.
        keys: `(batch, rows, columns, depth)`, of the same dtype.
        values: `(batch, rows, columns, channels)`, of the same dtype.
        window_size: see `keras_radn.layers.SelfAttention`.
        pool_size: positions from one key to the next, where there are windows.

    Returns:
        A tensor of the shape and dtype of `features`.
    """
    return library.load().ops.keras_radn_attention(
        features,
        queries,
        keys,
        values,
        window_size=window_size,
        pool_size=pool_size,
    )


def reconstruct(
    features: tf.Tensor,
    context: Sequence[tf.Tensor],
    sizes: Sequence[int],
    kernel: tf.Tensor,
    bias: tf.Tensor,
    images: tf.Tensor,
    native: bool,
) -> tf.Tensor:
    """The last convolution, of features and enlarged maps, and its residual.

    `images + crop(conv3x3(concat(features, enlarged maps)) + bias)`.

    Args:
        features: `(batch, padded_height, padded_width, channels)`, float32 or
            bfloat16.
        context: per scale a float32 map `(batch, ceil(padded_height / size),
            ceil(padded_width / size), 1)`.
        sizes: even integers by which the maps are enlarged bilinearly.
        kernel: float32 `(3, 3, channels + scales, 3)`.
        bias: float32 `(3,)`.
        images: float32 `(batch, height, width, 3)`, no larger than `features`.
        native: see `dense_block`.

    Returns:
        A tensor of the shape and dtype of `images`.
    """
    if native:
        return library.load().ops.keras_radn_reconstruct(
            features, context, kernel, bias, images, sizes=sizes
        )
    _, height, width, _ = keras.ops.shape(features)
    scales = [tf.cast(features, images.dtype)]
    for y, size in zip(context, sizes, strict=True):
        _, rows, columns, _ = keras.ops.shape(y)
        y = tf.image.resize(y, (rows * size, columns * size))
        scales.append(y[:, :height, :width])
    with tf.name_scope("reconstruction"):
        x = tf.nn.conv2d(tf.concat(scales, axis=-1), kernel, 1, "SAME")
        x = tf.nn.bias_add(x, bias)
    _, height, width, _ = keras.ops.shape(images)
    return images + x[:, :height, :width]
