"""The op beside `tfa.image.resampler`, an independent bilinear sampler.

tensorflow-addons runs in an environment of its own (`make test-addons`). It
only samples: the regular grid, the product with the kernel and the chain rule
through that product are NumPy here.

Its border rule is the op's, between -1 and 0 and between size - 1 and size
too: zero unless -1 < x < width and -1 < y < height, and inside each of the
four corners counts if it is a pixel. Only the derivative by a coordinate of
exactly -1 differs: tensorflow-addons has 0 there, the op has the
slope towards the image. Drawn offsets do not hit whole coordinates, where
derivatives are one-sided; `test_whole_coordinates` has them all.
"""

import os
import pathlib
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from keras_radn.ops import deformable_conv2d, library

PYTHON = "KERAS_RADN_ADDONS_PYTHON"
SCRIPT = pathlib.Path(__file__).with_name("resample.py")
TOLERANCE = 1e-5  # of the largest magnitude in the array
BATCH = 2

# (height, width), channels, filters, kernel size, strides, dilation rate,
# padding, standard deviation of the offsets in pixels. The op's order of
# computation depends on whether there are fewer filters than channels.
CASES = {
    "pixel": ((1, 1), 1, 1, 1, (1, 1), (1, 1), "same", 0.3),
    "pixel3x3": ((1, 1), 8, 2, 3, (1, 1), (1, 1), "same", 0.5),
    "row": ((1, 9), 3, 5, 3, (1, 2), (1, 1), "same", 1.0),
    "column": ((7, 1), 5, 3, 1, (2, 1), (1, 1), "valid", 0.5),
    "far": ((2, 3), 16, 16, 3, (1, 1), (1, 1), "same", 5.0),
    "valid": ((5, 6), 2, 7, 3, (1, 1), (1, 1), "valid", 2.0),
    "strided": ((8, 8), 12, 4, 3, (2, 2), (1, 1), "same", 1.0),
    "dilated": ((9, 13), 7, 3, 3, (1, 1), (2, 3), "same", 0.3),
    "wide1x1": ((11, 10), 40, 6, 1, (1, 1), (1, 1), "same", 3.0),
    "mixed": ((12, 17), 3, 9, 3, (2, 3), (2, 1), "valid", 5.0),
    "deep": ((15, 20), 40, 10, 3, (1, 1), (1, 1), "same", 5.0),
    "large": ((15, 20), 10, 24, 3, (3, 2), (2, 2), "same", 2.0),
}
WHOLE = ((4, 5), 3, 2, 3, (1, 1), (1, 1), "same", 0.0)


class Case:
    """A call of the op, and the same call as sampling and a product.

    `targets` are sampling points (y, x), repeated as often as needed; without
    them the offsets are drawn.
    """

    def __init__(self, seed, arguments, targets=None):
        size, channels, filters, k, strides, dilation, padding, spread = (
            arguments
        )
        self.size = size
        self.options = {
            "strides": strides,
            "padding": padding,
            "dilation_rate": dilation,
        }
        ys, xs = (
            positions(*axis, padding)
            for axis in zip(size, (k, k), strides, dilation, strict=True)
        )
        self.out = len(ys), len(xs)
        grid = np.empty([*self.out, k, k, 2], "float32")
        grid[..., 0] = ys[:, None, :, None]
        grid[..., 1] = xs[None, :, None, :]

        random = np.random.default_rng(seed)

        def normal(*shape):
            return random.normal(size=shape).astype("float32")

        self.inputs = normal(BATCH, *size, channels)
        self.kernel = normal(k, k, channels, filters)
        self.upstream = normal(BATCH, *self.out, filters)
        offset = np.float32(spread) * normal(BATCH, *grid.shape)
        # Odd multiples of 2**-17: never whole, and their sum with the grid,
        # which the sampler takes, is exact in float32.
        offset = (np.floor(offset * 2**16) + np.float32(0.5)) / 2**16
        if targets is not None:
            offset = np.resize(targets, offset.shape).astype("float32") - grid
        assert offset.dtype == np.float32
        self.offset = offset.reshape(BATCH, *self.out, 2 * k * k)
        self.points = (grid + offset).reshape(BATCH, -1, 2)
        self.matrix = self.kernel.astype("float64").reshape(-1, filters)

    def sampling(self):
        """Returns the samples that the other environment has to take."""
        upstream = self.upstream @ self.matrix.T
        upstream = upstream.reshape(*self.points.shape[:2], -1)
        return {
            "data": self.inputs,
            "warp": self.points[..., ::-1],
            "upstream": upstream.astype("float32"),
        }

    def expected(self, samples, data_gradient, warp_gradient):
        """Outputs and gradients that follow from its answer."""
        columns = samples.astype("float64")
        columns = columns.reshape(BATCH, *self.out, len(self.matrix))
        kernel_gradient = np.einsum("bijk,bijf->kf", columns, self.upstream)
        return {
            "outputs": columns @ self.matrix,
            "inputs": data_gradient,
            "kernel": kernel_gradient.reshape(self.kernel.shape),
            "offset": warp_gradient[..., ::-1].reshape(self.offset.shape),
        }

    def computed(self, implementation):
        """Returns the outputs and gradients of the op."""
        arrays = [self.inputs, self.kernel, self.offset]
        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = deformable_conv2d(
                *tensors, **self.options, implementation=implementation
            )
        gradients = tape.gradient(
            outputs, tensors, output_gradients=tf.constant(self.upstream)
        )
        names = ["outputs", "inputs", "kernel", "offset"]
        values = [tensor.numpy() for tensor in (outputs, *gradients)]
        return dict(zip(names, values, strict=True))


