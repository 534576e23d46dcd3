"""Deformable convolution from TensorFlow's own ops (`tf.gather`).

Bilinear sampling is linear, so it commutes with a 1x1 convolution. With fewer
filters than channels the input is first projected on the kernel's taps and
the narrow result is sampled; otherwise the samples (columns) are gathered
first, a chunk of rows at a time, and multiplied by the kernel.
"""

import math

import numpy as np
import tensorflow as tf

from keras_radn.ops.geometry import ConvGeometry

# Columns of a chunk of rows stay below this number of elements (32 MB in
# float32), so that they never fill the memory of a large image.
_CHUNK_ELEMENTS = 8 * 1024 * 1024


def deformable_conv2d(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    offset: tf.Tensor,
    mask: tf.Tensor | None,
    geometry: ConvGeometry,
    groups: int,
    offset_groups: int,
) -> tf.Tensor:
    """See `keras_radn.ops.deformable_conv2d`; arguments are checked there."""
    filters = kernel.shape[-1]
    y, x = _sampling_points(inputs, offset, geometry, offset_groups)
    if mask is not None:
        mask = tf.reshape(tf.cast(mask, y.dtype), tf.shape(y))
    # With several groups of both kinds a projection would be mostly zeros.
    projects = filters * offset_groups < inputs.shape[-1] and (
        groups == 1 or offset_groups == 1
    )
    compute = _project_then_sample if projects else _sample_then_project
    outputs = compute(inputs, kernel, y, x, mask, groups, offset_groups)
    out_size = geometry.output_size(inputs.shape[1:3])
    return tf.ensure_shape(outputs, [inputs.shape[0], *out_size, filters])


def _sampling_points(inputs, offset, geometry, offset_groups):
    """Coordinates `(batch, out_height, out_width, offset_groups, taps)`."""
    double = tf.float64 in (inputs.dtype, offset.dtype)
    dtype = tf.float64 if double else tf.float32
    taps = math.prod(geometry.kernel_size)
    batch, out_height, out_width, _ = _shape(offset)
    offset = tf.reshape(
        tf.cast(offset, dtype),
        [batch, out_height, out_width, offset_groups, taps, 2],
    )
    steps = np.divmod(np.arange(taps, dtype="int32"), geometry.kernel_size[1])
    points = []
    for axis, (size, out_size, pad) in enumerate(
        zip(
            _shape(inputs)[1:3],
            (out_height, out_width),
            geometry.leading_padding(_shape(inputs)[1:3]),
            strict=True,
        )
    ):
        start = tf.range(out_size) * geometry.strides[axis] - pad
        grid = start[:, tf.newaxis] + steps[axis] * geometry.dilation_rate[axis]
        grid = tf.reshape(
            tf.cast(grid, dtype),
            [1, out_size, 1, taps] if axis else [out_size, 1, 1, taps],
        )
        point = grid + offset[..., axis]
        outside = tf.cast(-2.0, dtype)
        point = tf.where(tf.math.is_finite(point), point, outside)
        # Beyond this range every sample is zero; and the cast to an integer
        # index must not overflow.
        points.append(
            tf.clip_by_value(point, outside, tf.cast(size + 1, dtype))
        )
    return points


def _corners(y, x, height, width):
    """The four neighbours of each point: pixel index and bilinear weight."""

    def along(coordinate, size):
        before = tf.floor(coordinate)
        fraction = coordinate - before
        for position, weight in (
            (before, 1 - fraction),
            (before + 1, fraction),
        ):
            index = tf.cast(position, tf.int32)
            inside = (index >= 0) & (index < size)
            weight = tf.where(inside, weight, tf.zeros_like(weight))
            yield tf.clip_by_value(index, 0, size - 1), weight

    for row, row_weight in along(y, height):
        for column, column_weight in along(x, width):
            yield row * width + column, row_weight * column_weight


