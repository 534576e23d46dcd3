import keras
from keras import ops

from keras_radn.layers.batch_normalization import (
    call_op,
    network_norm,
    norms_of_one_op,
)
from keras_radn.ops import backend


@keras.saving.register_keras_serializable("keras_radn")
class Transition(keras.layers.Layer):
    """DenseNet's transition without its pooling: batch norm, ReLU, 1x1.

    The pooling is a layer of its own in RADN, since the decoder reads the
    features before it.

    Args:
        filters: channels of the output.
        momentum: of the moving averages of the batch norm.
        synchronized: whether the norm uses the statistics of all replicas of
            a distribution strategy.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch, height, width, filters)`.

    Example:

    ```python
    features = keras.random.uniform((1, 30, 40, 16))
    y = keras_radn.layers.Transition(8)(features)  # (1, 30, 40, 8)
    ```

    Reference: section "Dense encoder decoder backbone" of the paper.
    """

    def __init__(
        self,
        filters: int,
        momentum: float = 0.9,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.momentum = momentum
        self.synchronized = synchronized
        self.norm = network_norm(
            "norm", self.dtype_policy, momentum, synchronized
        )
        self.conv = keras.layers.Conv2D(
            filters,
            1,
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name="conv",
        )

    def build(self, input_shape):
        self.norm.build(input_shape)
        self.conv.build(input_shape)

    def call(self, inputs, training=None):
        if training and norms_of_one_op([self.norm], self.compute_dtype):
            weights = self.conv.kernel, self.norm.gamma, self.norm.beta
            op = backend.convolution_training
            norm_first = True
            return call_op(op, inputs, [weights], [self.norm], norm_first)
        return self.conv(ops.relu(self.norm(inputs, training=training)))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "momentum": self.momentum,
            "synchronized": self.synchronized,
        }
