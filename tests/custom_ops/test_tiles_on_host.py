"""Products in AMX's tiles, compiled for any processor with stand-ins."""

import ctypes
import pathlib
import shutil
import subprocess

import ml_dtypes
import numpy as np
import pytest

OPS = pathlib.Path(__file__).parents[2] / "custom_ops"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiles") / "tiles.so"
    flags = (
        *("-std=c++17", "-fPIC", "-shared", "-fno-strict-aliasing"),
        *("-Wall", "-Wextra", "-Werror", "-Wno-psabi"),
        *("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"),
        # As if the processor had all of it.
        *("-D__AVX512F__", "-D__AVX512BF16__", "-D__AMX_BF16__"),
        "-DKERAS_RADN_ISA=amx",
    )
    folder = OPS / "tests" / "tiles_on_host"
    subprocess.run(
        [
            *("g++", *flags, f"-I{folder}", f"-I{OPS / 'src'}"),
            *(folder / "entry.cc", "-o", path),
        ],
        check=True,
    )
    library = ctypes.CDLL(str(path))
    library.count_tile_products.restype = ctypes.c_int64
    return library


def pointer(array):
    return None if array is None else ctypes.c_void_p(array.ctypes.data)


def integers(rng, *shape, dtype=ml_dtypes.bfloat16):
    """Of which sums are exact in float32, in whatever order."""
    return rng.integers(-4, 5, shape).astype(dtype)


def windows(image, size):
    """The pixels that a convolution sees: (height, width, size, size, ...)."""
    border = size // 2
    padded = np.pad(image, [(border, border), (border, border), (0, 0)])
    view = np.lib.stride_tricks.sliding_window_view(
        padded, (size, size), (0, 1)
    )
    return np.moveaxis(view, 2, -1)


# Fewer pixels than a tile has rows, and more than two tiles have; depths that
# are multiples of a tile's and others; groups of 64, 32, 16 and 8 filters.
@pytest.mark.parametrize("width", [1, 5, 16, 17, 40])
@pytest.mark.parametrize(
    ("channels", "filters"),
    [(1, 1), (32, 16), (33, 64), (66, 24), (40, 100), (7, 33)],
)
@pytest.mark.parametrize("size", [1, 3])
def test_convolution(library, rng, size, channels, filters, width):
    height = 3
    image = integers(rng, height, width, channels)
    kernel = integers(rng, size, size, channels, filters, dtype="float32")
    bias = integers(rng, filters, dtype="float32")
    scale, offset = integers(rng, 2, channels, dtype="float32")
    if channels == 32:
        scale = offset = None
    relu = channels % 2 == 1
    outputs = np.full((height, width, filters), np.nan, "float32")
    before = library.count_tile_products()
    library.convolve(
        *map(ctypes.c_int64, (size, channels, filters)),
        *map(pointer, (kernel, bias, scale, offset)),
        ctypes.c_bool(relu),
        *map(ctypes.c_int64, (height, width)),
        *map(pointer, (image, outputs)),
    )
    read = image.astype(int)
    if scale is not None:
        read = np.maximum(read * scale.astype(int) + offset.astype(int), 0)
    expected = np.einsum(
        "yxijc,ijcf->yxf", windows(read, size), kernel.astype(int)
    )
    expected += bias.astype(int)
    if relu:
        expected = np.maximum(expected, 0)
    np.testing.assert_array_equal(outputs, expected)
    # Up to eight filters are half a vector, for which tiles are too large.
    assert (library.count_tile_products() > before) == (filters > 8)


@pytest.mark.parametrize("shape", [(2, 2), (4, 40), (6, 66)])
@pytest.mark.parametrize(("channels", "filters"), [(5, 16), (16, 64)])
def test_gradient_of_a_deconvolution(library, rng, channels, filters, shape):
    """It is a convolution of 4x4 with stride 2."""
    height, width = shape
    image = integers(rng, height, width, channels)
    kernel = integers(rng, 4, 4, channels, filters, dtype="float32")
    outputs = np.full((height // 2, width // 2, filters), np.nan, "float32")
    before = library.count_tile_products()
    library.convolve(
        *map(ctypes.c_int64, (4, channels, filters)),
        *map(pointer, (kernel, np.zeros(filters, "float32"), None, None)),
        ctypes.c_bool(False),
        *map(ctypes.c_int64, (height, width)),
        *map(pointer, (image, outputs)),
    )
    padded = np.pad(image.astype(int), [(1, 1), (1, 1), (0, 0)])
    seen = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), (0, 1))
    expected = np.einsum("yxcij,ijcf->yxf", seen[::2, ::2], kernel.astype(int))
    np.testing.assert_array_equal(outputs, expected)
    assert library.count_tile_products() > before


@pytest.mark.parametrize("shape", [(1, 1), (2, 20), (5, 33)])
@pytest.mark.parametrize(("channels", "filters"), [(5, 16), (64, 48)])
def test_deconvolution(library, rng, channels, filters, shape):
    height, width = shape
    image = integers(rng, height, width, channels)
    kernel = integers(rng, 4, 4, filters, channels, dtype="float32")
    bias = np.zeros(filters, "float32")
    outputs = np.zeros((2 * height, 2 * width, filters), ml_dtypes.bfloat16)
    before = library.count_tile_products()
    library.deconvolve(
        *map(ctypes.c_int64, (channels, filters)),
        *map(pointer, (kernel, bias)),
        *map(ctypes.c_int64, (height, width)),
        *map(pointer, (image, outputs)),
    )
    # Each pixel adds a patch of 4x4, the patches two pixels apart.
    patches = np.einsum(
        "yxc,ijfc->yxijf", image.astype(int), kernel.astype(int)
    )
    expected = np.zeros((2 * height + 2, 2 * width + 2, filters), int)
    for y, x in np.ndindex(height, width):
        expected[2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += patches[y, x]
    expected = expected[1:-1, 1:-1]
    np.testing.assert_array_equal(
        outputs.astype(float), expected.astype(ml_dtypes.bfloat16).astype(float)
    )
    assert library.count_tile_products() > before


@pytest.mark.parametrize(
    ("positions", "depth", "channels"),
    [(1, 16, 16), (37, 20, 50), (64, 32, 64)],
)
def test_attention(library, rng, positions, depth, channels):
    def drawn(columns, scale):
        values = scale * rng.standard_normal((positions, columns))
        return values.astype(ml_dtypes.bfloat16)

    queries, keys = drawn(depth, 0.5), drawn(depth, 0.5)
    values, features = drawn(channels, 1), drawn(channels, 1)
    outputs = np.zeros((positions, channels), ml_dtypes.bfloat16)
    before = library.count_tile_products()
    library.attend(
        *map(ctypes.c_int64, (positions, depth, channels)),
        *map(pointer, (queries, keys, values, features, outputs)),
    )
    queries, keys, values, features = (
        array.astype(float) for array in (queries, keys, values, features)
    )
    weights = np.exp(queries @ keys.T)
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        outputs.astype(float),
        features + weights @ values,
        atol=2e-2,  # of bfloat16, in the weights and in the result
    )
    assert library.count_tile_products() > before
