import keras
from keras import ops

from keras_radn.ops.geometry import require_integer


@keras.saving.register_keras_serializable("keras_radn")
class SpaceToDepth(keras.layers.Layer):
    """Moves blocks of pixels into the channels.

    The channel order is TensorFlow's: row of the block, column of the block,
    input channel.

    Args:
        block_size: side of the blocks in pixels, at least 2.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`; `height` and `width` are
    multiples of `block_size`.

    Output shape: `(batch, height / block_size, width / block_size,
    block_size**2 * channels)`.

    Raises:
        ValueError: if `block_size` is not an integer of at least 2 or does not
            divide a known height or width.

    Example:

    ```python
    features = keras.random.uniform((1, 30, 40, 16))
    y = keras_radn.layers.SpaceToDepth(2)(features)  # (1, 15, 20, 64)
    ```

    Reference: section "Dense encoder decoder backbone" of the paper.
    """

    def __init__(self, block_size: int = 2, **kwargs):
        super().__init__(**kwargs)
        require_integer("block_size", block_size, 2)
        self.block_size = block_size

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)  # checks what is known
        return ops.space_to_depth(inputs, self.block_size)

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        if any(s is not None and s % self.block_size for s in sides):
            raise ValueError(
                "Height and width must be multiples of the block size "
                f"{self.block_size}. Received: input_shape={input_shape}"
            )
        sides = [s if s is None else s // self.block_size for s in sides]
        return (batch, *sides, channels * self.block_size**2)

    def get_config(self):
        return {**super().get_config(), "block_size": self.block_size}
