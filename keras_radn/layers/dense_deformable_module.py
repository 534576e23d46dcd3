import functools

import keras
from keras import ops

from keras_radn.layers.deformable_conv2d import DeformableConv2D
from keras_radn.ops.geometry import require_integer

# Far beyond any use: at least 256 pixels of the image.
MAX_OFFSET = 64.0


@keras.saving.register_keras_serializable("keras_radn")
class DenseDeformableModule(keras.layers.Layer):
    """Densely connected deformable convolutions, then a 1x1 convolution.

    Each unit is a 3x3 `DeformableConv2D` with ReLU whose output is appended
    to its input. The last 1x1 convolution reduces the channels.

    Args:
        filters: channels of the output.
        units: number of deform units; 6 in the paper.
        growth_rate: channels that each unit adds.
        deformable: `False` puts ordinary 3x3 convolutions in the place of the
            deformable ones (the paper's RADN3 and RADN4).
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch, height, width, filters)`.

    Raises:
        ValueError: if `units` is no integer of at least 0, or `growth_rate`
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
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_integer("units", units, 0)
        require_integer("growth_rate", growth_rate, 1)
        self.filters = filters
        self.units = units
        self.growth_rate = growth_rate
        self.deformable = deformable
        conv = keras.layers.Conv2D
        if deformable:
            conv = functools.partial(DeformableConv2D, max_offset=MAX_OFFSET)
        self.convs = [
            conv(
                growth_rate,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                dtype=self.dtype_policy,
                name=f"unit{i}",
            )
            for i in range(1, units + 1)
        ]
        self.reduction = keras.layers.Conv2D(
            filters, 1, dtype=self.dtype_policy, name="reduction"
        )

    def build(self, input_shape):
        *outer, channels = input_shape
        for conv in self.convs:
            conv.build((*outer, channels))
            channels += self.growth_rate
        self.reduction.build((*outer, channels))

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
        for conv in self.convs:
            offsets.append(conv.estimate_offset(features)[0])
            features = ops.concatenate([features, conv(features)], axis=-1)
        return offsets

    def call(self, inputs):
        features = inputs
        for conv in self.convs:
            features = ops.concatenate([features, conv(features)], axis=-1)
        return self.reduction(features)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "units": self.units,
            "growth_rate": self.growth_rate,
            "deformable": self.deformable,
        }
