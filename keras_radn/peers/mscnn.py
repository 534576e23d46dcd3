import os

import keras
from keras import layers, ops

from keras_radn.models.peer_presets import MSCNN_PRESETS
from keras_radn.ops.geometry import require_integer
from keras_radn.peers.peer_network import ANY_SIZE, ImageShape, PeerNetwork

_SCALES = 3


@keras.saving.register_keras_serializable("keras_radn")
class MSCNN(PeerNetwork):
    """Deep multi-scale convolutional network.

    A residual network without strides restores the image at a quarter, a half
    and all of its sides; each but the first sees the answer of the one before,
    enlarged by a convolution and a rearrangement of its channels.

    Args:
        width: filters of all convolutions.
        blocks: residual blocks per scale; with 19 it has 40 convolutions.
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

    model = peers.MSCNN()
    ```

    Reference: Nah et al., Deep Multi-scale Convolutional Neural Network for
    Dynamic Scene Deblurring, CVPR 2017.
    """

    presets = MSCNN_PRESETS

    def __init__(
        self,
        width: int = 64,
        blocks: int = 19,
        image_shape: ImageShape = ANY_SIZE,
        pretrained: str | os.PathLike | None = None,
        dtype=None,
        name: str | None = None,
        trainable: bool = True,
    ):
        require_integer("width", width, 1)
        require_integer("blocks", blocks, 0)
        super().__init__(
            lambda images, policy: _apply_scales(images, width, blocks, policy),
            multiple=2 ** (_SCALES - 1),
            architecture={"width": width, "blocks": blocks},
            image_shape=image_shape,
            pretrained=pretrained,
            dtype=dtype,
            name=name,
            trainable=trainable,
        )


def _apply_scales(images, width, blocks, policy):
    pyramid = [images - 0.5]
    for _ in range(_SCALES - 1):
        pool = layers.AveragePooling2D(2, dtype=images.dtype)
        pyramid.append(pool(pyramid[-1]))
    x = pyramid.pop()
    for scale in range(_SCALES, 0, -1):
        name = f"scale{scale}"
        sharp = _apply_resnet(x, width, blocks, policy, images.dtype, name)
        if pyramid:
            up = _conv(12, images.dtype, f"{name}.up")(sharp)
            up = ops.depth_to_space(up, 2)
            x = ops.concatenate([pyramid.pop(), up], axis=-1)
    return sharp + 0.5


def _apply_resnet(x, width, blocks, policy, image_dtype, name):
    x = _conv(width, policy, f"{name}.first")(x)
    for i in range(1, blocks + 1):
        y = _conv(width, policy, f"{name}.block{i}.conv1", "relu")(x)
        y = _conv(width, policy, f"{name}.block{i}.conv2")(y)
        x = layers.Add(dtype=policy, name=f"{name}.block{i}.add")([x, y])
    return _conv(3, image_dtype, f"{name}.last")(x)


def _conv(filters, dtype, name, activation=None):
    return layers.Conv2D(
        filters,
        5,
        padding="same",
        activation=activation,
        dtype=dtype,
        name=name,
    )
