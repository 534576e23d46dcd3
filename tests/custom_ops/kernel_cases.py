"""Arguments of the CUDA kernels, and the expected results in float64."""

import ctypes

import ml_dtypes
import numpy as np

from tests.oracles import same_padding

TYPES = {"float32": 0, "float16": 1, "bfloat16": 2}
LANES = {"float32": 4, "float16": 8, "bfloat16": 8}


class Geometry(ctypes.Structure):
    # As in sampling.h.
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("batch", "height", "width", "out_height", "out_width"),
            *("first_row", "rows", "kernel_height", "kernel_width"),
            *("stride_y", "stride_x", "dilation_y", "dilation_x"),
            *("pad_top", "pad_left", "offset_groups"),
        )
    )


def make_geometry(
    image, kernel, strides=(1, 1), dilations=(1, 1), same=True, groups=1
):
    batch, *size = image
    axes = []
    for axis in zip(size, kernel, strides, dilations, strict=True):
        out, pad, _ = same_padding(*axis)
        if not same:
            pad = 0
            out = (axis[0] - (axis[1] - 1) * axis[3] - 1) // axis[2] + 1
        axes.append((out, pad))
    (height, top), (width, left) = axes
    rows = batch * height
    return Geometry(
        *(*image, height, width, 0, rows, *kernel, *strides),
        *(*dilations, top, left, groups),
    )


GEOMETRIES = {
    "same": make_geometry((2, 6, 7), (3, 3)),
    "valid": make_geometry((2, 6, 7), (3, 2), same=False),
    "strides": make_geometry((1, 7, 9), (3, 3), strides=(2, 3)),
    "dilation": make_geometry((1, 7, 8), (3, 3), dilations=(2, 3)),
    "groups": make_geometry((2, 5, 4), (2, 3), groups=3),
    "point": make_geometry((1, 4, 5), (1, 1)),
    "pixel": make_geometry((2, 1, 1), (3, 3)),
}


class Guarded:
    """An array between NaNs, which reveal reads beyond its ends."""

    MARGIN = 64

    def __init__(self, values, dtype, shift=0):
        values = np.asarray(values)
        size, item = values.size, np.dtype(dtype).itemsize
        self.buffer = np.full(size + 2 * self.MARGIN + 16, np.nan, dtype)
        to_alignment = -self.buffer.ctypes.data % 16 // item
        self.first = self.MARGIN + to_alignment + shift
        self.array = self.buffer[self.first : self.first + size]
        self.array[:] = values.ravel()
        self.array = self.array.reshape(values.shape)
        self.pointer = ctypes.c_void_p(self.array.ctypes.data)

    def result(self):
        end = self.first + self.array.size
        for margin in (self.buffer[: self.first], self.buffer[end:]):
            assert np.isnan(margin.astype("float32")).all()
        return self.array.astype("float64")


