"""Deformable convolution in `keras.ops`, by gathering pixels.

The fallback of the compiled library (`native.py`), what it is compared with,
and what other backends and XLA compile. The order of the two steps is explained
in `projection.py`.
"""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_radn.ops import backend, projection
from keras_radn.ops.geometry import ConvGeometry

# Columns of a chunk of rows stay below this number of elements (32 MB in
# float32), so that they never fill the memory of a large image.
_CHUNK_ELEMENTS = 8 * 1024 * 1024

# So far from every image that the sample is zero, and an int32 still holds
# the sum with a coordinate.
_MAX_OFFSET = 2**29


def deformable_conv2d(
    inputs: Any,
    kernel: Any,
    offset: Any,
    mask: Any | None,
    geometry: ConvGeometry,
    groups: int,
    offset_groups: int,
) -> Any:
    """See `keras_radn.ops.deformable_conv2d`; arguments are checked there."""
    points = sampling_points(inputs, offset, geometry, offset_groups)
    if mask is not None:
        mask = ops.cast(mask, points[1].dtype)
        points.append(ops.reshape(mask, ops.shape(points[0])))
    if projection.projects(inputs, kernel, groups, offset_groups):
        projected = projection.project(inputs, kernel, groups, offset_groups)
        return sample_projected(projected, points, kernel.shape[-1])
    return _sample_then_project(inputs, kernel, points, groups, offset_groups)


def sampling_points(inputs, offset, geometry, offset_groups):
    """Where to sample: row, its fraction, column, its fraction.

    Each is `(batch, out_height, out_width, offset_groups, taps)`. The integer
    parts are added as integers: a sum of floats would lose the fraction in
    wide images.
    """
    dtype = projection.coordinate_dtype(inputs)
    taps = math.prod(geometry.kernel_size)
    batch, out_height, out_width, _ = ops.shape(offset)
    # By slices of four dimensions: LiteRT's kernels end at five.
    shifts = [
        ops.reshape(
            ops.cast(offset[..., axis::2], dtype),
            [batch, out_height, out_width, offset_groups, taps],
        )
        for axis in range(2)
    ]
    finite = ops.isfinite(shifts[0]) & ops.isfinite(shifts[1])
    steps = np.divmod(np.arange(taps, dtype="int32"), geometry.kernel_size[1])
    points = []
    for axis, (out_size, pad) in enumerate(
        zip(
            (out_height, out_width),
            geometry.leading_padding(ops.shape(inputs)[1:3]),
            strict=True,
        )
    ):
        start = ops.arange(out_size, dtype="int32")
        start = start * geometry.strides[axis] - pad
        step = ops.convert_to_tensor(steps[axis] * geometry.dilation_rate[axis])
        grid = ops.reshape(
            start[:, None] + step,
            [1, out_size, 1, taps] if axis else [out_size, 1, 1, taps],
        )
        shift = ops.where(finite, shifts[axis], ops.zeros([], dtype))
        shift = ops.clip(shift, -_MAX_OFFSET, _MAX_OFFSET)
        whole = ops.floor(shift)
        index = grid + ops.cast(whole, "int32")
        points += [ops.where(finite, index, -2), shift - whole]
    return points


def _corners(points, height, width):
    """The four neighbours of each point: pixel index and bilinear weight."""
    row, row_fraction, column, column_fraction, *mask = points

    def along(before, fraction, size):
        for index, weight in ((before, 1 - fraction), (before + 1, fraction)):
            inside = (index >= 0) & (index < size)
            weight = ops.where(inside, weight, ops.zeros_like(weight))
            yield ops.clip(index, 0, size - 1), weight

    for y, weight_y in along(row, row_fraction, height):
        for x, weight_x in along(column, column_fraction, width):
            yield y * width + x, math.prod([weight_y, weight_x, *mask])


