import os

import keras
from keras import layers

from keras_radn.models.peer_presets import DMPHN_PRESETS
from keras_radn.ops.geometry import require_integer
from keras_radn.peers.patches import CutPatches, JoinPatches
from keras_radn.peers.peer_network import ANY_SIZE, ImageShape, PeerNetwork

# Rows and columns of patches at each level (section 3.1).
_GRIDS = ((1, 1), (2, 1), (2, 2), (4, 2))


@keras.saving.register_keras_serializable("keras_radn")
class DMPHN(PeerNetwork):
    """Deep multi-patch hierarchical network.

    Level 4 sees eighths of the image, level 3 quarters, level 2 halves and
    level 1 all of it. Each level has an encoder and a decoder of its own; its
    decoder's answer is added to the next level's image, its features to those
    of the next level. Layers are named by file and entry of the authors'
    weights.

    Args:
        levels: of the hierarchy, 1 to 4; 3 is the authors' DMPHN(1-2-4), 4
            DMPHN(1-2-4-8).
        stack: how many of these networks follow each other, as in
            Stack(4)-DMPHN; each sees the answer of the one before and adds its
            features (section 3.3).
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

    model = peers.DMPHN(levels=3, stack=4)
    ```

    Reference: Zhang et al., Deep Stacked Hierarchical Multi-patch Network for
    Image Deblurring, CVPR 2019.
    """

    presets = DMPHN_PRESETS

    def __init__(
        self,
        levels: int = 4,
        stack: int = 1,
        width: int = 32,
        image_shape: ImageShape = ANY_SIZE,
        pretrained: str | os.PathLike | None = None,
        dtype=None,
        name: str | None = None,
        trainable: bool = True,
    ):
        require_integer("levels", levels, 1)
        if levels > len(_GRIDS):
            raise ValueError(
                f"`levels` must be at most {len(_GRIDS)}. Received: {levels}"
            )
        require_integer("stack", stack, 1)
        require_integer("width", width, 1)
        super().__init__(
            lambda images, policy: _apply_stack(
                images, levels, stack, width, policy
            ),
            # Each patch has to be a multiple of the encoders' stride of 4.
            multiple=4 * _GRIDS[levels - 1][0],
            architecture={"levels": levels, "stack": stack, "width": width},
            image_shape=image_shape,
            pretrained=pretrained,
            dtype=dtype,
            name=name,
            trainable=trainable,
        )


def _apply_stack(images, levels, stack, width, policy):
    sharp = images - 0.5
    features, first = [None] * levels, None
    for number in range(1, stack + 1):
        # The authors' files are named so.
        tag = f"s{number}_" if stack > 1 else ""
        sharp, features = _apply_hierarchy(
            sharp, features, first, width, policy, tag
        )
        first = sharp if first is None else first
    return sharp + 0.5


def _apply_hierarchy(images, previous, first, width, policy, tag):
    """One network of the stack.

    Args:
        images: about 0.
        previous: features of each level of the network before, or `None`.
        first: what the first network of the stack answered, or `None`.
        width: filters at full resolution.
        policy: dtype policy of the features.
        tag: of the network, in the names of the layers.

    Returns:
        The sharp images about 0, and the features of each level.
    """
    features = [None] * len(previous)
    residual = coarser = None
    for level in reversed(range(len(previous))):
        suffix = f"{tag}lv{level + 1}"
        grid, larger = _GRIDS[level], _GRIDS[max(level - 1, 0)]
        x = images
        if grid != (1, 1):
            x = CutPatches(grid, dtype=x.dtype, name=f"cut_{suffix}")(x)
        if residual is not None:
            x = x + residual
        x = _apply_encoder(x, width, policy, f"encoder_{suffix}")
        x = _join(x, grid, larger, f"join_{suffix}")
        for other in (coarser, previous[level]):
            if other is not None:
                x = x + other
        features[level] = x
        residual = _apply_decoder(
            x, width, policy, images.dtype, f"decoder_{suffix}"
        )
        # By the authors' code, from the second network of a stack on.
        if level == 1 and first is not None:
            residual = residual + first
        largest = _GRIDS[max(level - 2, 0)]
        coarser = _join(x, larger, largest, f"coarser_{suffix}")
    return residual, features


def _join(x, grid, joined, name):
    if grid == joined:
        return x
    return JoinPatches(grid, joined, dtype=x.dtype, name=name)(x)


def _apply_encoder(x, width, policy, name):
    x = _conv(width, policy, f"{name}.layer1")(x)
    for i, filters in ((2, width), (6, 2 * width), (10, 4 * width)):
        if i > 2:
            # As PyTorch pads; Keras's "same" would pad after the image.
            x = layers.ZeroPadding2D(
                ((1, 0), (1, 0)), dtype=policy, name=f"{name}.pad{i - 1}"
            )(x)
            x = _conv(
                filters,
                policy,
                f"{name}.layer{i - 1}",
                strides=2,
                padding="valid",
            )(x)
        for j in (i, i + 1):
            x = _apply_residual_block(x, policy, f"{name}.layer{j}")
    return x


def _apply_decoder(x, width, policy, image_dtype, name):
    for i, filters in ((13, 2 * width), (17, width), (21, None)):
        for j in (i, i + 1):
            x = _apply_residual_block(x, policy, f"{name}.layer{j}")
        if filters is not None:
            x = layers.Conv2DTranspose(
                filters,
                4,
                strides=2,
                padding="same",
                # Keras counts what goes in as what comes out.
                kernel_initializer=_initializer("fan_in"),
                dtype=policy,
                name=f"{name}.layer{i + 3}",
            )(x)
    return _conv(3, image_dtype, f"{name}.layer24")(x)


def _apply_residual_block(x, policy, name):
    filters = x.shape[-1]
    y = _conv(filters, policy, f"{name}.0", activation="relu")(x)
    y = _conv(filters, policy, f"{name}.2")(y)
    return layers.Add(dtype=policy, name=f"{name}.add")([x, y])


def _conv(filters, dtype, name, padding="same", **kwargs):
    return layers.Conv2D(
        filters,
        3,
        padding=padding,
        kernel_initializer=_initializer("fan_out"),
        dtype=dtype,
        name=name,
        **kwargs,
    )


def _initializer(mode):
    """A quarter of He's variance, as in the authors' code."""
    return keras.initializers.VarianceScaling(0.5, mode, "untruncated_normal")