def _project_then_sample(inputs, kernel, y, x, mask, groups, offset_groups):
    batch, height, width, channels = _shape(inputs)
    taps, filters = math.prod(kernel.shape[:2]), kernel.shape[-1]
    flat = tf.reshape(inputs, [-1, channels])
    if groups == 1:
        weights = tf.reshape(
            kernel, [taps, offset_groups, channels // offset_groups, filters]
        )
        weights = tf.reshape(
            tf.transpose(weights, [1, 2, 0, 3]),
            [offset_groups, channels // offset_groups, taps * filters],
        )
        parts = tf.split(flat, offset_groups, axis=1)
        projected = tf.stack(
            [tf.matmul(p, weights[g]) for g, p in enumerate(parts)], axis=1
        )
    else:
        projected = tf.einsum(
            "ngc,pcgo->npgo",
            tf.reshape(flat, [-1, groups, channels // groups]),
            tf.reshape(
                kernel, [taps, channels // groups, groups, filters // groups]
            ),
        )
    samples = offset_groups * taps
    values = tf.reshape(projected, [batch, height * width * samples, filters])
    outputs = 0
    for index, weight in _corners(y, x, height, width):
        if mask is not None:
            weight *= mask
        shape = [batch, _shape(y)[1] * _shape(y)[2], samples]
        index = tf.reshape(index, shape) * samples + tf.range(samples)
        weight = tf.reshape(weight, shape)
        corner = tf.gather(values, index, axis=1, batch_dims=1)
        # float32 weights: in half precision the four would not add up to 1.
        outputs += tf.reduce_sum(
            tf.cast(corner, weight.dtype) * weight[..., tf.newaxis], axis=2
        )
    outputs = tf.cast(outputs, inputs.dtype)
    return tf.reshape(outputs, [*_shape(y)[:3], filters])


def _sample_then_project(inputs, kernel, y, x, mask, groups, offset_groups):
    batch, _, _, channels = _shape(inputs)
    out_height, out_width = _shape(y)[1:3]
    taps, filters = math.prod(kernel.shape[:2]), kernel.shape[-1]
    maps = [y, x] if mask is None else [y, x, mask]

    # The backward pass samples again: kept columns would fill the memory.
    @tf.recompute_grad
    def project(inputs, kernel, *maps):
        columns = _columns(inputs, *maps)
        if groups == 1:
            columns = tf.reshape(columns, [-1, taps * channels])
            rows = tf.matmul(columns, tf.reshape(kernel, [-1, filters]))
        else:
            depth = channels // groups
            rows = tf.einsum(
                "npgc,pcgo->ngo",
                tf.reshape(columns, [-1, taps, groups, depth]),
                tf.reshape(kernel, [taps, depth, groups, filters // groups]),
            )
        return tf.reshape(rows, [batch, -1, out_width, filters])

    row_elements = batch * out_width * taps * channels
    if isinstance(row_elements, int) and isinstance(out_height, int):
        chunks = _chunks(out_height, row_elements, max)
        if chunks == 1:
            return project(inputs, kernel, *maps)
    else:
        chunks = _chunks(out_height, row_elements, tf.maximum)
    rows = -(-out_height // chunks)
    tail = [[0, 0], [0, chunks * rows - out_height], [0, 0], [0, 0], [0, 0]]
    chunked = tuple(
        tf.transpose(
            tf.reshape(
                tf.pad(m, tail),
                [batch, chunks, rows, out_width, offset_groups, taps],
            ),
            [1, 0, 2, 3, 4, 5],
        )
        for m in maps
    )
    outputs = tf.map_fn(
        lambda chunk: project(inputs, kernel, *chunk),
        chunked,
        fn_output_signature=tf.TensorSpec(
            [inputs.shape[0], None, None, filters], inputs.dtype
        ),
        parallel_iterations=1,
    )
    outputs = tf.reshape(
        tf.transpose(outputs, [1, 0, 2, 3, 4]),
        [batch, chunks * rows, out_width, filters],
    )
    return outputs[:, :out_height]


def _chunks(out_height, row_elements, maximum):
    rows = maximum(1, _CHUNK_ELEMENTS // maximum(row_elements, 1))
    return -(-out_height // rows)


def _columns(inputs, y, x, *masks):
    """Samples of all channels: `(batch, points, taps, groups, depth)`."""
    batch, height, width, channels = _shape(inputs)
    offset_groups, taps = y.shape[-2:]
    values = tf.reshape(
        inputs,
        [batch, height * width * offset_groups, channels // offset_groups],
    )
    # Taps before offset groups: the order of the kernel's rows.
    y, x, *masks = (
        tf.reshape(
            tf.transpose(m, [0, 1, 2, 4, 3]), [batch, -1, taps, offset_groups]
        )
        for m in (y, x, *masks)
    )
    columns = 0
    for index, weight in _corners(y, x, height, width):
        for mask in masks:
            weight *= mask
        index = index * offset_groups + tf.range(offset_groups)
        corner = tf.gather(values, index, axis=1, batch_dims=1)
        columns += tf.cast(corner, weight.dtype) * weight[..., tf.newaxis]
    return tf.cast(columns, inputs.dtype)


def _shape(tensor):
    """Sizes as integers where they are known, else as scalar tensors."""
    dynamic = tf.shape(tensor)
    return [
        dynamic[i] if size is None else size
        for i, size in enumerate(tensor.shape)
    ]
