from typing import Any

import keras
from keras import ops

from keras_radn.hooks import track_in_checkpoints
from keras_radn.ops import backend
from keras_radn.ops.geometry import require_integer

POOL_SIZES = (4, 8, 16, 32)


@keras.saving.register_keras_serializable("keras_radn")
class ContextAggregation(keras.layers.Layer):
    """Appends averages of the features over several scales.

    Per scale: average pooling, a 1x1 convolution, and bilinear upsampling to
    the size of the input, computed in float32 for every dtype. The windows
    start at the first row and column; sizes that are not multiples of a scale
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
        ValueError: if a pool size or `filters` is not a positive integer.

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
        track_in_checkpoints(self, self.convs)

    def build(self, input_shape):
        for conv in self.convs:
            conv.build(input_shape)

    def call(self, inputs, training=None):
        if training and self._has_training_op():
            kernels, biases = (
                [ops.cast(weight, "float32") for weight in weights]
                for weights in zip(
                    *((conv.kernel, conv.bias) for conv in self.convs),
                    strict=True,
                )
            )
            return backend.context_training(
                inputs, kernels, biases, self.pool_sizes
            )
        _, height, width, _ = ops.shape(inputs)
        scales = [inputs]
        # Sums of 32x32 numbers stop growing in bfloat16, in which TensorFlow
        # adds them on processors without instructions for it.
        half = self.compute_dtype in ("float16", "bfloat16")
        wide = ops.cast(inputs, "float32") if half else inputs
        for size, conv in zip(self.pool_sizes, self.convs, strict=True):
            pooled = conv(window_averages(wide, size))
            upsampled = backend.enlarge(pooled, size)
            upsampled = upsampled[:, :height, :width, :]
            scales.append(ops.cast(upsampled, inputs.dtype))
        return ops.concatenate(scales, axis=-1)

    def _has_training_op(self):
        return (
            self.filters == 1
            and len(self.pool_sizes) > 0
            and backend.has_training_ops(self.compute_dtype)
        )

    def compute_output_shape(self, input_shape):
        *outer, channels = input_shape
        return (*outer, channels + len(self.pool_sizes) * self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "pool_sizes": self.pool_sizes,
            "filters": self.filters,
        }


def window_averages(inputs: Any, size: int) -> Any:
    """Averages of square windows; the last ones may be partial.

    TensorFlow's own pooling with "SAME" has its partial windows on all sides.

    Args:
        inputs: `(batch, height, width, channels)`.
        size: side of the windows, which start at the first row and column.

    Returns:
        `(batch, ceil(height / size), ceil(width / size), channels)`.
    """
    if size == 1:
        return inputs
    batch, *sides, channels = ops.shape(inputs)
    # Positive numbers only: tf2onnx's integer division truncates.
    counts = [(side + size - 1) // size for side in sides]
    padded = [count * size for count in counts]
    missing = [p - side for p, side in zip(padded, sides, strict=True)]
    if all(isinstance(m, int) and m == 0 for m in missing):
        return ops.average_pool(inputs, size, size, "valid")
    inputs = ops.pad(inputs, [[0, 0], *([0, m] for m in missing), [0, 0]])
    # LiteRT's converter forgets the channels where sizes are unknown.
    inputs = ops.reshape(inputs, [batch, *padded, channels])
    pooled = ops.average_pool(inputs, size, size, "valid")
    for axis, (side, count) in enumerate(zip(sides, counts, strict=True)):
        # The share of real pixels, 1 but for a partial window.
        real = ops.minimum(side - size * ops.arange(count), size)
        share = ops.cast(real, pooled.dtype) / size
        pooled = pooled / ops.reshape(share, [-1, 1] if axis else [-1, 1, 1])
    return pooled
