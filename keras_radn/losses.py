"""Loss of the default recipe."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_radn")
class Charbonnier(keras.losses.Loss):
    """A smooth form of the mean absolute error: `sqrt(error**2 + eps**2)`.

    Images are expected in [0, 1]. The paper does not name its loss.

    Args:
        epsilon: where the loss turns from quadratic to linear, in image
            units.
        reduction: see `keras.losses.Loss`.
        name: name of the loss.

    Example:

    ```python
    model = keras_radn.RADN()
    model.compile("adam", loss=keras_radn.losses.Charbonnier(epsilon=1e-2))
    ```

    Reference: Lai et al., Deep Laplacian Pyramid Networks for Fast and
    Accurate Super-Resolution, CVPR 2017.
    """

    def __init__(
        self,
        epsilon: float = 1e-3,
        reduction: str = "sum_over_batch_size",
        name: str = "charbonnier",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        error = ops.square(y_true - y_pred) + self.epsilon**2
        return ops.mean(ops.sqrt(error), axis=-1)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
