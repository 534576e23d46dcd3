"""Deformable convolution on the compiled library (`custom_ops/`)."""

import math
from typing import Any

import tensorflow as tf

from keras_radn.ops import library, projection
from keras_radn.ops.geometry import ConvGeometry, shape_of

# Columns of a chunk of rows stay below this number of elements, so that the
# matrix product finds them in the cache (8 MB in float32).
_CHUNK_ELEMENTS = 2 * 1024 * 1024

_ATTRIBUTES = ("kernel_size", "strides", "dilations", "padding")


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
    dtype = projection.coordinate_dtype(inputs)
    offset = tf.cast(offset, dtype)
    masks = [] if mask is None else [tf.cast(mask, dtype)]
    attributes = {
        "kernel_size": geometry.kernel_size,
        "strides": geometry.strides,
        "dilations": geometry.dilation_rate,
        "padding": geometry.padding.upper(),
        "offset_groups": offset_groups,
    }
    if projection.projects(inputs, kernel, groups, offset_groups):
        return library.load().ops.keras_radn_deformable_sum(
            projection.project(inputs, kernel, groups, offset_groups),
            offset,
            masks,
            **attributes,
        )
    return _sample_then_project(
        inputs, kernel, offset, masks, groups, attributes
    )


@tf.RegisterGradient("KerasRadn>DeformableSum")
def _sum_gradient(op: Any, gradient: tf.Tensor) -> list:
    projected, offset, *masks = op.inputs
    attributes = {name: op.get_attr(name) for name in _ATTRIBUTES}
    outputs = library.load().ops.keras_radn_deformable_sum_grad(
        gradient,
        projected,
        offset,
        masks,
        offset_groups=op.get_attr("offset_groups"),
        **attributes,
    )
    return [*outputs[:2], *outputs[2]]


def _sample_then_project(inputs, kernel, offset, masks, groups, attributes):
    ops = library.load().ops
    filters = kernel.shape[-1]
    batch, out_height, out_width, _ = shape_of(offset)
    depth = math.prod(kernel.shape[:2]) * inputs.shape[-1]
    # Rows of the whole batch: a slice of them is no copy.
    rows = batch * out_height
    chunk = _CHUNK_ELEMENTS // tf.maximum(1, out_width * depth)
    chunk = tf.maximum(1, chunk)

    def flat(maps):
        return [tf.reshape(m, [rows, out_width, m.shape[-1]]) for m in maps]

    def columns_of(inputs, first, maps):
        return ops.keras_radn_deformable_columns(
            inputs, maps[0], maps[1:], tf.cast(first, tf.int64), **attributes
        )

    def multiply(columns, kernel):
        columns = tf.reshape(columns, [-1, depth])
        outputs = projection.multiply(columns, kernel, groups)
        return tf.reshape(outputs, [-1, out_width, filters])

    @tf.custom_gradient
    def convolve(inputs, kernel, *maps):
        flat_maps = flat(maps)

        def forward(first, end):
            some = [m[first:end] for m in flat_maps]
            return [multiply(columns_of(inputs, first, some), kernel)]

        [outputs], _ = _in_chunks(rows, chunk, forward, [inputs.dtype])

        def backward(gradient):
            [flat_gradient] = flat([gradient])

            def step(first, end, inputs_gradient, kernel_gradient):
                some = [m[first:end] for m in flat_maps]
                columns = columns_of(inputs, first, some)
                with tf.GradientTape() as tape:
                    tape.watch([columns, kernel])
                    outputs = multiply(columns, kernel)
                to_columns, to_kernel = tape.gradient(
                    outputs, [columns, kernel], flat_gradient[first:end]
                )
                inputs_gradient, to_offset, to_masks = (
                    ops.keras_radn_deformable_columns_grad(
                        to_columns,
                        inputs,
                        some[0],
                        some[1:],
                        tf.cast(first, tf.int64),
                        inputs_gradient,
                        **attributes,
                    )
                )
                kernel_gradient += tf.cast(to_kernel, wide)
                return [to_offset, *to_masks, inputs_gradient, kernel_gradient]

            wide = projection.coordinate_dtype(inputs)
            to_maps, sums = _in_chunks(
                rows,
                chunk,
                step,
                [m.dtype for m in maps],
                [tf.zeros(tf.shape(x), wide) for x in (inputs, kernel)],
            )
            return (
                tf.cast(sums[0], inputs.dtype),
                tf.cast(sums[1], kernel.dtype),
                *(
                    tf.reshape(to, tf.shape(m))
                    for to, m in zip(to_maps, maps, strict=True)
                ),
            )

        shape = [batch, out_height, out_width, filters]
        return tf.reshape(outputs, shape), backward

    return convolve(inputs, kernel, offset, *masks)


def _in_chunks(rows, chunk, step, dtypes, sums=()):
    """Runs `step(first, end, *sums)` over chunks of rows.

    A step returns rows of each of the outputs, then the new sums. Returns the
    outputs, concatenated, and the last sums.
    """
    count = len(dtypes)
    chunks = tf.maximum(1, -(-rows // chunk))  # one even of an empty batch
    arrays = [
        tf.TensorArray(
            dtype, chunks, infer_shape=False, element_shape=[None, None, None]
        )
        for dtype in dtypes
    ]

    def body(index, arrays, sums):
        first = index * chunk
        results = step(first, tf.minimum(first + chunk, rows), *sums)
        arrays = [
            array.write(index, result)
            for array, result in zip(arrays, results[:count], strict=True)
        ]
        return index + 1, arrays, list(results[count:])

    _, arrays, sums = tf.while_loop(
        lambda index, *_: index < chunks,
        body,
        (tf.constant(0), arrays, list(sums)),
        parallel_iterations=1,
    )
    return [array.concat() for array in arrays], sums
