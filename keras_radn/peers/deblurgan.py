import os

import keras
from keras import layers, ops

from keras_radn.models.peer_presets import DEBLURGAN_PRESETS
from keras_radn.ops.geometry import require_integer
from keras_radn.peers.peer_network import ANY_SIZE, ImageShape, PeerNetwork


@keras.saving.register_keras_serializable("keras_radn")
class DeblurGANGenerator(PeerNetwork):
    """Generator of DeblurGAN: a ResNet at a quarter of the sides.

    Instance norms after the convolutions, reflected borders, and a global skip
    to which a hyperbolic tangent is added. The critic and the perceptual loss
    of the paper's training are not here: `fit` trains it by one loss on the
    pixels. Layers are named as the entries of the authors' weights.

    Args:
        width: filters at full resolution; four times as many in the blocks.
        blocks: residual blocks.
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

    model = peers.DeblurGANGenerator()
    ```

    Reference: Kupyn et al., DeblurGAN: Blind Motion Deblurring Using
    Conditional Adversarial Networks, arXiv:1711.07064.
    """

    presets = DEBLURGAN_PRESETS

    def __init__(
        self,
        width: int = 64,
        blocks: int = 9,
        image_shape: ImageShape = ANY_SIZE,
        pretrained: str | os.PathLike | None = None,
        dtype=None,
        name: str | None = None,
        trainable: bool = True,
    ):
        require_integer("width", width, 1)
        require_integer("blocks", blocks, 0)
        super().__init__(
            lambda images, policy: _apply_generator(
                images, width, blocks, policy
            ),
            # At a quarter there must be two pixels, to reflect one.
            multiple=8,
            architecture={"width": width, "blocks": blocks},
            image_shape=image_shape,
            pretrained=pretrained,
            dtype=dtype,
            name=name,
            trainable=trainable,
        )


def _apply_generator(images, width, blocks, policy):
    x = _conv(width, 7, policy, "model.1")(_reflect(2 * images - 1, 3))
    x = _normalized(x, policy)
    for i, filters in ((4, 2 * width), (7, 4 * width)):
        # As PyTorch pads; Keras's "same" would pad after the image.
        x = layers.ZeroPadding2D(((1, 0), (1, 0)), dtype=policy)(x)
        x = _conv(filters, 3, policy, f"model.{i}", strides=2)(x)
        x = _normalized(x, policy)
    for i in range(10, 10 + blocks):
        x = _apply_block(x, policy, f"model.{i}.conv_block")
    # One block is one entry of the authors' list, what follows it three.
    for i, filters in ((10 + blocks, 2 * width), (13 + blocks, width)):
        x = layers.Conv2DTranspose(
            filters, 3, strides=2, dtype=policy, name=f"model.{i}"
        )(x)
        x = layers.Cropping2D(((1, 0), (1, 0)), dtype=policy)(x)
        x = _normalized(x, policy)
    last = f"model.{17 + blocks}"
    x = _conv(3, 7, images.dtype, last)(_reflect(x, 3))
    # In [-1, 1] the hyperbolic tangent is added as it is.
    return images + ops.tanh(x) / 2


def _apply_block(x, policy, name):
    filters = x.shape[-1]
    y = _conv(filters, 3, policy, f"{name}.1")(_reflect(x, 1))
    y = layers.Dropout(0.5, dtype=policy)(_normalized(y, policy))
    y = _conv(filters, 3, policy, f"{name}.6")(_reflect(y, 1))
    return x + _normalized(y, policy, activation=None)


def _conv(filters, kernel_size, dtype, name, **kwargs):
    return layers.Conv2D(
        filters,
        kernel_size,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
        dtype=dtype,
        name=name,
        **kwargs,
    )


def _normalized(x, policy, activation="relu"):
    norm = layers.GroupNormalization(
        groups=-1, epsilon=1e-5, center=False, scale=False, dtype=policy
    )
    return layers.Activation(activation, dtype=policy)(norm(x))


def _reflect(x, size):
    return ops.pad(x, ((0, 0), (size, size), (size, size), (0, 0)), "reflect")
