from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_radn.layers.context_aggregation import window_averages
from keras_radn.layers.roles import mark_steering
from keras_radn.ops import backend
from keras_radn.ops.geometry import require_integer

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
        pool_size: side of the windows over which the keys `B` and the values
            `D` are averaged, so that there are fewer positions `i`; 1, as in
            the paper, for none. With 2 the cost is a quarter.
        window_size: side of the windows of positions `i` that a position `j`
            is related to, at least those of the patches trained on: a softmax
            over many more positions than in training gives other means. 0, as
            in the paper, for all of them. Windows lie around blocks of half
            their side, moved to the inside at the borders. Time and memory
            then grow with `N`. A multiple of twice the `pool_size`.
        **kwargs: arguments of `keras.layers.Layer`.

    Input and output shape: `(batch, height, width, channels)`.

    Raises:
        ValueError: if `reduction` or `pool_size` is not a positive integer,
            `window_size` no such multiple, or the input has fewer channels than
            `reduction`.

    Example:

    ```python
    features = keras.random.uniform((1, 30, 40, 16))
    y = keras_radn.layers.SelfAttention()(features)  # (1, 30, 40, 16)
    ```

    Reference: section "Self-attention module (SA)" of the paper; for
    `pool_size`, Wang et al., Non-local Neural Networks, CVPR 2018, section 3.3;
    for `window_size`, Chu et al., Improving Image Restoration by Revisiting
    Global Information Aggregation, ECCV 2022.
    """

    def __init__(
        self,
        reduction: int = 8,
        pool_size: int = 1,
        window_size: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_integer("reduction", reduction, 1)
        require_integer("pool_size", pool_size, 1)
        require_integer("window_size", window_size, 0)
        if window_size % (2 * pool_size):
            raise ValueError(
                "`window_size` must be a multiple of twice the pool_size "
                f"({pool_size}). Received: {window_size!r}"
            )
        self.reduction = reduction
        self.pool_size = pool_size
        self.window_size = window_size

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
        for conv in (self.key_conv, self.query_conv):
            mark_steering(conv)

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
        pooled = window_averages(inputs, self.pool_size)
        return attend(
            self.query_conv(inputs),
            self.key_conv(pooled),
            self.value_conv(pooled),
            in_chunks=not training,
            window_size=self.window_size,
            pool_size=self.pool_size,
        )

    def attention(self, inputs, position):
        """How a position attends to all of them, `s[j, i]` of equation 5.

        It is 0 outside of the position's window.

        Args:
            inputs: `(batch, height, width, channels)`.
            position: row and column of `j`.

        Returns:
            A tensor `(batch, ceil(height / pool_size), ceil(width /
            pool_size))`, float32 at least, whose sum is 1 for each image.
        """
        if not self.built:
            self.build(inputs.shape)
        row, column = position
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        pooled = window_averages(inputs, self.pool_size)
        keys = ops.cast(self.key_conv(pooled), dtype)
        query = self.query_conv(inputs[:, row : row + 1, column : column + 1])
        similarity = ops.sum(keys * ops.cast(query, dtype), axis=-1)
        if self.window_size:
            windows = _Windows(self.window_size, self.pool_size)
            _, rows, columns, _ = ops.shape(keys)
            inside = ops.logical_and(
                windows.contain(row, rows)[:, None],
                windows.contain(column, columns),
            )
            similarity = ops.where(inside, similarity, -float("inf"))
        return ops.softmax(similarity, axis=(1, 2))

    def call(self, inputs, training=None):
        return inputs + self.residual(inputs, training)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "pool_size": self.pool_size,
            "window_size": self.window_size,
        }


@dataclass(frozen=True)
class _Windows:
    """Which keys the blocks of queries are related to.

    Attributes:
        size: side of a window in positions of the queries; a block has half of
            it.
        pool_size: positions of the queries from one key to the next.
    """

    size: int
    pool_size: int

    @property
    def block(self) -> int:
        return self.size // 2

    def starts(self, count: Any, keys: Any) -> Any:
        """The first key of each of `count` windows, of `keys` along a side."""
        block = self.block // self.pool_size
        starts = ops.arange(count) * block - block // 2
        return ops.clip(starts, 0, ops.maximum(keys - 2 * block, 0))

    def indices(self, count: Any, keys: Any) -> tuple[Any, Any]:
        """All keys of these windows, `(count * length,)`, and the length."""
        length = self.size // self.pool_size
        least = min if isinstance(keys, int) else ops.minimum
        length = least(keys, length)
        indices = self.starts(count, keys)[:, None] + ops.arange(length)
        return ops.reshape(indices, [-1]), length

    def contain(self, position: int, keys: int) -> Any:
        """Whether the window of a query contains each of the keys."""
        block = position // self.block
        start = self.starts(block + 1, keys)[block]
        index = ops.arange(keys)
        length = self.size // self.pool_size
        return ops.logical_and(index >= start, index < start + length)


def attend(
    queries: Any,
    keys: Any,
    values: Any,
    in_chunks: bool = True,
    window_size: int = 0,
    pool_size: int = 1,
) -> Any:
    """For each position the mean of the values, weighted by similarity.

    `sum over i of softmax over i (keys[i] . queries[j]) * values[i]`.

    Args:
        queries: `(batch, height, width, depth)`.
        keys: `(batch, rows, columns, depth)`, of any number of positions.
        values: `(batch, rows, columns, channels)`.
        in_chunks: whether large images are done a chunk of queries at a time.
            Gradients through chunks take more time and no less memory.
        window_size: see `SelfAttention`.
        pool_size: positions from one key to the next, where there are windows.

    Returns:
        A tensor `(batch, height, width, channels)` of the dtype of `values`.
    """
    batch, height, width, _ = ops.shape(queries)
    fits = all(
        isinstance(side, int) and side <= window_size
        for side in (height, width)
    )
    if window_size and not fits:
        windows = _Windows(window_size, pool_size)
        return _attend_in_windows(queries, keys, values, in_chunks, windows)
    _, rows, columns, channels = ops.shape(values)
    positions = height * width
    queries = ops.reshape(queries, [batch, positions, queries.shape[-1]])
    keys, values = (
        ops.reshape(x, [batch, rows * columns, x.shape[-1]])
        for x in (keys, values)
    )
    dtype = keras.backend.result_type(values.dtype, "float32")
    keys = ops.transpose(ops.cast(keys, dtype), [0, 2, 1])

    def attend_all(queries):
        similarity = ops.cast(queries, dtype) @ keys
        attention = _softmax(similarity)
        return ops.cast(attention, values.dtype) @ values

    chunk = _CHUNK_ELEMENTS // _at_least_1(batch * rows * columns)
    chunk = _at_least_1(chunk)
    count = _at_least_1(-(-positions // chunk))
    if (
        not in_chunks
        or not backend.loops_of_unknown_size()
        or (isinstance(count, int) and count == 1)
    ):
        residual = attend_all(queries)
    else:
        chunk = -(-positions // count)  # as even as can be
        queries = ops.pad(
            queries, [[0, 0], [0, chunk * count - positions], [0, 0]]
        )
        depth = queries.shape[-1]
        queries = ops.reshape(queries, [batch, count, chunk, depth])
        residual = backend.map_chunks(
            attend_all,
            ops.transpose(queries, [1, 0, 2, 3]),
            [values.shape[0], None, channels],
            values.dtype,
        )
        residual = ops.transpose(residual, [1, 0, 2, 3])
        residual = ops.reshape(residual, [batch, count * chunk, channels])
        residual = residual[:, :positions]
    return ops.reshape(residual, [batch, height, width, channels])


def _attend_in_windows(queries, keys, values, in_chunks, windows):
    batch, height, width, _ = ops.shape(queries)
    channels = values.shape[-1]
    _, rows, columns, _ = ops.shape(keys)
    block = windows.block
    # Positive numbers only: tf2onnx's integer division truncates.
    down, across = ((side + block - 1) // block for side in (height, width))
    row_indices, rows = windows.indices(down, rows)
    column_indices, columns = windows.indices(across, columns)

    def blocks(x, rows, columns):
        """A map of blocks, `(batch * down * across, rows, columns, depth)`."""
        depth = x.shape[-1]
        x = ops.reshape(x, [batch * down, rows, across, columns, depth])
        x = ops.transpose(x, [0, 2, 1, 3, 4])
        return ops.reshape(x, [batch * down * across, rows, columns, depth])

    def of_windows(x):
        x = ops.take(x, row_indices, axis=1)
        return blocks(ops.take(x, column_indices, axis=2), rows, columns)

    missing = [[0, down * block - height], [0, across * block - width]]
    x = attend(
        blocks(ops.pad(queries, [[0, 0], *missing, [0, 0]]), block, block),
        of_windows(keys),
        of_windows(values),
        in_chunks,
    )
    x = ops.reshape(x, [batch * down, across, block, block, channels])
    x = ops.transpose(x, [0, 2, 1, 3, 4])
    x = ops.reshape(x, [batch, down * block, across * block, channels])
    return x[:, :height, :width]


def _softmax(similarity):
    if similarity.shape[-1] == 1:  # of which Keras warns
        return ops.exp(similarity - similarity)
    return ops.softmax(similarity, axis=-1)


def _at_least_1(number):
    return max(number, 1) if isinstance(number, int) else ops.maximum(number, 1)
