"""Deformable convolution on the compiled library (`custom_ops/`).

It is TensorFlow's; other backends do not import this module.
"""

import math
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_radn.ops import library, projection
from keras_radn.ops.geometry import ConvGeometry

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


@dataclass(frozen=True)
class _Columns:
    """Columns of rows of the whole batch, and their products with the kernel.

    Attributes:
        groups: of the convolution.
        attributes: of the ops.
        rows: of the output, over the whole batch.
        width: of the output.
        depth: samples of a position.
    """

    groups: int
    attributes: dict
    rows: Any
    width: Any
    depth: int

    @property
    def chunk(self):
        """Rows whose columns are held at a time."""
        row = tf.maximum(1, self.width * self.depth)
        return tf.maximum(1, _CHUNK_ELEMENTS // row)

    def flat(self, maps):
        # A slice of such rows is not a copy.
        return [
            tf.reshape(m, [self.rows, self.width, m.shape[-1]]) for m in maps
        ]

    def sample(self, inputs, first, maps):
        return library.load().ops.keras_radn_deformable_columns(
            inputs,
            maps[0],
            maps[1:],
            tf.cast(first, tf.int64),
            **self.attributes,
        )

    def multiply(self, columns, kernel):
        columns = tf.reshape(columns, [-1, self.depth])
        outputs = projection.multiply(columns, kernel, self.groups)
        return tf.reshape(outputs, [-1, self.width, kernel.shape[-1]])

    def sample_gradients(self, to_columns, inputs, first, maps, to_inputs):
        """Adds to `to_inputs`, and returns those of the maps beside it."""
        to_inputs, to_offset, to_masks = (
            library.load().ops.keras_radn_deformable_columns_grad(
                to_columns,
                inputs,
                maps[0],
                maps[1:],
                tf.cast(first, tf.int64),
                to_inputs,
                **self.attributes,
            )
        )
        return [to_offset, *to_masks], to_inputs


def _sample_then_project(inputs, kernel, offset, masks, groups, attributes):
    batch, out_height, out_width, _ = keras.ops.shape(offset)
    depth = math.prod(kernel.shape[:2]) * inputs.shape[-1]
    rows = batch * out_height
    columns = _Columns(groups, attributes, rows, out_width, depth)

    @tf.custom_gradient
    def convolve(inputs, kernel, *maps):
        flat_maps = columns.flat(maps)

        def forward(first, end):
            some = [m[first:end] for m in flat_maps]
            sampled = columns.sample(inputs, first, some)
            return [columns.multiply(sampled, kernel)]

        def backward(gradient):
            return _gradients(columns, inputs, kernel, maps, gradient)

        [outputs], _ = _in_chunks(rows, columns.chunk, forward, [inputs.dtype])
        shape = [batch, out_height, out_width, kernel.shape[-1]]
        return tf.reshape(outputs, shape), backward

    return convolve(inputs, kernel, offset, *masks)


def _gradients(columns, inputs, kernel, maps, gradient):
    """Gradients of inputs, kernel and maps; columns are sampled again."""
    wide = projection.coordinate_dtype(inputs)
    flat_maps = columns.flat(maps)
    [flat_gradient] = columns.flat([gradient])

    def step(first, end, to_inputs, to_kernel):
        some = [m[first:end] for m in flat_maps]
        sampled = columns.sample(inputs, first, some)
        with tf.GradientTape() as tape:
            tape.watch([sampled, kernel])
            outputs = columns.multiply(sampled, kernel)
        to_sampled, to_part = tape.gradient(
            outputs, [sampled, kernel], flat_gradient[first:end]
        )
        to_maps, to_inputs = columns.sample_gradients(
            to_sampled, inputs, first, some, to_inputs
        )
        return [*to_maps, to_inputs, to_kernel + tf.cast(to_part, wide)]

    to_maps, (to_inputs, to_kernel) = _in_chunks(
        columns.rows,
        columns.chunk,
        step,
        [m.dtype for m in maps],
        [tf.zeros(tf.shape(x), wide) for x in (inputs, kernel)],
    )
    return (
        tf.cast(to_inputs, inputs.dtype),
        tf.cast(to_kernel, kernel.dtype),
        *(
            tf.reshape(to, tf.shape(m))
            for to, m in zip(to_maps, maps, strict=True)
        ),
    )


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
