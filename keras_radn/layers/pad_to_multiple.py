import keras
from keras import ops

from keras_radn.ops.geometry import require_integer


@keras.saving.register_keras_serializable("keras_radn")
class PadToMultiple(keras.layers.Layer):
    """Pads images at the bottom and right to a multiple of a size.

    The padding mirrors the image without repeating its border, as often as
    needed; a side of one pixel is repeated. So every height and width from 1
    up is accepted.

    Args:
        multiple: positive integer.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`.

    Output shape: the same with height and width rounded up to a multiple.

    Raises:
        ValueError: if `multiple` is not an integer of at least 1.

    Example:

    ```python
    images = keras.random.uniform((1, 30, 41, 3))
    padded = keras_radn.layers.PadToMultiple(8)(images)  # (1, 32, 48, 3)
    ```
    """

    def __init__(self, multiple: int, **kwargs):
        super().__init__(**kwargs)
        require_integer("multiple", multiple, 1)
        self.multiple = multiple

    def call(self, inputs):
        outputs = inputs
        for axis in (1, 2):
            size = ops.shape(inputs)[axis]
            if isinstance(size, int) and size % self.multiple == 0:
                continue
            # Positive numbers only: tf2onnx's integer division truncates.
            count = (size + self.multiple - 1) // self.multiple
            padded = count * self.multiple
            last = size - 1
            # Reflection is periodic: 0 .. last .. 0 .. last ..
            phase = ops.arange(padded) % ops.maximum(2 * last, 1)
            index = last - ops.abs(phase - last)
            outputs = ops.take(outputs, index, axis=axis)
        return outputs

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        sides = [
            s if s is None else -(-s // self.multiple) * self.multiple
            for s in sides
        ]
        return (batch, *sides, channels)

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}
