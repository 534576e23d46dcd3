import os

import keras
import tensorflow as tf
from keras import layers

from keras_radn.layers import (
    ContextAggregation,
    DenseBlock,
    DenseDeformableModule,
    PadToMultiple,
    SelfAttention,
    SpaceToDepth,
    Transition,
)
from keras_radn.layers.batch_normalization import BatchNormalization
from keras_radn.models.deblurring_model import (
    DeblurringModel,
    apply_reconstruction,
    check_image_shape,
    check_length,
    image_dtype,
)
from keras_radn.models.densenet_transfer import load_densenet121
from keras_radn.models.packaged_weights import load_pretrained
from keras_radn.models.presets import RADN_PRESETS

# ImageNet statistics of RGB in [0, 1], as DenseNet-121 was trained.
MEAN = (0.485, 0.456, 0.406)
VARIANCE = (0.229**2, 0.224**2, 0.225**2)

# Of all batch norms: that of DenseNet in keras.applications.
EPSILON = 1.001e-5

DECODER_BLOCKS = ("deformable", "dense", "bottleneck")


@keras.saving.register_keras_serializable("keras_radn")
class RADN(DeblurringModel):
    """Region-Adaptive Dense Network for motion deblurring.

    A DenseNet encoder, self-attention at its end, and a decoder of three
    dense deformable modules with deconvolutions and skip connections; the
    output is the input plus the network's residual. The default arguments
    are the paper's RADN(Final).

    Args:
        decoder_block: `"deformable"` (dense deformable modules), `"dense"`
            (the same modules with ordinary 3x3 convolutions) or
            `"bottleneck"` (one DenseNet unit of the same output width).
        attention: whether the self-attention module is there.
        stem_pool: whether DenseNet's 3x3 max pooling follows the stem. Without
            it all later features have twice the side (the literal reading of
            the paper) and the network costs about four times as much.
        encoder_weights: start of the encoder: `None` (random), `"imagenet"`
            (downloaded by `keras.applications`) or the path of a weights file
            of `keras.applications.DenseNet121`.
        pretrained: `True` loads the deblurring weights that come with the
            package, a path or an address those of a file (`weights.npz` of a
            training); see `keras_radn.models.packaged_weights`. Excludes
            `encoder_weights`.
        encoder_units: units of the three dense blocks.
        growth_rate: growth rate of the dense blocks.
        stem_filters: filters of the stem convolution.
        transition_filters: filters of the three transitions.
        decoder_filters: filters of the four decoder stages.
        deform_units: units of each dense deformable module.
        deform_growth_rate: growth rate of the dense deformable modules.
        image_shape: `(height, width, 3)`; `None` where any size is accepted.
        dtype: dtype or dtype policy of the computation; images stay float32
            in half precision.
        name: of the model.
        trainable: whether the weights are trained.

    Raises:
        ValueError: for an unknown `decoder_block`, an argument of another
            length, an `image_shape` that is none, weights that do not fit, or
            `pretrained=True` for a variant without packaged weights.
        FileNotFoundError: if `encoder_weights` names no file.

    Example:

    ```python
    model = keras_radn.RADN(pretrained=True)
    sharp = model.predict(blurred)  # (batch, height, width, 3) in [0, 1]
    ```

    Reference: Purohit and Rajagopalan, Region-Adaptive Dense Network for
    Efficient Motion Deblurring, AAAI 2020.
    """

    presets = RADN_PRESETS

    def __init__(
        self,
        decoder_block: str = "deformable",
        attention: bool = True,
        stem_pool: bool = True,
        encoder_weights: str | None = None,
        pretrained: bool | str | os.PathLike = False,
        encoder_units: tuple[int, int, int] = (12, 16, 24),
        growth_rate: int = 32,
        stem_filters: int = 64,
        transition_filters: tuple[int, int, int] = (128, 256, 512),
        decoder_filters: tuple[int, int, int, int] = (128, 64, 64, 16),
        deform_units: int = 6,
        deform_growth_rate: int = 32,
        image_shape: tuple[int | None, int | None, int] = (None, None, 3),
        dtype=None,
        name: str | None = None,
        trainable: bool = True,
    ):
        if decoder_block not in DECODER_BLOCKS:
            raise ValueError(
                f"`decoder_block` must be one of {DECODER_BLOCKS}. "
                f"Received: {decoder_block!r}"
            )
        check_length("encoder_units", encoder_units, 3)
        check_length("transition_filters", transition_filters, 3)
        check_length("decoder_filters", decoder_filters, 4)
        check_image_shape(image_shape)
        # An empty path is a mistake, not a network without weights.
        load = pretrained not in (None, False)
        if load and encoder_weights is not None:
            raise ValueError(
                "`pretrained` already sets the encoder. Received: "
                f"encoder_weights={encoder_weights!r}; leave it out."
            )
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        # === Functional Model ===
        images = keras.Input(
            image_shape, name="images", dtype=image_dtype(policy)
        )
        x = PadToMultiple(
            16 if stem_pool else 8, dtype=image_dtype(policy), name="pad"
        )(images)
        x = layers.Normalization(
            mean=MEAN,
            variance=VARIANCE,
            dtype=image_dtype(policy),
            name="normalize",
        )(x)
        # A strategy's replicas share the statistics of their joint batch.
        strategy = tf.distribute.get_strategy()
        synchronized = strategy.num_replicas_in_sync > 1
        x, skips = apply_encoder(
            x,
            units=encoder_units,
            growth_rate=growth_rate,
            stem_filters=stem_filters,
            transition_filters=transition_filters,
            stem_pool=stem_pool,
            synchronized=synchronized,
            dtype=policy,
        )
        if attention:
            x = SelfAttention(dtype=policy, name="attention")(x)
        for i, skip in enumerate(("transition2", "transition1", "stem"), 1):
            x = apply_decoder_block(
                x,
                decoder_block,
                decoder_filters[i - 1],
                units=deform_units,
                growth_rate=deform_growth_rate,
                synchronized=synchronized,
                dtype=policy,
                name=f"decoder_block{i}",
            )
            if skip != "stem" or stem_pool:
                x = apply_deconvolution(
                    x, decoder_filters[i - 1], policy, f"decoder_up{i}"
                )
            x = layers.Concatenate(dtype=policy, name=f"decoder_concat{i}")(
                [x, skips[skip]]
            )
        x = apply_deconvolution(x, decoder_filters[3], policy, "decoder_up4")
        x = ContextAggregation(dtype=policy, name="context")(x)
        outputs = apply_reconstruction(x, images)
        super().__init__(images, outputs, name=name, trainable=trainable)

        # === Config ===
        self.dtype_policy = policy
        self.decoder_block = decoder_block
        self.attention = attention
        self.stem_pool = stem_pool
        self.encoder_units = tuple(encoder_units)
        self.growth_rate = growth_rate
        self.stem_filters = stem_filters
        self.transition_filters = tuple(transition_filters)
        self.decoder_filters = tuple(decoder_filters)
        self.deform_units = deform_units
        self.deform_growth_rate = deform_growth_rate
        self.image_shape = tuple(image_shape)

        if encoder_weights is not None:
            load_densenet121(self, encoder_weights)
        if load:
            load_pretrained(self, pretrained)

    def architecture(self) -> dict:
        """The arguments that fix the shapes of all weights."""
        return {
            "decoder_block": self.decoder_block,
            "attention": self.attention,
            "stem_pool": self.stem_pool,
            "encoder_units": self.encoder_units,
            "growth_rate": self.growth_rate,
            "stem_filters": self.stem_filters,
            "transition_filters": self.transition_filters,
            "decoder_filters": self.decoder_filters,
            "deform_units": self.deform_units,
            "deform_growth_rate": self.deform_growth_rate,
        }