class Case:
    """Random arguments of the ops, and the expected results."""

    def __init__(self, geometry, depth, dtype, sum_op, mask=True, shift=0):
        self.geometry, self.sum_op = geometry, sum_op
        self.dtype, self.depth, self.shift = dtype, depth, shift
        self.numpy_type = (
            ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
        )
        g = geometry
        taps = g.kernel_height * g.kernel_width
        # Axes of a map: image, row, column, group, tap (one for all taps if
        # the op makes columns), channel.
        map_taps = taps if sum_op else 1
        self.map_shape = (g.batch, g.height, g.width)
        self.map_shape += (g.offset_groups, map_taps, depth)
        positions = (g.rows, g.out_width)
        self.out_shape = (*positions, 1, 1, depth)
        if not sum_op:
            self.out_shape = (*positions, taps, g.offset_groups, depth)
        self.random = np.random.default_rng(0)
        self.map = self.quantized(self.random.normal(size=self.map_shape))
        self.gradient = self.quantized(self.random.normal(size=self.out_shape))
        offset_shape = (*positions, g.offset_groups, taps, 2)
        self.offset = self.random.normal(scale=2, size=offset_shape)
        self.offset = self.offset.astype("float32")
        self.mask = None
        if mask:
            self.mask = self.random.uniform(size=offset_shape[:-1])
            self.mask = self.mask.astype("float32")

    def quantized(self, values):
        return values.astype(self.numpy_type).astype("float64")

    @property
    def channels(self):
        groups = 1 if self.sum_op else self.geometry.offset_groups
        return ctypes.c_int64(self.depth * groups)

    def samples(self):
        """Yields where each sample reads and writes, and its weights.

        The weights are those of all rows and of all columns, with their
        derivatives (to the right, where there are two).
        """
        g = self.geometry
        for row, j, group, tap in np.ndindex(self.offset.shape[:-1]):
            image, i = divmod(g.first_row + row, g.out_height)
            tap_y, tap_x = divmod(tap, g.kernel_width)
            dy, dx = self.offset[row, j, group, tap].astype("float64")
            weights = [
                tent(base + offset, size)
                for base, offset, size in (
                    (
                        i * g.stride_y - g.pad_top + tap_y * g.dilation_y,
                        dy,
                        g.height,
                    ),
                    (
                        j * g.stride_x - g.pad_left + tap_x * g.dilation_x,
                        dx,
                        g.width,
                    ),
                )
            ]
            scale = 1.0 if self.mask is None else self.mask[row, j, group, tap]
            at_map = (image, slice(None), slice(None), group)
            at_map += (tap if self.sum_op else 0,)
            at_out = (row, j) + ((0, 0) if self.sum_op else (tap, group))
            yield (row, j, group, tap), at_map, at_out, float(scale), weights

    def expected(self):
        outputs = np.zeros(self.out_shape)
        for _, at_map, at_out, scale, ((y, _), (x, _)) in self.samples():
            outputs[at_out] += scale * np.einsum(
                "h,w,hwc->c", y, x, self.map[at_map]
            )
        return outputs

    def expected_gradients(self):
        map_gradient = np.zeros(self.map_shape)
        offset_gradient = np.zeros(self.offset.shape)
        mask_gradient = np.zeros(self.offset.shape[:-1])
        for at, at_map, at_out, scale, ((y, y1), (x, x1)) in self.samples():
            gradient = self.gradient[at_out]
            map_gradient[at_map] += scale * np.einsum(
                "h,w,c->hwc", y, x, gradient
            )
            by_pixel = self.map[at_map] @ gradient
            offset_gradient[at] = (
                scale * (y1 @ by_pixel @ x),
                scale * (y @ by_pixel @ x1),
            )
            mask_gradient[at] = y @ by_pixel @ x
        return map_gradient, offset_gradient, mask_gradient

    def mask_argument(self):
        return None if self.mask is None else Guarded(self.mask, "float32")

    def guarded(self, values):
        return Guarded(values, self.numpy_type, self.shift)

    def check_forward(self, library):
        map_, offset = self.guarded(self.map), Guarded(self.offset, "float32")
        mask = self.mask_argument()
        outputs = self.guarded(np.full(self.out_shape, 77))
        error = library.forward(
            *(TYPES[self.dtype], self.sum_op, ctypes.byref(self.geometry)),
            *(self.channels, map_.pointer, offset.pointer),
            *(mask and mask.pointer, outputs.pointer),
        )
        assert error is None
        self.assert_close(outputs.result(), self.expected(), rounded=True)

    def check_gradient(self, library):
        gradient, map_ = self.guarded(self.gradient), self.guarded(self.map)
        offset, mask = Guarded(self.offset, "float32"), self.mask_argument()
        before = self.random.normal(size=self.map_shape).astype("float32")
        map_gradient = Guarded(before, "float32", self.shift)
        # Overwritten, whatever is there.
        offset_gradient = Guarded(np.full(offset.array.shape, 77), "float32")
        mask_gradient = Guarded(np.full(offset.array.shape[:-1], 77), "float32")
        error = library.gradient(
            *(TYPES[self.dtype], self.sum_op, ctypes.byref(self.geometry)),
            *(self.channels, gradient.pointer, map_.pointer, offset.pointer),
            *(mask and mask.pointer, map_gradient.pointer),
            *(offset_gradient.pointer, mask and mask_gradient.pointer),
        )
        assert error is None
        by_map, by_offset, by_mask = self.expected_gradients()
        self.assert_close(map_gradient.result(), before + by_map)
        self.assert_close(offset_gradient.result(), by_offset)
        if mask:
            self.assert_close(mask_gradient.result(), by_mask)

    def assert_close(self, actual, expected, rounded=False):
        rtol = {"float32": 0, "float16": 2.0**-11, "bfloat16": 2.0**-8}
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(
            actual,
            expected,
            rtol=1.01 * rtol[self.dtype] if rounded else 0,
            atol=3e-6 * scale,
        )


def tent(coordinate, size):
    """Returns the weights of an axis's pixels, and their derivatives."""
    if not np.isfinite(coordinate):
        return np.zeros(size), np.zeros(size)
    distance = np.arange(size) - coordinate
    weights = np.maximum(0, 1 - np.abs(distance))
    slopes = np.where(
        (distance > -1) & (distance <= 0), -1.0, (distance > 0).astype(float)
    )
    return weights, np.where((distance > -1) & (distance <= 1), slopes, 0)
