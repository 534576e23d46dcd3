"""Random calls of the ops for training, and what they should give.

The reference is TensorFlow's own operations in float64, or in another dtype to
see what that dtype can do, and their automatic gradient.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_radn.ops import deformable_conv2d, training

EPSILON = 1e-3


@dataclasses.dataclass
class Call:
    """A call of one of the ops.

    Attributes:
        op: the function of `keras_radn.ops.training`.
        reference: of the same arguments; it computes in the features' dtype.
        features: its input, float64.
        units: its weights, float64.
        fixed: moments, or none.
        direction: what the outputs are multiplied by and summed for a loss.
    """

    op: Callable
    reference: Callable
    features: np.ndarray
    units: list[tuple]
    fixed: list[tuple]
    direction: np.ndarray

    def run(self, dtype: str, native: bool) -> dict[str, list[np.ndarray]]:
        """Returns outputs, moments and gradients, in float64."""
        weights_dtype = "float64" if dtype == "float64" else "float32"
        features = tf.cast(self.features, dtype)
        units, fixed = tf.nest.map_structure(
            lambda x: tf.cast(x, weights_dtype), (self.units, self.fixed)
        )
        watched = [features, *tf.nest.flatten(units)]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            function = self.op if native else self.reference
            outputs, moments = function(features, units, EPSILON, fixed=fixed)
            loss = tf.cast(outputs, "float64") * self.direction
        assert outputs.dtype == dtype
        results = {
            "outputs": [outputs],
            "moments": [] if self.fixed else tf.nest.flatten(moments),
            "gradients": tape.gradient(loss, watched),
        }
        return tf.nest.map_structure(
            lambda x: tf.cast(x, "float64").numpy(), results
        )


def dense_block(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    growth_rates: tuple[int, ...],
    filters: int,
    fixed: bool = False,
) -> Call:
    """Draws a call of `dense_block`."""
    units, moments, width = [], [], shape[-1]
    for growth_rate in growth_rates:
        units.append(
            (
                *_norm(rng, width),
                _kernel(rng, 1, width, filters),
                *_norm(rng, filters),
                _kernel(rng, 3, filters, growth_rate),
            )
        )
        moments += [_moments(rng, width), _moments(rng, filters)]
        width += growth_rate
    return Call(
        training.dense_block,
        _dense_block,
        _features(rng, shape),
        units,
        moments if fixed else [],
        rng.normal(size=(*shape[:-1], width)),
    )


def deform_units(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    filters: tuple[int, ...],
    max_offset: float = 3.0,
    fixed: bool = False,
) -> Call:
    """Draws a call of `deform_units`; some of the offsets are clipped."""
    units, moments, width = [], [], shape[-1]
    for added in filters:
        units.append(
            (
                _kernel(rng, 3, width, 18),
                rng.normal(size=18),
                _kernel(rng, 3, width, added),
                *_norm(rng, added),
            )
        )
        moments.append(_moments(rng, added))
        width += added
    return Call(
        functools.partial(training.deform_units, max_offset=max_offset),
        functools.partial(_deform_units, max_offset=max_offset),
        rng.normal(size=shape),
        units,
        moments if fixed else [],
        rng.normal(size=(*shape[:-1], width)),
    )


def convolution(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    filters: int,
    kind: str = "3x3",
    norm: str | None = None,
    fixed: bool = False,
) -> Call:
    """Draws a call of `convolution`.

    Args:
        rng: the source of randomness.
        shape: of the features.
        filters: of the convolution.
        kind: `"1x1"`, `"3x3"` or `"transposed"`.
        norm: `"before"`, `"behind"` or `None`.
        fixed: whether the norm is given its moments.
    """
    batch, height, width, channels = shape
    options = {"norm_first": norm == "before"}
    if kind == "transposed":
        options["transposed"] = True
        kernel = np.moveaxis(_kernel(rng, 4, channels, filters), 2, 3)
        height, width = 2 * height, 2 * width
    else:
        kernel = _kernel(rng, int(kind[0]), channels, filters)
    normed = channels if norm == "before" else filters
    return Call(
        functools.partial(training.convolution, **options),
        functools.partial(_normed_convolution, **options),
        _features(rng, shape),
        [(kernel, *_norm(rng, normed)) if norm else (kernel,)],
        [_moments(rng, normed)] if norm and fixed else [],
        rng.normal(size=(batch, height, width, filters)),
    )


def context(
    rng: np.random.Generator, shape: tuple[int, ...], sizes: tuple[int, ...]
) -> Call:
    """Draws a call of `context`."""
    *outer, channels = shape
    units = [(_kernel(rng, 1, channels, 1), rng.normal(size=1)) for _ in sizes]
    return Call(
        functools.partial(_context_op, sizes=sizes),
        functools.partial(_context, sizes=sizes),
        _features(rng, shape),
        units,
        [],
        rng.normal(size=(*outer, channels + len(sizes))),
    )


def draw(seed: int) -> Call:
    """Draws a call of one of the ops, of any shape."""
    rng = np.random.default_rng(seed)
    batch = rng.integers(1, 4)
    size = rng.integers(1, rng.choice([2, 9, 70]), 2, endpoint=True)
    shape = (batch, *size, rng.integers(1, 40))
    added = tuple(rng.integers(1, 30, rng.integers(1, 4)))
    fixed = bool(rng.integers(2))
    kind = rng.integers(4)
    if kind == 0:
        return dense_block(rng, shape, added, rng.integers(1, 70), fixed)
    if kind == 1:
        return deform_units(rng, shape, added, fixed=fixed)
    if kind == 2:
        return context(rng, shape, added)
    side = rng.choice(["1x1", "3x3", "transposed"])
    norms = [None, "behind", *["before"] * (side != "transposed")]
    norm = norms[rng.integers(len(norms))]
    return convolution(rng, shape, rng.integers(1, 70), side, norm, fixed)


def _features(rng, shape):
    """Draws channels whose means and deviations differ widely."""
    channels = 1 + np.arange(shape[-1]) % 7
    return channels * (5 + rng.normal(size=shape))


def _kernel(rng, side, channels, filters):
    shape = (side, side, channels, filters)
    return rng.normal(size=shape) / (side * channels**0.5)


def _norm(rng, channels):
    return rng.uniform(0.5, 2, channels), rng.normal(size=channels)


def _moments(rng, channels):
    return rng.normal(size=channels), rng.uniform(0.5, 2, channels)


def _normed(x, gamma, beta, epsilon, fixed):
    mean, variance = fixed or tf.nn.moments(tf.cast(x, gamma.dtype), [0, 1, 2])
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    y = (tf.cast(x, gamma.dtype) - mean) * scale + beta
    return tf.nn.relu(tf.cast(y, x.dtype)), (mean, variance)


def _convolve(x, kernel):
    return tf.nn.conv2d(x, tf.cast(kernel, x.dtype), 1, "SAME")


def _normed_convolution(
    x, units, epsilon, fixed, norm_first=False, transposed=False
):
    [(kernel, *norm)] = units
    moments = []

    def normed(y):
        if not norm:
            return y
        y, both = _normed(y, *norm, epsilon, next(iter(fixed), None))
        moments.append(both)
        return y

    if norm_first:
        x = normed(x)
    if transposed:
        batch, height, width, _ = x.shape
        shape = (batch, 2 * height, 2 * width, kernel.shape[2])
        x = tf.nn.conv2d_transpose(x, tf.cast(kernel, x.dtype), shape, 2)
    else:
        x = _convolve(x, kernel)
    return (x if norm_first else normed(x)), moments


def _context_op(features, units, epsilon, fixed, sizes):
    return training.context(features, *zip(*units, strict=True), sizes), []


def _context(x, units, epsilon, fixed, sizes):
    """Windows and enlargement as matrices, one for each side of the image."""
    _, height, width, _ = x.shape
    maps = [x]
    for (kernel, bias), size in zip(units, sizes, strict=True):
        y = x
        for axis, side in enumerate((height, width)):
            matrix = tf.cast(_average_matrix(side, size), x.dtype)
            y = tf.einsum(("bhwc,nh->bnwc", "bhwc,nw->bhnc")[axis], y, matrix)
        y = _convolve(y, kernel) + tf.cast(bias, x.dtype)
        for axis, side in enumerate((height, width)):
            matrix = tf.cast(_enlarge_matrix(side, size), x.dtype)
            y = tf.einsum(("bnwc,hn->bhwc", "bhnc,wn->bhwc")[axis], y, matrix)
        maps.append(y)
    return tf.concat(maps, axis=-1), []


def _average_matrix(side, size):
    windows = np.arange(side) // size
    matrix = windows == np.arange(windows[-1] + 1)[:, None]
    return matrix / matrix.sum(axis=1, keepdims=True)


def _enlarge_matrix(side, size):
    """What `np.interp` between the centers of the windows makes of each."""
    count = -(-side // size)
    centers = (np.arange(count) + 0.5) * size - 0.5
    columns = [np.interp(np.arange(side), centers, e) for e in np.eye(count)]
    return np.stack(columns, axis=1)


def _dense_block(x, units, epsilon, fixed):
    moments = []
    fixed = iter(fixed)
    for gamma, beta, kernel, growth_gamma, growth_beta, growth_kernel in units:
        y, first = _normed(x, gamma, beta, epsilon, next(fixed, None))
        y = _convolve(y, kernel)
        y, second = _normed(
            y, growth_gamma, growth_beta, epsilon, next(fixed, None)
        )
        x = tf.concat([x, _convolve(y, growth_kernel)], axis=-1)
        moments += [first, second]
    return x, moments


def _deform_units(x, units, epsilon, max_offset, fixed):
    moments = []
    fixed = iter(fixed)
    for offset_kernel, offset_bias, kernel, gamma, beta in units:
        offset = _convolve(x, offset_kernel) + tf.cast(offset_bias, x.dtype)
        offset = tf.clip_by_value(offset, -max_offset, max_offset)
        y = deformable_conv2d(x, kernel, offset, implementation="gather")
        y, both = _normed(y, gamma, beta, epsilon, next(fixed, None))
        x = tf.concat([x, y], axis=-1)
        moments.append(both)
    return x, moments
