"""The public deformable convolution: checks its arguments, then computes."""

import math
from typing import Any

import keras
from keras import ops

from keras_radn.ops import backend, gather, tracing
from keras_radn.ops.geometry import (
    ConvGeometry,
    require_integer,
    standardize_pair,
)


def deformable_conv2d(
    inputs: Any,
    kernel: Any,
    offset: Any,
    mask: Any = None,
    strides: int | tuple[int, int] = 1,
    padding: str = "same",
    dilation_rate: int | tuple[int, int] = 1,
    offset_groups: int = 1,
    implementation: str = "auto",
) -> Any:
    """2D convolution whose sampling points are moved by an offset map.

    The output at position `l` is
    `sum_p kernel[p] * mask[l, p] * inputs(l * strides + l_p + offset[l, p])`
    (equation 4 of the paper; the mask is the extension of Deformable
    ConvNets v2), where `l_p` runs over the kernel's regular grid and the
    input is read by bilinear interpolation.

    The border rule is torchvision's and ONNX's: a sample is zero outside
    `(-1, height) x (-1, width)`; inside, each of its four neighbours counts
    only if it is a pixel of the image. A sample whose offset is NaN or
    infinite is zero.

    Differentiable with respect to `inputs`, `kernel`, `offset` and `mask`.
    Runs eagerly, in a `tf.function` (unknown sizes included), in `jax.jit` and
    under XLA. The result of the compiled library does not depend on the number
    of threads on the CPU.

    Args:
        inputs: `(batch, height, width, channels)`, float16, bfloat16, float32
            or float64.
        kernel: `(kernel_height, kernel_width, channels // groups, filters)`,
            cast to the dtype of `inputs`. The number of convolution groups
            follows from its third dimension.
        offset: `(batch, out_height, out_width, 2 * offset_groups * taps)`
            with `taps = kernel_height * kernel_width`, in pixels of the
            input. Per offset group and tap (row-major) one pair `(dy, dx)`,
            as in torchvision and ONNX `DeformConv`. Any floating dtype;
            coordinates are computed in float64 for inputs of that dtype, else
            in float32.
        mask: optional, `(batch, out_height, out_width, offset_groups * taps)`.
        strides: positive integer or pair `(vertical, horizontal)`.
        padding: `"same"` or `"valid"`, as in `keras.layers.Conv2D`.
        dilation_rate: positive integer or pair `(vertical, horizontal)`.
        offset_groups: number of groups of input channels that share offsets;
            divides `channels`.
        implementation: `"native"` (the compiled library, for TensorFlow),
            `"gather"` (`keras.ops`: slower, for other backends, XLA, export
            and second derivatives) or `"auto"`: native on TensorFlow if the
            library loads and XLA does not compile the graph, torchvision's
            operation on PyTorch's GPUs if it is installed and its columns are
            small enough, else gather. The environment variable
            `KERAS_RADN_IMPLEMENTATION` comes before it.

    Returns:
        `(batch, out_height, out_width, filters)`, in the dtype of `inputs`.

    Raises:
        ValueError: if an argument is out of range or the shapes do not fit
            together, or if `"native"` is asked for under XLA.
        ImportError: if `"native"` is asked for and there is none.

    Example:

    ```python
    features = keras.random.uniform((1, 30, 40, 16))
    kernel = keras.random.normal((3, 3, 16, 8))
    offset = keras.random.normal((1, 30, 40, 18))  # (dy, dx) of 9 taps
    y = keras_radn.ops.deformable_conv2d(features, kernel, offset)
    ```
    """
    inputs = ops.convert_to_tensor(inputs)
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            "deformable_conv2d needs floating-point inputs. "
            f"Received: inputs.dtype={dtype}"
        )
    kernel = ops.cast(kernel, dtype)
    offset = ops.convert_to_tensor(offset)
    strides = standardize_pair("strides", strides)
    dilation_rate = standardize_pair("dilation_rate", dilation_rate)
    if padding not in ("same", "valid"):
        raise ValueError(
            f'`padding` must be "same" or "valid". Received: {padding!r}'
        )
    _check_rank("inputs", inputs)
    _check_rank("kernel", kernel)
    _check_rank("offset", offset)
    groups = _groups(inputs, kernel)
    channels, filters = inputs.shape[-1], kernel.shape[-1]
    kernel_size = tuple(kernel.shape[:2])
    require_integer("offset_groups", offset_groups, 1)
    if channels % offset_groups:
        raise ValueError(
            "`offset_groups` must divide the channels of "
            f"`inputs`. Received: offset_groups={offset_groups}, "
            f"inputs.shape={tuple(inputs.shape)}"
        )
    geometry = ConvGeometry(kernel_size, strides, padding, dilation_rate)
    samples = offset_groups * math.prod(kernel_size)
    _check_map("offset", offset, inputs, geometry, 2 * samples)
    if mask is not None:
        mask = ops.convert_to_tensor(mask)
        _check_rank("mask", mask)
        _check_map("mask", mask, inputs, geometry, samples)
    compute = (
        tracing.current().convolution
        or backend.compiled_convolution(implementation, inputs, kernel, offset)
        or gather.deformable_conv2d
    )
    outputs = compute(
        inputs, kernel, offset, mask, geometry, groups, offset_groups
    )
    out_size = geometry.output_size(inputs.shape[1:3])
    return backend.with_shape(outputs, [inputs.shape[0], *out_size, filters])


def _groups(inputs, kernel):
    """How many groups the shapes of inputs and kernel make, checked."""
    if inputs.shape[-1] is None or None in tuple(kernel.shape):
        raise ValueError(
            "The channels of `inputs` and the shape of `kernel` must be "
            f"known. Received: {_shapes(inputs, kernel)}"
        )
    channels, filters = inputs.shape[-1], kernel.shape[-1]
    if 0 in (channels, *kernel.shape):
        raise ValueError(
            "`inputs` must have channels, and no dimension of `kernel` may be "
            f"0. Received: {_shapes(inputs, kernel)}"
        )
    if channels % kernel.shape[2]:
        raise ValueError(
            "The third dimension of `kernel` must divide the channels of "
            f"`inputs`. Received: {_shapes(inputs, kernel)}"
        )
    groups = channels // kernel.shape[2]
    if filters % groups:
        raise ValueError(
            f"The kernel's {filters} filters cannot be split into {groups} "
            f"groups. Received: {_shapes(inputs, kernel)}"
        )
    return groups


def _shapes(inputs, kernel):
    return (
        f"inputs.shape={tuple(inputs.shape)}, "
        f"kernel.shape={tuple(kernel.shape)}"
    )


def _check_rank(name, tensor):
    if len(tensor.shape) != 4:
        raise ValueError(
            f"`{name}` must have 4 dimensions. "
            f"Received: {name}.shape={tuple(tensor.shape)}"
        )


def _check_map(name, tensor, inputs, geometry, channels):
    batch, *size, _ = inputs.shape
    expected = (batch, *geometry.output_size(size), channels)
    if any(
        None not in (n, m) and n != m
        for n, m in zip(tensor.shape, expected, strict=True)
    ):
        raise ValueError(
            f"`{name}` must have the shape {expected} for inputs of shape "
            f"{tuple(inputs.shape)}, kernel size {geometry.kernel_size}, "
            f"strides {geometry.strides}, padding {geometry.padding!r}, "
            f"dilation rate {geometry.dilation_rate}. "
            f"Received: {name}.shape={tuple(tensor.shape)}"
        )
