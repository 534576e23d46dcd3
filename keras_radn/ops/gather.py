"""Deformable convolution from TensorFlow's own ops (`tf.gather`).

The fallback of the compiled library (`native.py`), and what it is compared
with; XLA compiles it. The order of the two steps is explained in
`projection.py`.
"""

import math

import numpy as np
import tensorflow as tf

from keras_radn.ops import library, projection
from keras_radn.ops.geometry import ConvGeometry, shape_of

# Columns of a chunk of rows stay below this number of elements (32 MB in
# float32), so that they never fill the memory of a large image.
_CHUNK_ELEMENTS = 8 * 1024 * 1024

# So far from every image that the sample is zero, and an int32 still holds
# the sum with a coordinate.
_MAX_OFFSET = 2**29


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
    points = sampling_points(inputs, offset, geometry, offset_groups)
    if mask is not None:
        mask = tf.cast(mask, points[1].dtype)
        points.append(tf.reshape(mask, tf.shape(points[0])))
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
    batch, out_height, out_width, _ = shape_of(offset)
    # By slices of four dimensions: LiteRT's kernels end at five.
    shifts = [
        tf.reshape(
            tf.cast(offset[..., axis::2], dtype),
            [batch, out_height, out_width, offset_groups, taps],
        )
        for axis in range(2)
    ]
    finite = tf.math.is_finite(shifts[0]) & tf.math.is_finite(shifts[1])
    limit = tf.cast(_MAX_OFFSET, dtype)
    steps = np.divmod(np.arange(taps, dtype="int32"), geometry.kernel_size[1])
    points = []
    for axis, (out_size, pad) in enumerate(
        zip(
            (out_height, out_width),
            geometry.leading_padding(shape_of(inputs)[1:3]),
            strict=True,
        )
    ):
        start = tf.range(out_size) * geometry.strides[axis] - pad
        grid = start[:, tf.newaxis] + steps[axis] * geometry.dilation_rate[axis]
        grid = tf.reshape(
            grid, [1, out_size, 1, taps] if axis else [out_size, 1, 1, taps]
        )
        shift = tf.where(finite, shifts[axis], tf.zeros([], dtype))
        shift = tf.clip_by_value(shift, -limit, limit)
        whole = tf.floor(shift)
        index = grid + tf.cast(whole, tf.int32)
        points += [tf.where(finite, index, -2), shift - whole]
    return points


def _corners(points, height, width):
    """The four neighbours of each point: pixel index and bilinear weight."""
    row, row_fraction, column, column_fraction, *mask = points

    def along(before, fraction, size):
        for index, weight in ((before, 1 - fraction), (before + 1, fraction)):
            inside = (index >= 0) & (index < size)
            weight = tf.where(inside, weight, tf.zeros_like(weight))
            yield tf.clip_by_value(index, 0, size - 1), weight

    for y, weight_y in along(row, row_fraction, height):
        for x, weight_x in along(column, column_fraction, width):
            yield y * width + x, math.prod([weight_y, weight_x, *mask])


def sample_projected(projected, points, filters):
    """`KerasRadn>DeformableSum` of the compiled library."""
    batch, height, width, _ = shape_of(projected)
    samples = math.prod(points[0].shape[-2:])
    out_height, out_width = shape_of(points[0])[1:3]
    values = tf.reshape(projected, [batch, height * width * samples, filters])
    outputs = 0
    for index, weight in _corners(points, height, width):
        shape = [batch, out_height * out_width, samples]
        index = tf.reshape(index, shape) * samples + tf.range(samples)
        weight = tf.reshape(weight, shape)
        corner = tf.gather(values, index, axis=1, batch_dims=1)
        # float32 weights: in half precision the four would not add up to 1.
        outputs += tf.reduce_sum(
            tf.cast(corner, weight.dtype) * weight[..., tf.newaxis], axis=2
        )
    outputs = tf.cast(outputs, projected.dtype)
    return tf.reshape(outputs, [batch, out_height, out_width, filters])


def _sample_then_project(inputs, kernel, maps, groups, offset_groups):
    batch, _, _, channels = shape_of(inputs)
    out_height, out_width = shape_of(maps[0])[1:3]
    taps, filters = math.prod(kernel.shape[:2]), kernel.shape[-1]

    def project(inputs, kernel, row, row_fraction, column, *rest):
        # Integers are no arguments, for they have no gradient.
        @_recomputed
        def compute(inputs, kernel, row_fraction, *rest):
            points = (row, row_fraction, column, *rest)
            columns = _columns(inputs, points)
            columns = tf.reshape(columns, [-1, taps * channels])
            outputs = projection.multiply(columns, kernel, groups)
            shape = [batch, shape_of(row)[1], out_width, filters]
            return tf.reshape(outputs, shape)

        return compute(inputs, kernel, row_fraction, *rest)

    if not library.loops():
        return project(inputs, kernel, *maps)
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


def _recomputed(function):
    """The function, run again for its gradient: columns would fill the memory.

    `tf.recompute_grad` does the same, but has no second derivative.
    """

    @tf.custom_gradient
    def compute(*arguments):
        def backward(gradient):
            again = arguments
            if not tf.executing_eagerly():
                # False, which no compiler knows: or it would take the second
                # run for the first, and keep that one's columns.
                some = tf.reduce_max(tf.reshape(gradient, [-1])[:1])
                never = tf.math.is_nan(some) & tf.math.is_inf(some)
                again = [x + tf.cast(never, x.dtype) for x in arguments]
            with tf.GradientTape() as tape:
                tape.watch(again)
                outputs = function(*again)
            return tape.gradient(outputs, again, gradient)

        return function(*arguments), backward

    return compute


def _chunks(out_height, row_elements, maximum):
    rows = maximum(1, _CHUNK_ELEMENTS // maximum(row_elements, 1))
    return maximum(1, -(-out_height // rows))


def _columns(inputs, points):
    """Samples of all channels: `(batch, points, taps, groups, depth)`."""
    batch, height, width, channels = shape_of(inputs)
    offset_groups, taps = points[0].shape[-2:]
    values = tf.reshape(
        inputs,
        [batch, height * width * offset_groups, channels // offset_groups],
    )
    # Taps before offset groups: the order of the kernel's rows.
    out_height, out_width = shape_of(points[0])[1:3]
    shape = [batch, out_height * out_width, taps, offset_groups]
    points = [
        tf.reshape(tf.transpose(m, [0, 1, 2, 4, 3]), shape) for m in points
    ]
    columns = 0
    for index, weight in _corners(points, height, width):
        index = index * offset_groups + tf.range(offset_groups)
        corner = tf.gather(values, index, axis=1, batch_dims=1)
        columns += tf.cast(corner, weight.dtype) * weight[..., tf.newaxis]
    return tf.cast(columns, inputs.dtype)
