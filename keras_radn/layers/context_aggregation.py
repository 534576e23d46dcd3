import keras
import tensorflow as tf
from keras import ops

from keras_radn.ops.geometry import require_integer, shape_of

POOL_SIZES = (4, 8, 16, 32)


@keras.saving.register_keras_serializable("keras_radn")
class ContextAggregation(keras.layers.Layer):
    """Appends averages of the features over several scales.

    Per scale: average pooling, a 1x1 convolution, and bilinear upsampling to
    the size of the input, computed in float32 for every dtype. The windows
    start at the first row and column; sizes that are no multiple of a scale
    are covered by a last, partial window, the average of its pixels.

    Args:
        pool_sizes: sides of the pooling windows in pixels, at least 1. Under
            XLA choose even ones: its upsampling by odd factors is wrong in
            TensorFlow 2.21.
        filters: channels per scale.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch, height, width, channels + len(pool_sizes) *
    filters)`.

    Raises:
        ValueError: if a pool size or `filters` is no positive integer.

    Example:

    ```python
    features = keras.random.uniform((1, 30, 40, 16))
    y = keras_radn.layers.ContextAggregation()(features)  # (1, 30, 40, 20)
    ```

    Reference: section "Dense encoder decoder backbone" of the paper.
    """

    def __init__(
        self,
        pool_sizes: tuple[int, ...] = POOL_SIZES,
        filters: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for size in pool_sizes:
            require_integer("pool_sizes", size, 1)
        require_integer("filters", filters, 1)
        self.pool_sizes = tuple(pool_sizes)
        self.filters = filters
        self.convs = [
            keras.layers.Conv2D(
                filters, 1, dtype=self.dtype_policy, name=f"pool{size}_conv"
            )
            for size in self.pool_sizes
        ]

    def build(self, input_shape):
        for conv in self.convs:
            conv.build(input_shape)

    def call(self, inputs):
        _, height, width, _ = ops.shape(inputs)
        scales = [inputs]
        for size, conv in zip(self.pool_sizes, self.convs, strict=True):
            pooled = conv(window_averages(inputs, size))
            _, rows, columns, _ = ops.shape(pooled)
            # float32: the interpolated positions of half precision are coarse.
            upsampled = tf.image.resize(pooled, (rows * size, columns * size))
            upsampled = upsampled[:, :height, :width, :]
            scales.append(ops.cast(upsampled, inputs.dtype))
        return ops.concatenate(scales, axis=-1)

    def compute_output_shape(self, input_shape):
        *outer, channels = input_shape
        return (*outer, channels + len(self.pool_sizes) * self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "pool_sizes": self.pool_sizes,
            "filters": self.filters,
        }


def window_averages(inputs: tf.Tensor, size: int) -> tf.Tensor:
    """Averages of square windows, of which the last ones may be partial.

    TensorFlow's own pooling with "SAME" has its partial windows on all sides.

    Args:
        inputs: `(batch, height, width, channels)`.
        size: side of the windows, which start at the first row and column.

    Returns:
        `(batch, ceil(height / size), ceil(width / size), channels)`.
    """
    batch, *sides, channels = shape_of(inputs)
    # Of positive numbers: tf2onnx's integer division truncates.
    counts = [(side + size - 1) // size for side in sides]
    padded = [count * size for count in counts]
    missing = [p - side for p, side in zip(padded, sides, strict=True)]
    if all(isinstance(m, int) and m == 0 for m in missing):
        return tf.nn.avg_pool2d(inputs, size, size, "VALID")
    inputs = tf.pad(inputs, [[0, 0], *([0, m] for m in missing), [0, 0]])
    # LiteRT's converter forgets the channels where sizes are unknown.
    inputs = tf.reshape(inputs, [batch, *padded, channels])
    pooled = tf.nn.avg_pool2d(inputs, size, size, "VALID")
    for axis, (side, count) in enumerate(zip(sides, counts, strict=True)):
        # The share of real pixels, 1 but for a partial window.
        real = tf.minimum(side - size * tf.range(count), size)
        share = tf.cast(real, pooled.dtype) / tf.cast(size, pooled.dtype)
        pooled /= tf.reshape(share, [-1, 1] if axis else [-1, 1, 1])
    return pooled
