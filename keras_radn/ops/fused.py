"""What inference does between convolutions, in one pass over the features.

The compiled library has kernels for the CPU; TensorFlow's own ops take their
place elsewhere. None of them has a gradient in the compiled form.
"""

from collections.abc import Sequence

import tensorflow as tf

from keras_radn.ops import library
from keras_radn.ops.geometry import shape_of


def concat_affine_relu(
    inputs: Sequence[tf.Tensor],
    scale: tf.Tensor,
    offset: tf.Tensor,
    native: bool,
) -> tf.Tensor:
    """`relu(concat(inputs) * scale + offset)`, per channel.

    Args:
        inputs: tensors `(batch, height, width, channels)` of equal size and
            dtype, float32 or bfloat16.
        scale: float32 `(sum of channels,)`.
        offset: float32 `(sum of channels,)`.
        native: whether to use the compiled op, which must be there and runs on
            the CPU only.

    Returns:
        `(batch, height, width, sum of channels)` in the dtype of `inputs`.
    """
    if native:
        return library.load().ops.keras_radn_concat_affine_relu(
            inputs, scale, offset
        )
    features = inputs[0] if len(inputs) == 1 else tf.concat(inputs, axis=-1)
    # The one op of TensorFlow's that does both without a copy in between.
    features = tf.raw_ops.FusedBatchNormV3(
        x=features,
        scale=scale,
        offset=offset,
        mean=tf.zeros_like(scale),
        variance=tf.ones_like(scale),
        epsilon=0.0,
        is_training=False,
    )[0]
    return tf.nn.relu(features)


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
        native: see `concat_affine_relu`.

    Returns:
        A tensor of the shape and dtype of `images`.
    """
    if native:
        return library.load().ops.keras_radn_reconstruct(
            features, context, kernel, bias, images, sizes=sizes
        )
    _, height, width, _ = shape_of(features)
    scales = [tf.cast(features, images.dtype)]
    for y, size in zip(context, sizes, strict=True):
        _, rows, columns, _ = shape_of(y)
        y = tf.image.resize(y, (rows * size, columns * size))
        scales.append(y[:, :height, :width])
    x = tf.nn.conv2d(tf.concat(scales, axis=-1), kernel, 1, "SAME")
    _, height, width, _ = shape_of(images)
    return images + tf.nn.bias_add(x, bias)[:, :height, :width]
