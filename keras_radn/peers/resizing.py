"""Bilinear resizing as TensorFlow 1 did it by default.

The first pixel of both images has the same place, so that a smaller image is
made of every second pixel. Weights that were trained so need it.
"""

import keras
from keras import ops


def reduce(x: keras.KerasTensor, factor: int) -> keras.KerasTensor:
    """Images with a fraction of the height and width, which it divides."""
    return x[:, ::factor, ::factor, :] if factor > 1 else x


def double(x: keras.KerasTensor) -> keras.KerasTensor:
    """Images of twice the height and width.

    Between two pixels their mean is put, after the last one its copy.
    """
    return Double(dtype=x.dtype)(x)


@keras.saving.register_keras_serializable("keras_radn")
class Double(keras.layers.Layer):
    """`double` as a layer.

    Keras's `UpSampling2D` forgets how many channels there are where the size
    of the images is open, and LiteRT cannot be without.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch, 2 * height, 2 * width, channels)`.
    """

    def call(self, inputs):
        batch, height, width, channels = ops.shape(inputs)
        following = ops.concatenate([inputs[:, 1:], inputs[:, -1:]], axis=1)
        x = ops.stack([inputs, (inputs + following) / 2], axis=2)
        x = ops.reshape(x, (batch, 2 * height, width, channels))
        following = ops.concatenate([x[:, :, 1:], x[:, :, -1:]], axis=2)
        x = ops.stack([x, (x + following) / 2], axis=3)
        return ops.reshape(x, (batch, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height and 2 * height, width and 2 * width, channels)
