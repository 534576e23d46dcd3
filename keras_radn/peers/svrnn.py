import os

import keras
from keras import layers, ops

from keras_radn.models.peer_presets import SVRNN_PRESETS
from keras_radn.ops.geometry import require_integer
from keras_radn.peers.peer_network import ANY_SIZE, ImageShape, PeerNetwork
from keras_radn.peers.resizing import double

_RECURRENCES = 4
# Right, left, down and up: axis, and whether it starts at the end.
_DIRECTIONS = ((2, False), (2, True), (1, False), (1, True))
# Place of their gates among the four of a recurrence, by the authors' network.
_GATES = (0, 2, 1, 3)


@keras.saving.register_keras_serializable("keras_radn")
class SVRNN(PeerNetwork):
    """Spatially variant recurrent network.

    Four times, recurrences in four directions filter the features of the
    image, as deconvolution would, with gates that a second network estimates
    at each position. Layers are named as in the authors' network.

    Args:
        width: filters of the first convolution, a half of those of the
            recurrences; all others grow with it.
        image_shape: `(height, width, 3)`; `None` where any size is accepted.
        pretrained: path or address of a weights file, or `None`.
        dtype: dtype or dtype policy of the computation; images stay float32
            in half precision.
        name: of the model.
        trainable: whether the weights are trained.

    Raises:
        ValueError: if an argument is not as above.
        FileNotFoundError: if there is no such weights file.

    Example:

    ```python
    from keras_radn import peers

    model = peers.SVRNN()
    ```

    Reference: Zhang et al., Dynamic Scene Deblurring Using Spatially Variant
    Recurrent Neural Networks, CVPR 2018.
    """

    presets = SVRNN_PRESETS

    def __init__(
        self,
        width: int = 16,
        image_shape: ImageShape = ANY_SIZE,
        pretrained: str | os.PathLike | None = None,
        dtype=None,
        name: str | None = None,
        trainable: bool = True,
    ):
        require_integer("width", width, 1)
        super().__init__(
            lambda images, policy: _apply_network(images, width, policy),
            multiple=8,
            architecture={"width": width},
            image_shape=image_shape,
            pretrained=pretrained,
            dtype=dtype,
            name=name,
            trainable=trainable,
        )


@keras.saving.register_keras_serializable("keras_radn")
class GatedRecurrence(keras.layers.Layer):
    """A first-order recurrence along one side of an image.

    `h[i] = (1 - g[i]) x[i] + g[i] h[i - 1]`, with zero before the first.

    Args:
        axis: 1 for a recurrence down the image, 2 for one to the right.
        reverse: whether it starts at the other end.
        **kwargs: arguments of `keras.layers.Layer`.

    Input: a list `[features, gates]`, both `(batch, height, width, channels)`;
    gates are in (-1, 1).

    Output shape: that of the features.

    Reference: section 3.1 of Zhang et al., CVPR 2018.
    """

    def __init__(self, axis: int, reverse: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.axis, self.reverse = axis, reverse

    def call(self, inputs):
        features, gates = (ops.moveaxis(x, self.axis, 0) for x in inputs)
        # As one tensor: over several of unknown length Keras 3.15 fails.
        both = ops.concatenate([features, gates], axis=-1)

        def step(state, current):
            new, gate = ops.split(current, 2, axis=-1)
            state = new + gate * (state - new)
            return state, state

        _, outputs = ops.scan(
            step, ops.zeros_like(features[0]), both, reverse=self.reverse
        )
        return ops.moveaxis(outputs, 0, self.axis)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {
            **super().get_config(),
            "axis": self.axis,
            "reverse": self.reverse,
        }


def _apply_network(images, width, policy):
    first = _conv(images, width, 11, policy, "conve1_1", "leaky")
    # As Caffe pads; Keras's "same" would pad more after the image.
    x = layers.ZeroPadding2D(((3, 2), (3, 2)), dtype=policy)(first)
    encoded = layers.Conv2D(
        2 * width, 7, strides=2, dtype=policy, name="conve1_2"
    )(x)
    gates = _apply_gate_network(images, width, policy)
    gates = ops.split(gates, _RECURRENCES * len(_DIRECTIONS), axis=-1)
    x = encoded
    for i in range(_RECURRENCES):
        parts = [
            GatedRecurrence(
                axis, reverse, dtype=policy, name=f"rnn{i + 1}_{j + 1}"
            )([x, gates[4 * i + _GATES[j]]])
            for j, (axis, reverse) in enumerate(_DIRECTIONS)
        ]
        x = ops.concatenate(parts, axis=-1)
        x = _conv(x, 2 * width, 3, policy, f"conv_rnn{i + 1}", "leaky")
    x = ops.concatenate([encoded, x], axis=-1)
    x = _conv(x, width, 9, policy, "convd1_1", "leaky")
    x = ops.concatenate([first, double(x)], axis=-1)
    return _conv(x, 3, 5, images.dtype, "convd1_2")


def _apply_gate_network(images, width, policy):
    """Gates of all recurrences, at half the resolution."""
    x, skips = images, []
    for stage, factors in enumerate(
        ((4, 4), (8, 8), (16, 16, 16), (32, 32, 16)), start=1
    ):
        if stage > 1:
            x = layers.MaxPooling2D(2, dtype=policy)(x)
        for i, factor in enumerate(factors, start=1):
            name = f"convg{stage}_{i}"
            x = _conv(x, factor * width, 3, policy, name, "relu")
            if i == 2:
                skips.append(x)
    x = ops.concatenate([skips[2], double(x)], axis=-1)
    x = _conv(x, 8 * width, 3, policy, "convgd1", "relu")
    x = _conv(x, 8 * width, 3, policy, "convgd1_2", "relu")
    x = ops.concatenate([skips[1], double(x)], axis=-1)
    x = _conv(x, 16 * width, 3, policy, "convgd2", "relu")
    return _conv(x, 32 * width, 3, policy, "convgd2_2", "tanh")


def _conv(x, filters, kernel_size, dtype, name, activation=None):
    x = layers.Conv2D(
        filters, kernel_size, padding="same", dtype=dtype, name=name
    )(x)
    if activation == "leaky":
        return layers.LeakyReLU(0.1, dtype=dtype)(x)
    return layers.Activation(activation, dtype=dtype)(x)
