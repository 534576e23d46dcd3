import keras
import tensorflow as tf
from keras import ops

from keras_radn.ops import library
from keras_radn.ops.geometry import require_integer, shape_of

# Similarities of a chunk of positions stay below this number of elements (16 MB
# in float32), so that they are found in the cache.
_CHUNK_ELEMENTS = 4 * 1024 * 1024


@keras.saving.register_keras_serializable("keras_radn")
class SelfAttention(keras.layers.Layer):
    """Adds to each position a weighted sum of the features of all positions.

    With `N = height * width` positions, 1x1 convolutions of the input `A`
    give `B`, `C` (channels / `reduction`) and `D` (channels):
    `s[j, i] = softmax over i of (B[i] . C[j])` (equation 5) and
    `E[j] = A[j] + sum_i s[j, i] D[i]` (equation 6). There is no gate; the
    kernel of `D` starts at zero, so that the layer starts as the identity.
    The softmax is computed in float32 at least. Time grows with `N**2`, and in
    training memory, too; else the positions `j` are done in chunks, and memory
    grows with `N`.

    Args:
        reduction: divisor of the channels of `B` and `C`, at least 1; 8 in
            the paper.
        **kwargs: arguments of `keras.layers.Layer`.

    Input and output shape: `(batch, height, width, channels)`.

    Raises:
        ValueError: if `reduction` is no positive integer, or there are fewer
            channels.

    Example:

    ```python
    features = keras.random.uniform((1, 30, 40, 16))
    y = keras_radn.layers.SelfAttention()(features)  # (1, 30, 40, 16)
    ```

    Reference: section "Self-attention module (SA)" of the paper.
    """

    def __init__(self, reduction: int = 8, **kwargs):
        super().__init__(**kwargs)
        require_integer("reduction", reduction, 1)
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

    def _conv(self, filters, name, initializer=None):
        # With Glorot's variance the similarities of features of variance 1
        # have a deviation of 14: each position would see one other only, and
        # the softmax would have no gradient.
        initializer = initializer or keras.initializers.VarianceScaling(
            0.1, "fan_avg", "uniform"
        )
        return keras.layers.Conv2D(
            filters,
            1,
            kernel_initializer=initializer,
            dtype=self.dtype_policy,
            name=name,
        )

    def residual(self, inputs, training=None):
        """The enhanced feature-map residual, `sum_i s[j, i] D[i]`.

        Args:
            inputs: `(batch, height, width, channels)`.
            training: whether gradients will be taken.

        Returns:
            A tensor of the same shape: what the layer adds to its input.
        """
        if not self.built:
            self.build(inputs.shape)
        b, c, d = (
            conv(inputs)
            for conv in (self.key_conv, self.query_conv, self.value_conv)
        )
        return attend(c, b, d, in_chunks=not training)

    def attention(self, inputs, position):
        """How a position attends to all of them, `s[j, i]` of equation 5.

        Args:
            inputs: `(batch, height, width, channels)`.
            position: row and column of `j`.

        Returns:
            A tensor `(batch, height, width)`, float32 at least, whose sum is 1
            for each image.
        """
        if not self.built:
            self.build(inputs.shape)
        row, column = position
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        keys = ops.cast(self.key_conv(inputs), dtype)
        query = self.query_conv(inputs[:, row : row + 1, column : column + 1])
        similarity = ops.sum(keys * ops.cast(query, dtype), axis=-1)
        return ops.softmax(similarity, axis=(1, 2))

    def call(self, inputs, training=None):
        return inputs + self.residual(inputs, training)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}


def attend(
    queries: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    in_chunks: bool = True,
) -> tf.Tensor:
    """For each position the mean of the values, weighted by similarity.

    `sum over i of softmax over i (keys[i] . queries[j]) * values[i]`.

    Args:
        queries: `(batch, height, width, depth)`.
        keys: `(batch, height, width, depth)`.
        values: `(batch, height, width, channels)`.
        in_chunks: whether large images are done a chunk of queries at a time.
            Gradients through chunks take more time and no less memory; XLA,
            which cannot take them, gets none.

    Returns:
        A tensor of the shape and dtype of `values`.
    """
    batch, height, width, channels = shape_of(values)
    positions = height * width
    queries, keys, values = (
        tf.reshape(x, [batch, positions, x.shape[-1]])
        for x in (queries, keys, values)
    )
    dtype = tf.float64 if values.dtype == tf.float64 else tf.float32
    keys = tf.cast(keys, dtype)

    def attend_all(queries):
        similarity = tf.matmul(tf.cast(queries, dtype), keys, transpose_b=True)
        attention = tf.nn.softmax(similarity, axis=-1)
        return tf.matmul(tf.cast(attention, values.dtype), values)

    chunk = _at_least_1(_CHUNK_ELEMENTS // _at_least_1(batch * positions))
    count = _at_least_1(-(-positions // chunk))
    if (
        not in_chunks
        or library.in_xla()
        or not library.loops()
        or (isinstance(count, int) and count == 1)
    ):
        residual = attend_all(queries)
    else:
        chunk = -(-positions // count)  # as even as can be
        queries = tf.pad(
            queries, [[0, 0], [0, chunk * count - positions], [0, 0]]
        )
        depth = queries.shape[-1]
        queries = tf.reshape(queries, [batch, count, chunk, depth])
        residual = tf.map_fn(
            attend_all,
            tf.transpose(queries, [1, 0, 2, 3]),
            parallel_iterations=1,
            fn_output_signature=values.dtype,
        )
        residual = tf.transpose(residual, [1, 0, 2, 3])
        residual = tf.reshape(residual, [batch, count * chunk, channels])
        residual = residual[:, :positions]
    return tf.reshape(residual, [batch, height, width, channels])


def _at_least_1(number):
    return max(number, 1) if isinstance(number, int) else tf.maximum(number, 1)
