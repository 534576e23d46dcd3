import functools

import keras
from keras import ops

from keras_radn.hooks import track_in_checkpoints
from keras_radn.layers.batch_normalization import (
    call_op,
    network_norm,
    norms_of_one_op,
)
from keras_radn.layers.deformable_conv2d import DeformableConv2D
from keras_radn.ops import backend, tracing
from keras_radn.ops.geometry import require_integer

# Far beyond any use: at least 256 pixels of the image.
MAX_OFFSET = 64.0


@keras.saving.register_keras_serializable("keras_radn")
class DenseDeformableModule(keras.layers.Layer):
    """Densely connected deformable convolutions, then a 1x1 convolution.

    Each unit is a 3x3 `DeformableConv2D`, batch norm and ReLU, whose output is
    appended to its input. A 1x1 convolution, batch norm and ReLU then reduce
    the channels. The paper names no norms; without them filters that are
    zero everywhere become common and the module has to learn slowly.

    Args:
        filters: channels of the output.
        units: number of deform units; 6 in the paper.
        growth_rate: channels that each unit adds.
        deformable: `False` puts ordinary 3x3 convolutions in the place of the
            deformable ones (the paper's RADN3 and RADN4).
        momentum: of the moving averages of the batch norms.
        synchronized: whether the norms use the statistics of all replicas of
            a distribution strategy.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch, height, width, filters)`.

    Raises:
        ValueError: if `units` is not an integer of at least 0, or `growth_rate`
            none of at least 1.

    Example:

    ```python
    features = keras.random.uniform((1, 30, 40, 16))
    layer = keras_radn.layers.DenseDeformableModule(8, units=2, growth_rate=4)
    y = layer(features)  # (1, 30, 40, 8)
    ```

    Reference: section "Dense deformable module (DDM)" and figure 3 of the
    paper.
    """

    def __init__(
        self,
        filters: int,
        units: int = 6,
        growth_rate: int = 32,
        deformable: bool = True,
        momentum: float = 0.9,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_integer("units", units, 0)
        require_integer("growth_rate", growth_rate, 1)
        self.filters = filters
        self.units = units
        self.growth_rate = growth_rate
        self.deformable = deformable
        self.momentum = momentum
        self.synchronized = synchronized
        conv = keras.layers.Conv2D
        if deformable:
            conv = functools.partial(DeformableConv2D, max_offset=MAX_OFFSET)
        self.convs = [
            conv(
                growth_rate,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                dtype=self.dtype_policy,
                name=f"unit{i}",
            )
            for i in range(1, units + 1)
        ]
        self.norms = [self._norm(f"unit{i}_norm") for i in range(1, units + 1)]
        self.reduction = keras.layers.Conv2D(
            filters,
            1,
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name="reduction",
        )
        self.reduction_norm = self._norm("reduction_norm")
        track_in_checkpoints(self, [*self.convs, *self.norms])

    def _norm(self, name):
        return network_norm(
            name, self.dtype_policy, self.momentum, self.synchronized
        )

    def build(self, input_shape):
        *outer, channels = input_shape
        for conv, norm in zip(self.convs, self.norms, strict=True):
            conv.build((*outer, channels))
            norm.build((*outer, self.growth_rate))
            channels += self.growth_rate
        self.reduction.build((*outer, channels))
        self.reduction_norm.build((*outer, self.filters))

    def offsets(self, inputs):
        """Offsets that the units use for `inputs`.

        Args:
            inputs: `(batch, height, width, channels)`.

        Returns:
            For each unit a tensor `(batch, height, width, 18)`: `(dy, dx)` per
            kernel tap in pixels of the features, as
            `DeformableConv2D.estimate_offset` gives it.

        Raises:
            ValueError: if the convolutions are ordinary ones.
        """
        if not self.deformable:
            raise ValueError(
                f"The module {self.name!r} has no offsets: it was made with "
                "`deformable=False`."
            )
        if not self.built:
            self.build(inputs.shape)
        offsets, features = [], inputs
        for conv, norm in zip(self.convs, self.norms, strict=True):
            offsets.append(conv.estimate_offset(features)[0])
            x = ops.relu(norm(conv(features)))
            features = ops.concatenate([features, x], axis=-1)
        return offsets

    def call(self, inputs, training=None):
        if training and self._has_training_op():
            features = self._training_op(inputs)
        else:
            features = inputs
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = ops.relu(norm(conv(features), training=training))
                features = ops.concatenate([features, x], axis=-1)
        norm = self.reduction_norm
        if training and norms_of_one_op([norm], self.compute_dtype):
            weights = self.reduction.kernel, norm.gamma, norm.beta
            op = backend.convolution_training
            return call_op(op, features, [weights], [norm])
        return ops.relu(norm(self.reduction(features), training=training))

    def _has_training_op(self):
        return (
            self.deformable
            and tracing.current().convolution is None
            and all(conv.implementation == "auto" for conv in self.convs)
            and norms_of_one_op(self.norms, self.compute_dtype)
        )

    def _training_op(self, inputs):
        units = [
            (
                conv.offset_conv.kernel,
                conv.offset_conv.bias,
                conv.kernel,
                norm.gamma,
                norm.beta,
            )
            for conv, norm in zip(self.convs, self.norms, strict=True)
        ]
        op = backend.deform_units_training
        return call_op(op, inputs, units, self.norms, MAX_OFFSET)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "units": self.units,
            "growth_rate": self.growth_rate,
            "deformable": self.deformable,
            "momentum": self.momentum,
            "synchronized": self.synchronized,
        }