def sample_projected(projected, points, filters):
    """Computes what the compiled `KerasRadn>DeformableSum` does."""
    batch, height, width, _ = ops.shape(projected)
    samples = math.prod(points[0].shape[-2:])
    out_height, out_width = ops.shape(points[0])[1:3]
    values = ops.reshape(projected, [batch, height * width * samples, filters])
    outputs = 0
    for index, weight in _corners(points, height, width):
        shape = [batch, out_height * out_width, samples]
        index = ops.reshape(index, shape) * samples
        index = index + ops.arange(samples, dtype="int32")
        weight = ops.reshape(weight, shape)
        corner = backend.take_rows(values, index)
        # float32 weights: in half precision the four would not add up to 1.
        corner = ops.cast(corner, weight.dtype) * weight[..., None]
        outputs = outputs + ops.sum(corner, axis=2)
    outputs = ops.cast(outputs, projected.dtype)
    return ops.reshape(outputs, [batch, out_height, out_width, filters])


def _sample_then_project(inputs, kernel, maps, groups, offset_groups):
    batch, _, _, channels = ops.shape(inputs)
    out_height, out_width = ops.shape(maps[0])[1:3]
    taps, filters = math.prod(kernel.shape[:2]), kernel.shape[-1]

    def project(inputs, kernel, row, row_fraction, column, *rest):
        # Integers are captured, not passed: they have no gradient.
        @backend.recomputed
        def compute(inputs, kernel, row_fraction, *rest):
            points = (row, row_fraction, column, *rest)
            columns = _columns(inputs, points)
            columns = ops.reshape(columns, [-1, taps * channels])
            outputs = projection.multiply(columns, kernel, groups)
            shape = [batch, ops.shape(row)[1], out_width, filters]
            return ops.reshape(outputs, shape)

        return compute(inputs, kernel, row_fraction, *rest)

    if not backend.loops():
        return project(inputs, kernel, *maps)
    row_elements = batch * out_width * taps * channels
    if isinstance(row_elements, int) and isinstance(out_height, int):
        chunks = _chunks(out_height, row_elements, max)
        if chunks == 1:
            return project(inputs, kernel, *maps)
    else:
        chunks = _chunks(out_height, row_elements, ops.maximum)
    rows = -(-out_height // chunks)
    tail = [[0, 0], [0, chunks * rows - out_height], [0, 0], [0, 0], [0, 0]]
    chunked = tuple(
        ops.transpose(
            ops.reshape(
                ops.pad(m, tail),
                [batch, chunks, rows, out_width, offset_groups, taps],
            ),
            [1, 0, 2, 3, 4, 5],
        )
        for m in maps
    )
    outputs = backend.map_chunks(
        lambda chunk: project(inputs, kernel, *chunk),
        chunked,
        [inputs.shape[0], None, None, filters],
        inputs.dtype,
    )
    outputs = ops.reshape(
        ops.transpose(outputs, [1, 0, 2, 3, 4]),
        [batch, chunks * rows, out_width, filters],
    )
    return outputs[:, :out_height]


def _chunks(out_height, row_elements, maximum):
    rows = maximum(1, _CHUNK_ELEMENTS // maximum(row_elements, 1))
    return maximum(1, -(-out_height // rows))


def _columns(inputs, points):
    """Samples of all channels: `(batch, points, taps, groups, depth)`."""
    batch, height, width, channels = ops.shape(inputs)
    offset_groups, taps = points[0].shape[-2:]
    values = ops.reshape(
        inputs,
        [batch, height * width * offset_groups, channels // offset_groups],
    )
    # Taps before offset groups: the order of the kernel's rows.
    out_height, out_width = ops.shape(points[0])[1:3]
    shape = [batch, out_height * out_width, taps, offset_groups]
    points = [
        ops.reshape(ops.transpose(m, [0, 1, 2, 4, 3]), shape) for m in points
    ]
    columns = 0
    for index, weight in _corners(points, height, width):
        index = index * offset_groups
        index = index + ops.arange(offset_groups, dtype="int32")
        corner = backend.take_rows(values, index)
        corner = ops.cast(corner, weight.dtype) * weight[..., None]
        columns = columns + corner
    return ops.cast(columns, inputs.dtype)
