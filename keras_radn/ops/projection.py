"""The dense part of a deformable convolution, done by matrix products.

Bilinear sampling is linear, so it commutes with a 1x1 convolution. With fewer
filters than channels the input is first projected on the kernel's taps and
the narrow result is sampled; otherwise all channels are sampled first (to
columns, a chunk of rows at a time) and then multiplied by the kernel.
"""

import math
from typing import Any

import keras
from keras import ops


def projects(inputs: Any, kernel: Any, groups: int, offset_groups: int) -> bool:
    """Whether to project first."""
    # With several groups of both kinds a projection would be mostly zeros.
    return kernel.shape[-1] * offset_groups < inputs.shape[-1] and (
        groups == 1 or offset_groups == 1
    )


def project(inputs: Any, kernel: Any, groups: int, offset_groups: int) -> Any:
    """Products of each pixel with each tap of the kernel.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(kernel_height, kernel_width, channels // groups, filters)`.
        groups: of the convolution; 1 if there are several offset groups.
        offset_groups: groups of channels that are sampled together.

    Returns:
        `(batch, height, width, offset_groups * taps * filters)`.
    """
    batch, height, width, channels = ops.shape(inputs)
    taps, filters = math.prod(kernel.shape[:2]), kernel.shape[-1]
    depth = offset_groups * taps * filters
    flat = ops.reshape(inputs, [-1, channels])
    if groups == 1:
        weights = ops.reshape(
            kernel, [taps, offset_groups, channels // offset_groups, filters]
        )
        weights = ops.reshape(
            ops.transpose(weights, [1, 2, 0, 3]),
            [offset_groups, channels // offset_groups, taps * filters],
        )
        parts = [
            part @ weights[group]
            for group, part in enumerate(ops.split(flat, offset_groups, axis=1))
        ]
        projected = parts[0] if offset_groups == 1 else ops.stack(parts, axis=1)
    else:
        projected = ops.einsum(
            "ngc,pcgo->npgo",
            ops.reshape(flat, [-1, groups, channels // groups]),
            ops.reshape(
                kernel, [taps, channels // groups, groups, filters // groups]
            ),
        )
    return ops.reshape(projected, [batch, height, width, depth])


def multiply(columns: Any, kernel: Any, groups: int) -> Any:
    """Products of columns with the kernel.

    Args:
        columns: `(positions, taps * channels)`.
        kernel: `(kernel_height, kernel_width, channels // groups, filters)`.
        groups: of the convolution.

    Returns:
        `(positions, filters)`.
    """
    taps, filters = math.prod(kernel.shape[:2]), kernel.shape[-1]
    if groups == 1:
        return columns @ ops.reshape(kernel, [-1, filters])
    depth = kernel.shape[2]
    rows = ops.einsum(
        "npgc,pcgo->ngo",
        ops.reshape(columns, [-1, taps, groups, depth]),
        ops.reshape(kernel, [taps, depth, groups, filters // groups]),
    )
    return ops.reshape(rows, [-1, filters])


def coordinate_dtype(inputs: Any) -> str:
    """What coordinates, masks and sums are computed in."""
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    return "float64" if dtype == "float64" else "float32"