def apply_encoder(
    x,
    units,
    growth_rate,
    stem_filters,
    transition_filters,
    stem_pool,
    synchronized,
    dtype,
):
    """DenseNet-121's first layers on a space-to-depth image.

    Returns:
        The encoder's output, and a dictionary of the features that the
        decoder reads: `"stem"`, `"transition1"` and `"transition2"`.
    """
    skips = {}
    x = SpaceToDepth(2, dtype=dtype, name="space_to_depth")(x)
    # DenseNet's 7x7 convolution with stride 2, exactly (see
    # `densenet_transfer.fold_stem_kernel`).
    x = layers.ZeroPadding2D(((2, 1), (2, 1)), dtype=dtype, name="stem_pad")(x)
    x = layers.Conv2D(
        stem_filters,
        4,
        use_bias=False,
        kernel_initializer="he_normal",
        dtype=dtype,
        name="stem_conv",
    )(x)
    x = BatchNormalization(
        momentum=0.9,
        epsilon=EPSILON,
        synchronized=synchronized,
        dtype=dtype,
        name="stem_norm",
    )(x)
    x = skips["stem"] = layers.ReLU(dtype=dtype, name="stem_relu")(x)
    if stem_pool:
        x = layers.ZeroPadding2D(1, dtype=dtype, name="stem_pool_pad")(x)
        x = layers.MaxPooling2D(3, 2, dtype=dtype, name="stem_pool")(x)
    for i, (count, filters) in enumerate(
        zip(units, transition_filters, strict=True), start=1
    ):
        x = DenseBlock(
            count,
            growth_rate,
            synchronized=synchronized,
            dtype=dtype,
            name=f"encoder_block{i}",
        )(x)
        x = Transition(
            filters,
            synchronized=synchronized,
            dtype=dtype,
            name=f"encoder_transition{i}",
        )(x)
        if i < len(units):
            skips[f"transition{i}"] = x
            x = layers.AveragePooling2D(
                2, dtype=dtype, name=f"encoder_pool{i}"
            )(x)
    return x, skips


def apply_decoder_block(
    x, kind, filters, units, growth_rate, synchronized, dtype, name
):
    """A dense deformable module or what stands in its place."""
    if kind != "bottleneck":
        return DenseDeformableModule(
            filters,
            units,
            growth_rate,
            deformable=kind == "deformable",
            dtype=dtype,
            name=name,
        )(x)
    # One unit as wide as all units of a module, so that all else is equal.
    x = DenseBlock(
        1,
        units * growth_rate,
        bottleneck_filters=4 * growth_rate,
        synchronized=synchronized,
        dtype=dtype,
        name=name,
    )(x)
    return layers.Conv2D(filters, 1, dtype=dtype, name=f"{name}_reduction")(x)


def apply_deconvolution(x, filters, dtype, name):
    """Doubles height and width; the kernel is a multiple of the stride."""
    return layers.Conv2DTranspose(
        filters,
        4,
        strides=2,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        dtype=dtype,
        name=name,
    )(x)
