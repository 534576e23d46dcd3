import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("keras_radn")
class SelfAttention(keras.layers.Layer):
    """Adds to each position a weighted sum of the features of all positions.

    With `N = height * width` positions, 1x1 convolutions of the input `A`
    give `B`, `C` (channels / `reduction`) and `D` (channels):
    `s[j, i] = softmax over i of (B[i] . C[j])` (equation 5) and
    `E[j] = A[j] + sum_i s[j, i] D[i]` (equation 6). There is no gate; the
    kernel of `D` starts at zero, so that the layer starts as the identity.
    The softmax is computed in float32 at least. Memory grows with `N**2`.

    Args:
        reduction: divisor of the channels of `B` and `C`; 8 in the paper.
        **kwargs: arguments of `keras.layers.Layer`.

    Input and output shape: `(batch, height, width, channels)`.

    Raises:
        ValueError: if there are fewer channels than `reduction`.

    Reference: section "Self-attention module (SA)" of the paper.
    """

    def __init__(self, reduction: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.reduction = reduction

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels < self.reduction:
            raise ValueError(
                f"The input needs at least {self.reduction} channels (the "
                f"reduction). Received: input_shape={input_shape}"
            )
        self.key_conv = self._conv(channels // self.reduction, "b")
        self.query_conv = self._conv(channels // self.reduction, "c")
        self.value_conv = self._conv(channels, "d", "zeros")
        for conv in (self.key_conv, self.query_conv, self.value_conv):
            conv.build(input_shape)

    def _conv(self, filters, name, initializer="glorot_uniform"):
        return keras.layers.Conv2D(
            filters,
            1,
            kernel_initializer=initializer,
            dtype=self.dtype_policy,
            name=name,
        )

    def residual(self, inputs):
        """The enhanced feature-map residual, `sum_i s[j, i] D[i]`.

        Args:
            inputs: `(batch, height, width, channels)`.

        Returns:
            A tensor of the same shape: what the layer adds to its input.
        """
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        b, c, d = (
            self._positions(conv(inputs))
            for conv in (self.key_conv, self.query_conv, self.value_conv)
        )
        similarity = ops.matmul(
            ops.cast(c, dtype), ops.transpose(ops.cast(b, dtype), (0, 2, 1))
        )
        attention = tf.nn.softmax(similarity, axis=-1)
        residual = ops.matmul(ops.cast(attention, d.dtype), d)
        return ops.reshape(residual, ops.shape(inputs))

    def attention(self, inputs, position):
        """How a position attends to all of them, `s[j, i]` of equation 5.

        Args:
            inputs: `(batch, height, width, channels)`.
            position: row and column of `j`.

        Returns:
            A tensor `(batch, height, width)`, float32 at least, whose sum is 1
            for each image.
        """
        row, column = position
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        keys = ops.cast(self.key_conv(inputs), dtype)
        query = self.query_conv(inputs[:, row : row + 1, column : column + 1])
        similarity = ops.sum(keys * ops.cast(query, dtype), axis=-1)
        return ops.softmax(similarity, axis=(1, 2))

    def _positions(self, features):
        batch, height, width, _ = ops.shape(features)
        return ops.reshape(
            features, (batch, height * width, features.shape[-1])
        )

    def call(self, inputs):
        return inputs + self.residual(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}
