import os

import keras
from keras import ops

from keras_radn.models.peer_presets import PSSSRN_PRESETS
from keras_radn.ops.geometry import require_integer
from keras_radn.peers.gray import BatchToColors, ColorsToBatch
from keras_radn.peers.peer_network import ANY_SIZE, ImageShape, PeerNetwork
from keras_radn.peers.resizing import double, reduce
from keras_radn.peers.shared_layers import SharedLayers


@keras.saving.register_keras_serializable("keras_radn")
class PSSSRN(PeerNetwork):
    """Scale-recurrent network with parameter selective sharing.

    As `SRN`, but what extracts features (the first convolutions, strided ones,
    deconvolutions and the last one) has weights of its own at each scale, and
    what transforms them is shared by the scales and by two blocks of each
    stage. Nested skips: a transformation sees the sum of all before it, and so
    a block is a chain of four residual blocks. It sees each color as a gray
    image. Layers are named as the variables of the authors' code.

    Args:
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

    model = peers.PSSSRN()
    ```

    Reference: Gao et al., Dynamic Scene Deblurring with Parameter Selective
    Sharing and Nested Skip Connections, CVPR 2019.
    """

    presets = PSSSRN_PRESETS

    def __init__(
        self,
        width: int = 32,
        image_shape: ImageShape = ANY_SIZE,
        pretrained: str | os.PathLike | None = None,
        dtype=None,
        name: str | None = None,
        trainable: bool = True,
    ):
        require_integer("width", width, 1)

        def network(images, policy):
            x = ColorsToBatch(dtype=images.dtype, name="gray")(images)
            x = _apply_scales(x, width, policy)
            return BatchToColors(dtype=images.dtype, name="color")(x)

        super().__init__(
            network,
            multiple=16,  # a stride of 4 at a quarter of the sides
            architecture={"width": width},
            image_shape=image_shape,
            pretrained=pretrained,
            dtype=dtype,
            name=name,
            trainable=trainable,
        )


def _apply_scales(images, width, policy):
    shared = SharedLayers(3, policy)
    sharp = reduce(images, 4)
    for scale, factor in enumerate((4, 2, 1)):
        blurred = reduce(images, factor)
        if scale > 0:
            sharp = double(sharp)
        x = ops.concatenate([blurred, sharp], axis=-1)
        x = _apply_scale(shared, x, width, scale)
        x = shared.conv(x, 1, f"dec1_0_{scale}", dtype=images.dtype)
        sharp = x + blurred
    return sharp


def _apply_scale(shared, x, width, scale):
    skips = []
    for i in (1, 2, 3):
        x = shared.conv(
            x,
            2 ** (i - 1) * width,
            f"enc{i}_1_{scale}",
            strides=1 if i == 1 else 2,
            activation="relu",
        )
        x = _apply_shared_blocks(shared, x, f"enc{i}_2")
        skips.append(x)
    for i in (3, 2, 1):
        if i < 3:
            x = shared.double(
                x,
                skips[i - 1].shape[-1],
                f"dec{i}_3_{scale}",
                activation="relu",
            )
            x = x + skips[i - 1]
        x = _apply_shared_blocks(shared, x, f"dec{i}_2")
    return x


def _apply_shared_blocks(shared, x, name):
    """Two blocks of four transformations, with the same weights."""
    for _ in range(2):
        for i in (1, 2, 3, 4):
            x = shared.residual_block(x, f"{name}.d{i}")
    return x
