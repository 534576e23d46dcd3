import os

import keras
import numpy as np
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
from keras_radn.layers.batch_normalization import network_norm
from keras_radn.layers.conv2d_transpose import Conv2DTranspose
from keras_radn.models.deblurring_model import (
    DeblurringModel,
    apply_reconstruction,
    check_image_shape,
    check_length,
    image_dtype,
)
from keras_radn.models.densenet_transfer import load_densenet121
from keras_radn.models.packaged_weights import load_pretrained
from keras_radn.models.presets import DEFAULT_PRESET, FINAL, RADN_PRESETS
from keras_radn.ops import backend

# ImageNet statistics of RGB in [0, 1], as DenseNet-121 was trained.
MEAN = (0.485, 0.456, 0.406)
VARIANCE = (0.229**2, 0.224**2, 0.225**2)

DECODER_BLOCKS = ("deformable", "dense", "bottleneck")


@keras.saving.register_keras_serializable("keras_radn")
class RADN(DeblurringModel):
    """Region-Adaptive Dense Network for motion deblurring.

    A DenseNet encoder, self-attention at its end, and a decoder of three
    dense deformable modules with deconvolutions and skip connections; the
    output is the input plus the network's residual.

    What is not given of the architecture (the arguments from `decoder_block`
    to `deform_growth_rate`) is that of the paper's RADN(Final), or, with
    `pretrained=True`, that of the default preset.

    Args:
        decoder_block: `"deformable"` (dense deformable modules), `"dense"`
            (the same modules with ordinary 3x3 convolutions) or
            `"bottleneck"` (one DenseNet unit of the same output width).
        attention: whether the self-attention module is there.
        attention_pool: by how much the attention pools its keys and values;
            1 is equation 6 of the paper as it stands.
        attention_window: side of the windows to which it is limited in images
            that are larger than the patches trained on, in positions of 8
            pixels (16 with `stem_pool`); 0, as in the paper, for no limit.
            See `keras_radn.layers.SelfAttention`.
        stem_pool: whether DenseNet's 3x3 max pooling follows the stem. The
            paper does not name it. With it all later features have half the
            side, and the network costs about a quarter.
        encoder_units: units of the three dense blocks.
        growth_rate: growth rate of the dense blocks.
        stem_filters: filters of the stem convolution.
        transition_filters: filters of the three transitions.
        decoder_filters: filters of the four decoder stages.
        deform_units: units of each dense deformable module.
        deform_growth_rate: growth rate of the dense deformable modules.
        encoder_weights: start of the encoder: `None` (random), `"imagenet"`
            (downloaded by `keras.applications`) or the path of a weights file
            of `keras.applications.DenseNet121`.
        pretrained: `True` loads the deblurring weights that come with the
            package, a path or an address those of a file (`weights.npz` of a
            training); see `keras_radn.models.packaged_weights`. Excludes
            `encoder_weights`.
        image_shape: `(height, width, 3)`; `None` where any size is accepted.
        dtype: dtype or dtype policy of the computation; images stay float32
            in half precision.
        name: of the model.
        trainable: whether the weights are trained.

    Raises:
        ValueError: for an unknown `decoder_block`, an argument of another
            length, an `image_shape` of another form, weights that do not fit,
            or `pretrained=True` for a variant without packaged weights.
        FileNotFoundError: if `encoder_weights` or `pretrained` names no file.

    Example:

    ```python
    model = keras_radn.RADN(pretrained=True)
    sharp = model.predict(blurred).clip(0, 1)  # (batch, height, width, 3)
    ```

    Reference: Purohit and Rajagopalan, Region-Adaptive Dense Network for
    Efficient Motion Deblurring, AAAI 2020.
    """

    presets = RADN_PRESETS
    defaults = FINAL

    def __init__(
        self,
        decoder_block: str | None = None,
        attention: bool | None = None,
        attention_pool: int | None = None,
        attention_window: int | None = None,
        stem_pool: bool | None = None,
        encoder_units: tuple[int, int, int] | None = None,
        growth_rate: int | None = None,
        stem_filters: int | None = None,
        transition_filters: tuple[int, int, int] | None = None,
        decoder_filters: tuple[int, int, int, int] | None = None,
        deform_units: int | None = None,
        deform_growth_rate: int | None = None,
        encoder_weights: str | None = None,
        pretrained: bool | str | os.PathLike = False,
        image_shape: tuple[int | None, int | None, int] = (None, None, 3),
        dtype=None,
        name: str | None = None,
        trainable: bool = True,
    ):
        given = {
            "decoder_block": decoder_block,
            "attention": attention,
            "attention_pool": attention_pool,
            "attention_window": attention_window,
            "stem_pool": stem_pool,
            "encoder_units": encoder_units,
            "growth_rate": growth_rate,
            "stem_filters": stem_filters,
            "transition_filters": transition_filters,
            "decoder_filters": decoder_filters,
            "deform_units": deform_units,
            "deform_growth_rate": deform_growth_rate,
        }
        architecture = complete(given, packaged=pretrained is True)
        check_image_shape(image_shape)
        load = loads_pretrained(pretrained, encoder_weights)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        # === Functional Model ===
        images = keras.Input(
            image_shape, name="images", dtype=image_dtype(policy)
        )
        x = apply_normalization(
            images, 16 if architecture["stem_pool"] else 8, image_dtype(policy)
        )
        # A strategy's replicas share the statistics of their joint batch.
        synchronized = backend.replicas() > 1
        x, skips = apply_encoder(
            x,
            units=architecture["encoder_units"],
            growth_rate=architecture["growth_rate"],
            stem_filters=architecture["stem_filters"],
            transition_filters=architecture["transition_filters"],
            stem_pool=architecture["stem_pool"],
            synchronized=synchronized,
            dtype=policy,
        )
        if architecture["attention"]:
            x = SelfAttention(
                pool_size=architecture["attention_pool"],
                window_size=architecture["attention_window"],
                dtype=policy,
                name="attention",
            )(x)
        x = apply_decoder(x, skips, architecture, synchronized, policy)
        x = ContextAggregation(dtype=policy, name="context")(x)
        outputs = apply_reconstruction(x, images)
        super().__init__(images, outputs, name=name, trainable=trainable)

        # === Config ===
        self.dtype_policy = policy
        self.image_shape = tuple(image_shape)
        for part, value in architecture.items():
            setattr(self, part, value)

        if encoder_weights is not None:
            load_densenet121(self, encoder_weights)
        if load:
            load_pretrained(self, pretrained)

    def architecture(self) -> dict:
        """The arguments that fix the shapes of all weights."""
        return {name: getattr(self, name) for name in FINAL}


