import os

import keras
from keras import ops

from keras_radn.models.peer_presets import SRN_PRESETS
from keras_radn.ops.geometry import require_integer
from keras_radn.peers.gray import BatchToColors, ColorsToBatch
from keras_radn.peers.peer_network import ANY_SIZE, ImageShape, PeerNetwork
from keras_radn.peers.resizing import double, reduce
from keras_radn.peers.shared_layers import SharedLayers


@keras.saving.register_keras_serializable("keras_radn")
class SRN(PeerNetwork):
    """Scale-recurrent network.

    One encoder-decoder sees the image at a quarter, a half and all of its
    sides, each time beside its own answer at the scale before; a ConvLSTM at
    the bottleneck remembers its features. Layers are named as the variables of
    the authors' code.

    Args:
        recurrent: whether the ConvLSTM is there.
        color: whether the network sees the colors together, or each as a gray
            image.
        width: filters at full resolution; twice and four times as many at a
            half and a quarter.
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

    model = peers.SRN()
    ```

    Reference: Tao et al., Scale-recurrent Network for Deep Image Deblurring,
    CVPR 2018.
    """

    presets = SRN_PRESETS

    def __init__(
        self,
        recurrent: bool = True,
        color: bool = True,
        width: int = 32,
        image_shape: ImageShape = ANY_SIZE,
        pretrained: str | os.PathLike | None = None,
        dtype=None,
        name: str | None = None,
        trainable: bool = True,
    ):
        require_integer("width", width, 1)

        def network(images, policy):
            if color:
                return _apply_scales(images, recurrent, width, policy)
            x = ColorsToBatch(dtype=images.dtype, name="gray")(images)
            x = _apply_scales(x, recurrent, width, policy)
            return BatchToColors(dtype=images.dtype, name="color")(x)

        super().__init__(
            network,
            multiple=16,  # a stride of 4 at a quarter of the sides
            architecture={
                "recurrent": recurrent,
                "color": color,
                "width": width,
            },
            image_shape=image_shape,
            pretrained=pretrained,
            dtype=dtype,
            name=name,
            trainable=trainable,
        )


def _apply_scales(images, recurrent, width, policy):
    shared = SharedLayers(5, policy)
    sharp, state = reduce(images, 4), None
    for factor in (4, 2, 1):
        if factor < 4:
            sharp = double(sharp)
            state = state and tuple(map(double, state))
        x = ops.concatenate([reduce(images, factor), sharp], axis=-1)
        x, skips = _apply_encoder(shared, x, width)
        if recurrent:
            state = _apply_lstm(shared, x, state)
            x = state[1]
        x = _apply_decoder(shared, x, skips)
        sharp = shared.conv(x, images.shape[-1], "dec1_0", dtype=images.dtype)
    return sharp


def _apply_encoder(shared, x, width):
    skips = []
    for i in (1, 2, 3):
        x = shared.conv(
            x,
            2 ** (i - 1) * width,
            f"enc{i}_1",
            strides=1 if i == 1 else 2,
            activation="relu",
        )
        for j in (2, 3, 4):
            x = shared.residual_block(x, f"enc{i}_{j}")
        skips.append(x)
    return x, skips[:2]


def _apply_lstm(shared, x, state):
    """Cell and output of a convolutional LSTM; its state is `None` at first."""
    filters = x.shape[-1]
    cell, hidden = (None, ops.zeros_like(x)) if state is None else state
    gates = shared.conv(
        ops.concatenate([x, hidden], axis=-1),
        4 * filters,
        "convLSTM.LSTM_conv",
        kernel_size=3,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=1e-3),
    )
    admit, update, keep, show = ops.split(gates, 4, axis=-1)
    update = ops.sigmoid(admit) * ops.tanh(update)
    if cell is not None:
        # A bias of 1: a new cell keeps what it has.
        update = update + cell * ops.sigmoid(keep + 1)
    return update, ops.tanh(update) * ops.sigmoid(show)


def _apply_decoder(shared, x, skips):
    for i in (3, 2, 1):
        if i < 3:
            filters = skips[i - 1].shape[-1]
            x = shared.double(x, filters, f"dec{i}_4", activation="relu")
            x = x + skips[i - 1]
        for j in (3, 2, 1):
            x = shared.residual_block(x, f"dec{i}_{j}")
    return x
