import keras
import tensorflow as tf
from keras import ops

POOL_SIZES = (4, 8, 16, 32)


@keras.saving.register_keras_serializable("keras_radn")
class ContextAggregation(keras.layers.Layer):
    """Appends averages of the features over several scales.

    Per scale: average pooling, a 1x1 convolution, and bilinear upsampling to
    the size of the input. Sizes that are no multiple of a scale are covered
    by a last, partial window.

    Args:
        pool_sizes: sides of the pooling windows in pixels.
        filters: channels per scale.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch, height, width, channels + len(pool_sizes) *
    filters)`.

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
            pooled = conv(
                ops.average_pool(inputs, size, strides=size, padding="same")
            )
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