def complete(given: dict, packaged: bool = False) -> dict:
    """An architecture with what is not given of it.

    Args:
        given: arguments of `RADN`; those that are `None` are not given.
        packaged: whether the rest is that of the default preset, not that of
            the paper's Final.

    Raises:
        ValueError: for an unknown `decoder_block`, or an argument of another
            length.
    """
    preset = RADN_PRESETS[DEFAULT_PRESET]["config"] if packaged else {}
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
    architecture = {**FINAL, **preset, **given}
    if architecture["decoder_block"] not in DECODER_BLOCKS:
        raise ValueError(
            f"`decoder_block` must be one of {DECODER_BLOCKS}. "
            f"Received: {architecture['decoder_block']!r}"
        )
    check_length("encoder_units", architecture["encoder_units"], 3)
    check_length("transition_filters", architecture["transition_filters"], 3)
    check_length("decoder_filters", architecture["decoder_filters"], 4)
    return architecture


def loads_pretrained(
    pretrained: bool | str | os.PathLike | None, encoder_weights: str | None
) -> bool:
    """Whether `pretrained` names weights.

    Raises:
        ValueError: if it does beside `encoder_weights`.
    """
    # An empty path is a mistake, not a network without weights.
    load = pretrained not in (None, False)
    if load and encoder_weights is not None:
        raise ValueError(
            "`pretrained` already sets the encoder. Received: "
            f"encoder_weights={encoder_weights!r}; leave it out."
        )
    return load


def apply_normalization(images, multiple, dtype):
    """Images padded to a multiple, in units of ImageNet's deviations."""
    x = PadToMultiple(multiple, dtype=dtype, name="pad")(images)
    # Not Normalization: Keras's ONNX export makes inputs of its constants.
    deviation = np.sqrt(VARIANCE)
    return layers.Rescaling(
        (1 / deviation).tolist(),
        (-np.array(MEAN) / deviation).tolist(),
        dtype=dtype,
        name="normalize",
    )(x)


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
    x = skips["stem"] = apply_norm_relu(x, synchronized, dtype, "stem")
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


def apply_decoder(x, skips, architecture, synchronized, dtype):
    """Three decoder blocks with the skips, and the last deconvolution."""
    filters = architecture["decoder_filters"]
    for i, skip in enumerate(("transition2", "transition1", "stem"), 1):
        x = apply_decoder_block(
            x,
            architecture["decoder_block"],
            filters[i - 1],
            units=architecture["deform_units"],
            growth_rate=architecture["deform_growth_rate"],
            synchronized=synchronized,
            dtype=dtype,
            name=f"decoder_block{i}",
        )
        if skip != "stem" or architecture["stem_pool"]:
            x = apply_deconvolution(
                x, filters[i - 1], synchronized, dtype, f"decoder_up{i}"
            )
        x = layers.Concatenate(dtype=dtype, name=f"decoder_concat{i}")(
            [x, skips[skip]]
        )
    return apply_deconvolution(
        x, filters[3], synchronized, dtype, "decoder_up4"
    )


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
            synchronized=synchronized,
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
    x = layers.Conv2D(
        filters,
        1,
        use_bias=False,
        kernel_initializer="he_normal",
        dtype=dtype,
        name=f"{name}_reduction",
    )(x)
    return apply_norm_relu(x, synchronized, dtype, f"{name}_reduction")


def apply_deconvolution(x, filters, synchronized, dtype, name):
    """Doubles height and width; the kernel is a multiple of the stride."""
    x = Conv2DTranspose(
        filters,
        4,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        dtype=dtype,
        name=name,
    )(x)
    return apply_norm_relu(x, synchronized, dtype, name)


def apply_norm_relu(x, synchronized, dtype, name):
    """Batch norm and ReLU of the layer `name`."""
    x = network_norm(f"{name}_norm", dtype, synchronized=synchronized)(x)
    return layers.ReLU(dtype=dtype, name=f"{name}_relu")(x)
