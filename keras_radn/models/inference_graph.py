"""RADN as a graph for inference: fewer operations, the same function.

A graph of TensorFlow's; other backends do not import this module.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from keras_radn.layers import PadToMultiple
from keras_radn.layers.batch_normalization import EPSILON
from keras_radn.layers.context_aggregation import POOL_SIZES, window_averages
from keras_radn.layers.dense_deformable_module import MAX_OFFSET
from keras_radn.layers.self_attention import attend
from keras_radn.models.deblurring_model import variables_by_path
from keras_radn.models.presets import DTYPES
from keras_radn.models.radn import MEAN, RADN, VARIANCE
from keras_radn.ops import fused, library

CPUINFO = "/proc/cpuinfo"


def portable_function(
    model: RADN, dtype: str
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The inference form of a network in TensorFlow's own operations.

    Args:
        model: its weights become constants.
        dtype: one of `DTYPES`.

    Returns:
        A function of float32 images, to be traced.
    """
    return _Graph(*parts(model), dtype, native=False).deblur


def parts(model: RADN) -> tuple[dict, dict[str, np.ndarray]]:
    """Architecture and weights of a network, as `InferenceModel` takes them."""
    variables = variables_by_path(model)
    weights = {path: value.numpy() for path, value in variables.items()}
    return model.architecture(), weights


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

    - batch norms that follow a convolution are folded into it;
    - a dense block is one operation, which neither concatenates nor keeps what
      lies within a unit;
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

    is_inference_form = True

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
        self._graph = _Graph(
            dict(architecture), weights, dtype, library.has_cpu_ops()
        )
        self._run = self._trace(self._graph, [None, None, None, 3])

    def _trace(self, graph, shape):
        images = tf.TensorSpec(shape, "float32", "images")
        function = tf.function(graph.deblur, [images], autograph=False)
        return function.get_concrete_function()

    def graph(self, height: int, width: int) -> tf.Graph:
        """The operations for one image, for tools that count them.

        Args:
            height: of the image in pixels.
            width: of the image in pixels.

        Returns:
            A graph of TensorFlow's own convolutions and without loops: the
            attention is not done in chunks.
        """
        of = self._graph
        plain = _Graph(
            of.architecture, of.weights, of.dtype, native=False, in_chunks=False
        )
        return self._trace(plain, [1, height, width, 3]).graph

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

    def __init__(self, architecture, weights, dtype, native, in_chunks=True):
        self.architecture = architecture
        self.weights = weights
        self.dtype = dtype
        self.native = native
        self.in_chunks = in_chunks

    def deblur(self, images):
        stem_pool = self.architecture["stem_pool"]
        padded = PadToMultiple(16 if stem_pool else 8).call(images)
        x, skips = self.encode(padded)
        if self.architecture["attention"]:
            x = self.attention(x)
        features = [x]
        for i, skip in enumerate(skips, start=1):
            x = self.decoder_block(features, f"decoder_block{i}")
            if i < len(skips) or stem_pool:
                x = self.deconvolution([x], f"decoder_up{i}")
            features = [x, skip]
        x = self.deconvolution(features, "decoder_up4")
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

    def conv(self, x, kernel, bias, relu=False):
        return fused.convolution(x, kernel, bias, relu, native=self.native)

    def conv_layer(self, x, name):
        kernel, bias = self.array(f"{name}/kernel"), self.array(f"{name}/bias")
        return self.conv(x, kernel, bias)

    def conv_norm_relu(self, x, name):
        """A convolution without bias, its batch norm folded in, and ReLU."""
        scale, offset = self.norm(f"{name}_norm")
        kernel = self.array(f"{name}/kernel") * scale
        return self.conv(x, kernel, offset, relu=True)

    def deconvolution(self, features, name):
        scale, offset = self.norm(f"{name}_norm")
        # Filters before channels, as of all transposed convolutions.
        kernel = self.array(f"{name}/kernel") * scale[:, np.newaxis]
        with tf.name_scope(name):  # by which the export to 8 bits finds it
            return fused.deconvolution(features, kernel, offset, self.native)

    # Encoder

    def encode(self, images):
        """The encoder's output and the skips, in the decoder's order."""
        x = tf.cast(images - self.constant(MEAN, "float32"), self.dtype)
        x = tf.nn.space_to_depth(x, 2)
        scale, offset = self.norm("stem_norm")
        deviation = np.tile(np.sqrt(VARIANCE), 4)[:, np.newaxis]
        with tf.name_scope("stem_conv"):
            kernel = self.array("stem_conv/kernel") / deviation * scale
            padding = [[0, 0], [2, 1], [2, 1], [0, 0]]
            x = tf.nn.conv2d(x, self.constant(kernel), 1, padding)
            x = tf.nn.relu(tf.nn.bias_add(x, self.constant(offset)))
        skips = [x]
        if self.architecture["stem_pool"]:
            # The features are positive, so that zeros pad as well as -inf.
            x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
            x = tf.nn.max_pool2d(x, 3, 2, "VALID")
        for i, units in enumerate(self.architecture["encoder_units"], start=1):
            x = self.dense_block(x, units, f"encoder_block{i}")
            name = f"encoder_transition{i}"
            x = fused.convolution(
                x,
                self.array(f"{name}/conv/kernel"),
                affine=self.norm(f"{name}/norm"),
                native=self.native,
            )
            if i < 3:
                skips.insert(0, x)
                x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
        return x, skips

    def dense_block(self, x, units, name):
        names = [f"{name}/unit{i}" for i in range(1, units + 1)]
        weights = [self.dense_unit(unit) for unit in names]
        return fused.dense_block(x, weights, self.native)

    def dense_unit(self, name):
        scale, bias = self.norm(f"{name}_growth_norm")
        return fused.DenseUnit(
            *self.norm(f"{name}_bottleneck_norm"),
            self.array(f"{name}_bottleneck_conv/kernel") * scale,
            bias,
            self.array(f"{name}_growth_conv/kernel"),
        )

    def attention(self, x):
        window_size = self.architecture["attention_window"]
        pool_size = self.architecture["attention_pool"]
        pooled = window_averages(x, pool_size)
        keys, values = (
            self.conv_layer(pooled, f"attention/{name}") for name in "bd"
        )
        queries = self.conv_layer(x, "attention/c")
        sizes = {"window_size": window_size, "pool_size": pool_size}
        if self.native:
            return fused.attention(x, queries, keys, values, **sizes)
        return x + attend(queries, keys, values, self.in_chunks, **sizes)

    # Decoder

    def decoder_block(self, features, name):
        kind = self.architecture["decoder_block"]
        units = self.architecture["deform_units"]
        if kind == "bottleneck":
            x = self.dense_block(tf.concat(features, axis=-1), 1, name)
            return self.conv_norm_relu(x, f"{name}_reduction")
        names = [f"{name}/unit{i}" for i in range(1, units + 1)]
        if kind == "deformable":
            weights = [self.deform_unit(unit) for unit in names]
            x = fused.deform_units(features, weights, MAX_OFFSET, self.native)
            return self.conv_norm_relu(x, f"{name}/reduction")
        x = tf.concat(features, axis=-1)
        for unit in names:
            x = tf.concat([x, self.conv_norm_relu(x, unit)], axis=-1)
        return self.conv_norm_relu(x, f"{name}/reduction")

    def deform_unit(self, name):
        scale, bias = self.norm(f"{name}_norm")
        return fused.DeformUnit(
            self.array(f"{name}/offset_conv/kernel"),
            self.array(f"{name}/offset_conv/bias"),
            self.array(f"{name}/kernel") * scale,
            bias,
        )

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
