import keras
from keras import ops

from keras_radn.ops import backend


@keras.saving.register_keras_serializable("keras_radn")
class CropLike(keras.layers.Layer):
    """Crops a tensor at the bottom and right to the size of a reference.

    Undoes `PadToMultiple`.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.

    Input: a list `[tensor, reference]` of shapes
    `(batch, padded_height, padded_width, channels)` and
    `(batch, height, width, any)`.

    Output shape: `(batch, height, width, channels)`.

    Example:

    ```python
    images = keras.random.uniform((1, 30, 41, 3))
    padded = keras_radn.layers.PadToMultiple(8)(images)  # (1, 32, 48, 3)
    y = keras_radn.layers.CropLike()([padded, images])  # (1, 30, 41, 3)
    ```
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        tensor, reference = inputs
        _, height, width, _ = ops.shape(reference)
        return backend.with_shape(
            tensor[:, :height, :width, :],
            self.compute_output_shape([tensor.shape, reference.shape]),
        )

    def compute_output_shape(self, input_shape):
        tensor, reference = input_shape
        return (tensor[0], *reference[1:3], tensor[3])

    def compute_output_spec(self, inputs):
        tensor, reference = inputs
        return keras.KerasTensor(
            self.compute_output_shape([tensor.shape, reference.shape]),
            dtype=tensor.dtype,
        )
