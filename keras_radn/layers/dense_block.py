import itertools

import keras
from keras import ops

from keras_radn.hooks import track_in_checkpoints
from keras_radn.layers.batch_normalization import (
    call_op,
    network_norm,
    norms_of_one_op,
)
from keras_radn.ops import backend
from keras_radn.ops.geometry import require_integer


@keras.saving.register_keras_serializable("keras_radn")
class DenseBlock(keras.layers.Layer):
    """Densely connected units of DenseNet (the bottleneck form, DenseNet-B).

    Each unit is batch norm, ReLU, 1x1 convolution, batch norm, ReLU, 3x3
    convolution; its output is appended to its input.

    Args:
        units: number of units.
        growth_rate: channels that each unit adds.
        bottleneck_filters: filters of the 1x1 convolutions; `None` is
            `4 * growth_rate`, as in the paper.
        momentum: of the moving averages of the batch norms.
        synchronized: whether the norms use the statistics of all replicas of
            a distribution strategy.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch, height, width, channels + units * growth_rate)`.

    Raises:
        ValueError: if `units` is not an integer of at least 0, or `growth_rate`
            none of at least 1.

    Example:

    ```python
    features = keras.random.uniform((1, 30, 40, 16))
    y = keras_radn.layers.DenseBlock(3, 8)(features)  # (1, 30, 40, 40)
    ```

    Reference: section "Dense encoder decoder backbone" of the paper; Huang et
    al., Densely Connected Convolutional Networks, CVPR 2017.
    """

    def __init__(
        self,
        units: int,
        growth_rate: int = 32,
        bottleneck_filters: int | None = None,
        momentum: float = 0.9,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_integer("units", units, 0)
        require_integer("growth_rate", growth_rate, 1)
        self.units = units
        self.growth_rate = growth_rate
        self.bottleneck_filters = bottleneck_filters or 4 * growth_rate
        self.momentum = momentum
        self.synchronized = synchronized
        self.bottleneck_norms = []
        self.bottleneck_convs = []
        self.growth_norms = []
        self.growth_convs = []
        for i in range(1, units + 1):
            self.bottleneck_norms.append(self._norm(f"unit{i}_bottleneck_norm"))
            self.bottleneck_convs.append(
                self._conv(
                    self.bottleneck_filters, 1, f"unit{i}_bottleneck_conv"
                )
            )
            self.growth_norms.append(self._norm(f"unit{i}_growth_norm"))
            self.growth_convs.append(
                self._conv(growth_rate, 3, f"unit{i}_growth_conv")
            )
        track_in_checkpoints(self, itertools.chain(*self._units()))

    def _norm(self, name):
        return network_norm(
            name, self.dtype_policy, self.momentum, self.synchronized
        )

    def _conv(self, filters, kernel_size, name):
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name=name,
        )

    def _units(self):
        return zip(
            self.bottleneck_norms,
            self.bottleneck_convs,
            self.growth_norms,
            self.growth_convs,
            strict=True,
        )

    def build(self, input_shape):
        *outer, channels = input_shape
        for norm1, conv1, norm2, conv2 in self._units():
            norm1.build((*outer, channels))
            conv1.build((*outer, channels))
            norm2.build((*outer, self.bottleneck_filters))
            conv2.build((*outer, self.bottleneck_filters))
            channels += self.growth_rate

    def call(self, inputs, training=None):
        if training and norms_of_one_op(self._norms(), self.compute_dtype):
            return self._training_op(inputs)
        features = inputs
        for norm1, conv1, norm2, conv2 in self._units():
            x = conv1(ops.relu(norm1(features, training=training)))
            x = conv2(ops.relu(norm2(x, training=training)))
            features = ops.concatenate([features, x], axis=-1)
        return features

    def _norms(self):
        """All norms, in the order in which the units have them."""
        pairs = zip(self.bottleneck_norms, self.growth_norms, strict=True)
        return list(itertools.chain(*pairs))

    def _training_op(self, inputs):

        def weights(norm, conv):
            return norm.gamma, norm.beta, conv.kernel

        units = [
            (*weights(norm1, conv1), *weights(norm2, conv2))
            for norm1, conv1, norm2, conv2 in self._units()
        ]
        op = backend.dense_block_training
        return call_op(op, inputs, units, self._norms())

    def compute_output_shape(self, input_shape):
        *outer, channels = input_shape
        return (*outer, channels + self.units * self.growth_rate)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "growth_rate": self.growth_rate,
            "bottleneck_filters": self.bottleneck_filters,
            "momentum": self.momentum,
            "synchronized": self.synchronized,
        }