def positions(size, kernel, stride, dilation, padding):
    """Pixels under the taps of a convolution: (outputs, taps)."""
    extent = (kernel - 1) * dilation + 1
    if padding == "same":
        out = -(-size // stride)
        before = max((out - 1) * stride + extent - size, 0) // 2
    else:
        out, before = (size - extent) // stride + 1, 0
    return (
        stride * np.arange(out)[:, None] - before + dilation * np.arange(kernel)
    )


def whole_coordinates(height, width):
    """All points (y, x) on pixels and up to two pixels around the image."""
    return np.argwhere(np.ones([height + 4, width + 4])) - 2


@pytest.fixture(scope="module")
def cases():
    drawn = {
        name: Case(seed, arguments)
        for seed, (name, arguments) in enumerate(CASES.items())
    }
    whole = Case(len(drawn), WHOLE, whole_coordinates(*WHOLE[0]))
    return {**drawn, "whole": whole}


@pytest.fixture(scope="module")
def expected(cases, tmp_path_factory):
    """Returns the outputs and gradients that follow from its answer."""
    python = os.environ.get(PYTHON)
    if not python:
        pytest.fail(
            f"{PYTHON} must be the path of a Python that has "
            "tensorflow-addons; `make test-addons` sets it.",
            pytrace=False,
        )
    folder = tmp_path_factory.mktemp("addons")
    source, target = folder / "cases.npz", folder / "results.npz"
    arrays = {
        f"{name}/{key}": array
        for name, case in cases.items()
        for key, array in case.sampling().items()
    }
    np.savez(source, **arrays)
    # -I: nothing of this environment gets into the other one.
    process = subprocess.run(
        [python, "-I", SCRIPT, source, target], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    keys = ["samples", "data_gradient", "warp_gradient"]
    with np.load(target) as results:
        return {
            name: case.expected(*(results[f"{name}/{key}"] for key in keys))
            for name, case in cases.items()
        }


@pytest.fixture(params=["gather", "native"])
def implementation(request, monkeypatch):
    # It would come before the argument.
    monkeypatch.delenv(library.VARIABLE, raising=False)
    if request.param == "native" and library.load().ops is None:
        pytest.skip(f"The compiled library {library.load().problem}")
    return request.param


def check_close(computed, expected):
    assert computed.shape == expected.shape
    largest = np.abs(expected).max()
    assert largest > 0
    np.testing.assert_allclose(
        computed, expected, rtol=0, atol=TOLERANCE * largest
    )


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients(name, implementation, cases, expected):
    computed = cases[name].computed(implementation)
    for key in ("outputs", "inputs", "kernel", "offset"):
        check_close(computed[key], expected[name][key])


def test_whole_coordinates(implementation, cases, expected):
    computed = cases["whole"].computed(implementation)
    for key in ("outputs", "inputs", "kernel"):
        check_close(computed[key], expected["whole"][key])
    points = cases["whole"].points
    # The derivatives at -1 differ.
    same = (points != -1).all(axis=-1)
    check_close(
        computed["offset"].reshape(points.shape)[same],
        expected["whole"]["offset"].reshape(points.shape)[same],
    )


def test_cases_reach_every_side_of_the_border(cases):
    """The cases exercise the border rules on every side of the image."""
    points = np.concatenate(
        [
            np.stack([p, np.broadcast_to(case.size, p.shape)], axis=-1)
            for name, case in cases.items()
            if name != "whole"
            for p in [case.points.reshape(-1, 2)]
        ]
    )
    position, size = points[..., 0], points[..., 1]
    assert (position != np.floor(position)).all()
    regions = [
        position < -1,
        (position > -1) & (position < 0),
        (position > 0) & (position < size - 1),
        (position > size - 1) & (position < size),
        position > size,
    ]
    for region in regions:
        assert (region.sum(axis=0) > 100).all()
