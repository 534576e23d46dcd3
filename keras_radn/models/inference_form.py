"""RADN as a graph for inference: fewer operations, the same function."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_radn.layers import PadToMultiple
from keras_radn.layers.context_aggregation import POOL_SIZES, window_averages
from keras_radn.layers.dense_deformable_module import MAX_OFFSET
from keras_radn.layers.self_attention import attend
from keras_radn.models.deblurring_model import variables_by_path
from keras_radn.models.packaged_weights import read_preset
from keras_radn.models.radn import EPSILON, MEAN, RADN, VARIANCE
from keras_radn.ops import deformable_conv2d, fused, library

DTYPES = ("float32", "bfloat16")
CPUINFO = "/proc/cpuinfo"


def inference_model(
    model: RADN | str, dtype: str | None = None
) -> "InferenceModel":
    """A fast form of a network, for inference only.

    Args:
        model: a `RADN`, whose weights are copied, or the name of a preset with
            packaged weights (`"radn_final"`, `"lite"`). From a name no Keras
            model is built, which saves most of the time until the first
            picture.
        dtype: what is computed in: `"float32"`, `"bfloat16"`, `"auto"` (see
            `fast_dtype`) or `None`, the compute dtype of the model, float32
            for a preset.

    Returns:
        A function of images; see `InferenceModel`.

    Raises:
        ValueError: if the model is no RADN, the preset has no weights or the
            dtype is none of these.

    Example:

    ```python
    deblur = keras_radn.inference_model("radn_final", dtype="bfloat16")
    sharp = deblur(blurred)  # (batch, height, width, 3) in [0, 1]
    ```
    """
    if isinstance(model, str):
        architecture, weights = read_preset(RADN, model)
        dtype = dtype or "float32"
    elif isinstance(model, RADN):
        architecture = model.architecture()
        weights = {
            path: variable.numpy()
            for path, variable in variables_by_path(model).items()
        }
        dtype = dtype or model.compute_dtype
    else:
        raise ValueError(
            "There is an inference form of RADN only. Received: "
            f"{type(model).__name__}"
        )
    return InferenceModel(architecture, weights, dtype)


def fast_dtype() -> str:
    """The faster of the two dtypes on this machine.

    Returns:
        `"bfloat16"` on a processor that multiplies it natively (AVX-512 BF16 or
        AMX; read from Linux's `/proc/cpuinfo`) if there is no GPU, else
        `"float32"`.
    """
    if tf.config.list_physical_devices("GPU"):
        return "float32"
    try:
        with open(CPUINFO) as lines:
            flags = next((x for x in lines if x.startswith("flags")), "")
    except OSError:
        return "float32"
    native = {"avx512_bf16", "amx_bf16"} & set(flags.split())
    return "bfloat16" if native else "float32"


class InferenceModel:
    """A network's function of images, as a graph for inference only.

    It has neither variables nor gradients. Against the Keras model:

    - batch norms that follow a convolution are folded into it; the others are
      one operation with the ReLU and the concatenation before them;
    - what a feature map adds to the offsets of all later units of a dense
      deformable module is one convolution;
    - between convolutions everything stays in `dtype`.

    The result is the Keras model's, but for rounding.

    Args:
        architecture: as `RADN.architecture` returns it.
        weights: arrays by the paths of the Keras model's variables.
        dtype: `"float32"`, `"bfloat16"` or `"auto"`.

    Call: images `(batch, height, width, 3)`, float32 in [0, 1], of any height
    and width from 1 up; the output has the same shape and dtype.

    Raises:
        ValueError: for another dtype, and for images of another shape.
    """

    def __init__(
        self,
        architecture: Mapping,
        weights: Mapping[str, np.ndarray],
        dtype: str = "float32",
    ):
        dtype = fast_dtype() if dtype == "auto" else dtype
        if dtype not in DTYPES:
            raise ValueError(
                f'`dtype` must be one of {DTYPES} or "auto". '
                f"Received: {dtype!r}"
            )
        self.dtype = dtype
        self._graph = _Graph(dict(architecture), weights, dtype)
        self._run = self._trace([None, None, None, 3])

    def _trace(self, shape):
        images = tf.TensorSpec(shape, "float32", "images")
        function = tf.function(self._graph.deblur, [images], autograph=False)
        return function.get_concrete_function()

    def graph(self, height: int, width: int) -> tf.Graph:
        """The operations for one image, for tools that count them.

        Args:
            height: of the image in pixels.
            width: of the image in pixels.

        Returns:
            A graph without loops: the attention is not done in chunks.
        """
        self._graph.in_chunks = False
        try:
            return self._trace([1, height, width, 3]).graph
        finally:
            self._graph.in_chunks = True

    def __call__(self, images) -> tf.Tensor:
        images = tf.convert_to_tensor(images, "float32")
        if images.shape.rank != 4 or images.shape[-1] != 3:
            raise ValueError(
                "Images must have the shape (batch, height, width, 3). "
                f"Received: {images.shape}"
            )
        return self._run(images)


class _Graph:
    """Builds the graph; its methods take and return lists or tensors."""

    def __init__(self, architecture, weights, dtype):
        self.architecture = architecture
        self.weights = weights
        self.dtype = dtype
        self.in_chunks = True
        # The compiled ops of `fused` have no kernels for GPUs.
        self.native = library.choose("auto") == "native" and not (
            tf.config.list_physical_devices("GPU")
        )

    def deblur(self, images):
        stem_pool = self.architecture["stem_pool"]
        padded = PadToMultiple(16 if stem_pool else 8).call(images)
        x, skips = self.encode(padded)
        if self.architecture["attention"]:
            x = self.attention(x)
        block = self.bottleneck_block
        if self.architecture["decoder_block"] != "bottleneck":
            block = self.dense_module
        for i, skip in enumerate(skips, start=1):
            x = block(x, f"decoder_block{i}")
            if i < len(skips) or stem_pool:
                x = self.deconvolution(x, f"decoder_up{i}")
            x = tf.concat([x, skip], axis=-1)
        x = self.deconvolution(x, "decoder_up4")
        return self.reconstruct(x, images)

    # Weights

    def array(self, name):
        return np.asarray(self.weights[name], "float64")

    def constant(self, array, dtype=None):
        # In the graph, not an input of it: oneDNN then keeps the kernels in
        # the order that it wants them.
        return tf.constant(array, dtype or self.dtype)

    def norm(self, name):
        """Scale and offset of a batch norm."""
        gamma, beta, mean, variance = (
            self.array(f"{name}/{part}")
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + EPSILON)
        return scale, beta - mean * scale

    # Layers

    def conv(self, x, kernel, bias=None, relu=False, padding="SAME"):
        x = tf.nn.conv2d(x, self.constant(kernel), 1, padding)
        if bias is not None:
            x = tf.nn.bias_add(x, self.constant(bias))
        return tf.nn.relu(x) if relu else x

    def conv_layer(self, x, name, relu=False):
        kernel, bias = self.array(f"{name}/kernel"), self.array(f"{name}/bias")
        return self.conv(x, kernel, bias, relu)

    def affine_relu(self, inputs, scale, offset):
        return fused.concat_affine_relu(
            inputs,
            self.constant(scale, "float32"),
            self.constant(offset, "float32"),
            self.native,
        )

    def bias_relu(self, x, name):
        bias = self.array(f"{name}/bias")
        return self.affine_relu([x], np.ones_like(bias), bias)

    def deconvolution(self, x, name):
        kernel = self.array(f"{name}/kernel")
        shape = tf.shape(x)
        shape = [shape[0], 2 * shape[1], 2 * shape[2], kernel.shape[2]]
        x = tf.nn.conv2d_transpose(x, self.constant(kernel), shape, 2)
        return self.bias_relu(x, name)

    # Encoder

    def encode(self, images):
        """The encoder's output and the skips, in the decoder's order."""
        x = tf.cast(images - self.constant(MEAN, "float32"), self.dtype)
        x = tf.nn.space_to_depth(x, 2)
        scale, offset = self.norm("stem_norm")
        deviation = np.tile(np.sqrt(VARIANCE), 4)[:, np.newaxis]
        x = self.conv(
            x,
            self.array("stem_conv/kernel") / deviation * scale,
            offset,
            relu=True,
            padding=[[0, 0], [2, 1], [2, 1], [0, 0]],
        )
        skips = [x]
        if self.architecture["stem_pool"]:
            # The features are positive, so that zeros pad as well as -inf.
            x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
            x = tf.nn.max_pool2d(x, 3, 2, "VALID")
        for i, units in enumerate(self.architecture["encoder_units"], start=1):
            features = self.dense_block([x], units, f"encoder_block{i}")
            name = f"encoder_transition{i}"
            x = self.affine_relu(features, *self.norm(f"{name}/norm"))
            x = self.conv(x, self.array(f"{name}/conv/kernel"))
            if i < 3:
                skips.insert(0, x)
                x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
        return x, skips

    def dense_block(self, features, units, name):
        """Returns the parts of what `DenseBlock` concatenates."""
        for i in range(1, units + 1):
            unit = f"{name}/unit{i}"
            x = self.affine_relu(
                features, *self.norm(f"{unit}_bottleneck_norm")
            )
            scale, offset = self.norm(f"{unit}_growth_norm")
            kernel = self.array(f"{unit}_bottleneck_conv/kernel") * scale
            x = self.conv(x, kernel, offset, relu=True)
            x = self.conv(x, self.array(f"{unit}_growth_conv/kernel"))
            features = [*features, x]
        return features

    def attention(self, x):
        keys, queries, values = (
            self.conv_layer(x, f"attention/{name}") for name in "bcd"
        )
        return x + attend(queries, keys, values, self.in_chunks)

    # Decoder

    def bottleneck_block(self, x, name):
        x = tf.concat(self.dense_block([x], 1, name), axis=-1)
        return self.conv_layer(x, f"{name}_reduction")

    def dense_module(self, x, name):
        if self.architecture["decoder_block"] == "deformable":
            grown = self.deform_units(x, name)
        else:
            grown = [x]
            for i in range(1, self.architecture["deform_units"] + 1):
                features = tf.concat(grown, axis=-1)
                y = self.conv_layer(features, f"{name}/unit{i}", relu=True)
                grown.append(y)
        features = tf.concat(grown, axis=-1)
        return self.conv_layer(features, f"{name}/reduction")

    def deform_units(self, x, name):
        """Returns the parts of what the reduction sees.

        What a part adds to the offsets of all later units is one convolution,
        as soon as the part is there: convolutions of few filters are slow, and
        an offset alone would need all parts in one tensor once more.
        """
        units = [
            f"{name}/unit{i}"
            for i in range(1, self.architecture["deform_units"] + 1)
        ]
        kernels = [self.array(f"{u}/offset_conv/kernel") for u in units]
        biases = [self.array(f"{u}/offset_conv/bias") for u in units]
        width = x.shape[-1]
        grown = [x]
        offsets = self.conv(
            x,
            np.concatenate([k[:, :, :width] for k in kernels], axis=-1),
            np.concatenate(biases),
        )
        for i, unit in enumerate(units):
            count = len(biases[i])
            offset, offsets = offsets[..., :count], offsets[..., count:]
            offset = tf.clip_by_value(offset, -MAX_OFFSET, MAX_OFFSET)
            y = self.deformable(
                tf.concat(grown, axis=-1), tf.cast(offset, "float32"), unit
            )
            grown.append(y)
            if later := kernels[i + 1 :]:
                rows = np.s_[:, :, width : width + y.shape[-1]]
                offsets += self.conv(
                    y, np.concatenate([k[rows] for k in later], axis=-1)
                )
            width += y.shape[-1]
        return grown

    def deformable(self, features, offset, unit):
        kernel = self.array(f"{unit}/kernel")
        _, _, channels, filters = kernel.shape
        if self.native and filters < channels:
            # As `projection` does, with the kernel's taps as they must be.
            taps = kernel.reshape(1, 9, channels, filters)
            taps = taps.swapaxes(1, 2).reshape(1, 1, channels, 9 * filters)
            y = library.load().ops.keras_radn_deformable_sum(
                self.conv(features, taps),
                offset,
                [],
                kernel_size=(3, 3),
                strides=(1, 1),
                dilations=(1, 1),
                padding="SAME",
                offset_groups=1,
            )
        else:
            y = deformable_conv2d(features, self.constant(kernel), offset)
        return self.bias_relu(y, unit)

    def reconstruct(self, x, images):
        """Context aggregation, the last convolution, the global residual."""
        # Larger windows consist of whole ones of the smallest, and a 1x1
        # convolution commutes with the average.
        smallest = POOL_SIZES[0]
        pooled = tf.nn.avg_pool2d(x, smallest, smallest, "VALID")
        names = [f"context/pool{size}_conv" for size in POOL_SIZES]
        kernel, bias = (
            np.concatenate([self.array(f"{n}/{part}") for n in names], axis=-1)
            for part in ("kernel", "bias")
        )
        pooled = tf.nn.conv2d(
            tf.cast(pooled, "float32"),
            self.constant(kernel, "float32"),
            1,
            "SAME",
        )
        pooled = tf.nn.bias_add(pooled, self.constant(bias, "float32"))
        context = [
            window_averages(y, size // smallest)
            for y, size in zip(
                tf.split(pooled, len(POOL_SIZES), axis=-1),
                POOL_SIZES,
                strict=True,
            )
        ]
        return fused.reconstruct(
            x,
            context,
            POOL_SIZES,
            self.constant(self.array("reconstruction/kernel"), "float32"),
            self.constant(self.array("reconstruction/bias"), "float32"),
            images,
            self.native,
        )
