import keras
from keras import ops

from keras_radn.ops import backend


# The name is that of the base class: Keras addresses weights in files by it.
@keras.saving.register_keras_serializable("keras_radn")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's transposed convolution, by one compiled operation in training.

    The same function of the same weights. The operation knows what RADN has: a
    kernel of 4x4, stride 2, "same" padding, no bias, on a CPU; all else is left
    to the base class.

    Args:
        **kwargs: arguments of `keras.layers.Conv2DTranspose`.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch, 2 * height, 2 * width, filters)`, or as the base
    class says.
    """

    def call(self, inputs, training=None):
        if not training or not self._has_training_op():
            return super().call(inputs)
        kernel = ops.cast(self.kernel, "float32")
        outputs, _ = backend.convolution_training(
            inputs, [(kernel,)], transposed=True
        )
        return self.activation(outputs)

    def _has_training_op(self):
        return (
            self.kernel_size == (4, 4)
            and self.strides == (2, 2)
            and self.dilation_rate == (1, 1)
            and self.padding == "same"
            and self.output_padding is None
            and self.data_format == "channels_last"
            and not self.use_bias
            and backend.has_training_ops(self.compute_dtype)
        )
