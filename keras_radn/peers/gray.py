"""The colors of an image as gray images of a batch, and back."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_radn")
class ColorsToBatch(keras.layers.Layer):
    """Makes gray images of the channels, for networks that see one each.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch * channels, height, width, 1)`.
    """

    def call(self, inputs):
        _, height, width, _ = ops.shape(inputs)
        x = ops.transpose(inputs, (0, 3, 1, 2))
        return ops.reshape(x, (-1, height, width, 1))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch and batch * channels, height, width, 1)


@keras.saving.register_keras_serializable("keras_radn")
class BatchToColors(keras.layers.Layer):
    """Undoes `ColorsToBatch` of images with 3 channels.

    Input shape: `(batch * 3, height, width, 1)`.

    Output shape: `(batch, height, width, 3)`.
    """

    def call(self, inputs):
        _, height, width, _ = ops.shape(inputs)
        x = ops.reshape(inputs, (-1, 3, height, width))
        return ops.transpose(x, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch and batch // 3, height, width, 3)
