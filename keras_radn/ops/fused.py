"""What inference does between convolutions, in one pass over the features.

The compiled library has kernels for the CPU; TensorFlow's own ops take their
place elsewhere. None of them has a gradient in the compiled form.
"""

from collections.abc import Sequence

import tensorflow as tf

from keras_radn.ops import library


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
