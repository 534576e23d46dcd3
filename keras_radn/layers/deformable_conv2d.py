import math

import keras
from keras import ops

from keras_radn.layers.roles import mark_steering
from keras_radn.ops import backend, deformable_conv2d
from keras_radn.ops.geometry import (
    ConvGeometry,
    require_integer,
    standardize_pair,
)
from keras_radn.ops.implementation import IMPLEMENTATIONS


@keras.saving.register_keras_serializable("keras_radn")
class DeformableConv2D(keras.layers.Layer):
    """Convolution that estimates where to sample its input.

    An ordinary convolution of the same geometry (`offset_conv`, zero at the
    start) estimates two offsets per kernel tap and position; the kernel is
    then applied to bilinear samples of the input at the moved positions. With
    zero offsets the layer equals `keras.layers.Conv2D`, so it can take the
    place of one in any network.

    Args:
        filters: channels of the output.
        kernel_size: positive integer or pair.
        strides: positive integer or pair.
        padding: `"same"` or `"valid"`, in any case.
        dilation_rate: positive integer or pair; as in `Conv2D` it goes with
            strides of 1 only.
        groups: number of groups of the convolution.
        offset_groups: number of groups of input channels with offsets of
            their own.
        modulated: whether a mask in [0, 1] per tap and position is estimated
            too (Deformable ConvNets v2).
        max_offset: bound on the offsets in both directions, in pixels of the
            input, so that they cannot explode in training; `None` for none.
        activation: activation function or its name.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernel.
        bias_regularizer: regularizer of the bias.
        activity_regularizer: regularizer of the output.
        kernel_constraint: constraint on the kernel after each step.
        bias_constraint: constraint on the bias after each step.
        implementation: `"auto"`, `"native"` or `"gather"`; see
            `keras_radn.ops.deformable_conv2d`. It may be changed at any time
            before the layer is traced.
        **kwargs: arguments of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`.

    Output shape: `(batch, out_height, out_width, filters)`, as `Conv2D`.

    Raises:
        ValueError: if the groups do not divide the channels or filters, or
            an argument is out of range.

    Example:

    ```python
    features = keras.random.uniform((1, 30, 40, 16))
    layer = keras_radn.layers.DeformableConv2D(8, 3, activation="relu")
    y = layer(features)  # (1, 30, 40, 8)
    ```

    Reference: equation 4 and section "Dense deformable module (DDM)" of the
    paper; Dai et al., Deformable Convolutional Networks, ICCV 2017.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 3,
        strides: int | tuple[int, int] = 1,
        padding: str = "same",
        dilation_rate: int | tuple[int, int] = 1,
        groups: int = 1,
        offset_groups: int = 1,
        modulated: bool = False,
        max_offset: float | None = None,
        activation=None,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        implementation: str = "auto",
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        for name, value in (
            ("filters", filters),
            ("groups", groups),
            ("offset_groups", offset_groups),
        ):
            require_integer(name, value, 1)
        if str(padding).lower() not in ("same", "valid"):
            raise ValueError(
                f'`padding` must be "same" or "valid". Received: {padding!r}'
            )
        self.implementation = implementation
        self.filters = filters
        self.kernel_size = standardize_pair("kernel_size", kernel_size)
        self.strides = standardize_pair("strides", strides)
        self.padding = padding.lower()
        self.dilation_rate = standardize_pair("dilation_rate", dilation_rate)
        self.groups = groups
        self.offset_groups = offset_groups
        self.modulated = modulated
        self.max_offset = max_offset
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        if max_offset is not None and not max_offset > 0:
            raise ValueError(
                f"`max_offset` must be positive. Received: {max_offset!r}"
            )
        if filters % groups:
            raise ValueError(
                f"`groups` must divide `filters`. Received: groups={groups}, "
                f"filters={filters}"
            )
        self._samples = offset_groups * math.prod(self.kernel_size)
        self.offset_conv = keras.layers.Conv2D(
            self._samples * (3 if modulated else 2),
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="offset_conv",
        )

    @property
    def implementation(self) -> str:
        """`"auto"`, `"native"` or `"gather"`."""
        return self._implementation

    @implementation.setter
    def implementation(self, value: str):
        if value not in IMPLEMENTATIONS:
            raise ValueError(
                "`implementation` must be one of "
                f"{IMPLEMENTATIONS}. Received: {value!r}"
            )
        self._implementation = value
        self.supports_jit = backend.supports_jit(value)

    def build(self, input_shape):
        channels = input_shape[-1]
        for name in ("groups", "offset_groups"):
            if channels % getattr(self, name):
                raise ValueError(
                    f"`{name}` must divide the channels of the input. "
                    f"Received: {name}={getattr(self, name)}, "
                    f"input_shape={input_shape}"
                )
        self.offset_conv.build(input_shape)
        mark_steering(self.offset_conv)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels // self.groups, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def estimate_offset(self, inputs):
        """Offset map and mask that the layer uses for `inputs`.

        Args:
            inputs: `(batch, height, width, channels)`.

        Returns:
            A pair: offsets `(batch, out_height, out_width, 2 * offset_groups
            * taps)` in pixels of the input, `(dy, dx)` per tap; and the mask
            `(batch, out_height, out_width, offset_groups * taps)` in [0, 1],
            or `None` if the layer is not modulated.
        """
        if not self.built:
            self.build(inputs.shape)
        offset, mask = self.offset_conv(inputs), None
        if self.modulated:
            offset, mask = ops.split(offset, [2 * self._samples], axis=-1)
            mask = ops.sigmoid(mask)
        if self.max_offset is not None:
            offset = ops.clip(offset, -self.max_offset, self.max_offset)
        return offset, mask

    def call(self, inputs):
        offset, mask = self.estimate_offset(inputs)
        outputs = deformable_conv2d(
            inputs,
            self.kernel,
            offset,
            mask,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            offset_groups=self.offset_groups,
            implementation=self.implementation,
        )
        if self.use_bias:
            outputs = outputs + ops.cast(self.bias, outputs.dtype)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape):
        geometry = ConvGeometry(
            self.kernel_size, self.strides, self.padding, self.dilation_rate
        )
        return (
            input_shape[0],
            *geometry.output_size(input_shape[1:3]),
            self.filters,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
            "offset_groups": self.offset_groups,
            "modulated": self.modulated,
            "max_offset": self.max_offset,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            "bias_regularizer": keras.regularizers.serialize(
                self.bias_regularizer
            ),
            "activity_regularizer": keras.regularizers.serialize(
                self.activity_regularizer
            ),
            "kernel_constraint": keras.constraints.serialize(
                self.kernel_constraint
            ),
            "bias_constraint": keras.constraints.serialize(
                self.bias_constraint
            ),
            "implementation": self.implementation,
        }
