import functools

import keras
from keras import layers

from keras_radn.layers import (
    DeformableConv2D,
    PadToMultiple,
    SelfAttention,
)
from keras_radn.layers.dense_deformable_module import MAX_OFFSET
from keras_radn.models.deblurring_model import (
    DeblurringModel,
    apply_reconstruction,
    check_image_shape,
    check_length,
    image_dtype,
)
from keras_radn.models.presets import RESIDUAL_BASELINE_PRESETS
from keras_radn.ops.geometry import require_integer

_TRUNK_LAYERS = 6


@keras.saving.register_keras_serializable("keras_radn")
class ResidualBaseline(DeblurringModel):
    """The residual encoder-decoder of the paper's Table 2.

    SRN's design (three residual blocks per stage, strided convolutions and
    deconvolutions, additive skips) with 3x3 filters only and without its
    recurrence. The trunk is the decoder's first three residual blocks, at a
    quarter of the resolution: six 3x3 convolutions, of which some can be
    deformable. The self-attention module, if any, stands before the trunk.

    Args:
        deformable_layers: how many trunk convolutions are deformable; 0, 3
            (the second of each block) and 6 in the paper.
        attention: whether the self-attention module is there.
        filters: filters of the three resolutions.
        blocks: residual blocks per stage other than the trunk.
        image_shape: `(height, width, 3)`; `None` where any size is accepted.
        dtype: dtype or dtype policy of the computation; images stay float32
            in half precision.
        name: of the model.
        trainable: whether the weights are trained.

    Raises:
        ValueError: if `deformable_layers` is not 0, 3 or 6, `filters` has
            another length or `image_shape` another form.

    Example:

    ```python
    model = keras_radn.ResidualBaseline(deformable_layers=6, attention=True)
    ```

    Reference: section "Analysis on a baseline deblurring network" and Table 2
    of the paper; Tao et al., Scale-recurrent Network, CVPR 2018.
    """

    presets = RESIDUAL_BASELINE_PRESETS

    def __init__(
        self,
        deformable_layers: int = 0,
        attention: bool = False,
        filters: tuple[int, int, int] = (32, 64, 128),
        blocks: int = 3,
        image_shape: tuple[int | None, int | None, int] = (None, None, 3),
        dtype=None,
        name: str | None = None,
        trainable: bool = True,
    ):
        if deformable_layers not in (0, _TRUNK_LAYERS // 2, _TRUNK_LAYERS):
            raise ValueError(
                "`deformable_layers` must be 0, 3 or 6. "
                f"Received: {deformable_layers!r}"
            )
        check_length("filters", filters, 3)
        require_integer("blocks", blocks, 0)
        check_image_shape(image_shape)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        # === Functional Model ===
        images = keras.Input(
            image_shape, name="images", dtype=image_dtype(policy)
        )
        x = PadToMultiple(4, dtype=image_dtype(policy), name="pad")(images)
        x, skips = apply_encoder(x, filters, blocks, policy)
        if attention:
            x = SelfAttention(dtype=policy, name="attention")(x)
        for j in range(1, _TRUNK_LAYERS // 2 + 1):
            x = apply_residual_block(
                x,
                policy,
                f"trunk_block{j}",
                deformable=(
                    deformable_layers == _TRUNK_LAYERS,
                    deformable_layers > 0,
                ),
            )
        for i in (2, 1):
            x = layers.Conv2DTranspose(
                filters[i - 1],
                3,
                strides=2,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                dtype=policy,
                name=f"decoder{i}_up",
            )(x)
            x = layers.Add(dtype=policy, name=f"decoder{i}_skip")(
                [x, skips[i - 1]]
            )
            for j in range(1, blocks + 1):
                x = apply_residual_block(x, policy, f"decoder{i}_block{j}")
        outputs = apply_reconstruction(x, images)
        super().__init__(images, outputs, name=name, trainable=trainable)

        # === Config ===
        self.dtype_policy = policy
        self.deformable_layers = deformable_layers
        self.attention = attention
        self.filters = tuple(filters)
        self.blocks = blocks
        self.image_shape = tuple(image_shape)

    def architecture(self) -> dict:
        """The arguments that fix the shapes of all weights."""
        return {
            "deformable_layers": self.deformable_layers,
            "attention": self.attention,
            "filters": self.filters,
            "blocks": self.blocks,
        }


def apply_encoder(x, filters, blocks, dtype):
    """Three stages of residual blocks, each at half the sides of the last.

    Returns:
        The output, and that of every stage.
    """
    skips = []
    for i, width in enumerate(filters, start=1):
        x = layers.Conv2D(
            width,
            3,
            strides=1 if i == 1 else 2,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            dtype=dtype,
            name=f"encoder{i}_conv",
        )(x)
        for j in range(1, blocks + 1):
            x = apply_residual_block(x, dtype, f"encoder{i}_block{j}")
        skips.append(x)
    return x, skips


def apply_residual_block(x, dtype, name, deformable=(False, False)):
    """Two 3x3 convolutions, ReLU between them, and the identity.

    The second one starts small, so that the features of many blocks do not grow
    from block to block.
    """
    shortcut = x
    he_normal = keras.initializers.HeNormal()
    small = keras.initializers.VarianceScaling(0.02, "fan_in")
    for i, (is_deformable, activation, initializer) in enumerate(
        zip(deformable, ("relu", None), (he_normal, small), strict=True),
        start=1,
    ):
        conv = layers.Conv2D
        if is_deformable:
            conv = functools.partial(DeformableConv2D, max_offset=MAX_OFFSET)
        x = conv(
            shortcut.shape[-1],
            3,
            padding="same",
            activation=activation,
            kernel_initializer=initializer,
            dtype=dtype,
            name=f"{name}_conv{i}",
        )(x)
    return layers.Add(dtype=dtype, name=f"{name}_add")([shortcut, x])
