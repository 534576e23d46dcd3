"""The CUDA kernels, compiled for the CPU with stand-ins for CUDA."""

import ctypes
import pathlib
import shutil
import subprocess

import ml_dtypes
import numpy as np
import pytest

from tests.custom_ops.kernel_cases import (
    GEOMETRIES,
    LANES,
    TYPES,
    Case,
    Guarded,
    make_geometry,
)

OPS = pathlib.Path(__file__).parents[2] / "custom_ops"
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Compiles the kernels so that undefined behavior traps."""
    path = tmp_path_factory.mktemp("shim") / "shim.so"
    flags = (
        *("-std=c++17", "-O2", "-fPIC", "-shared", "-fno-strict-aliasing"),
        *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"),
        *("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"),
    )
    folder = OPS / "tests" / "cuda_on_host"
    includes = f"-I{folder}", f"-I{OPS / 'src'}"
    subprocess.run(
        ["g++", *flags, *includes, folder / "entry.cc", "-o", path],
        check=True,
    )
    library = ctypes.CDLL(str(path))
    for function in (library.forward, library.gradient, library.narrow):
        function.restype = ctypes.c_char_p
    library.count_vector_accesses.restype = ctypes.c_int64
    return library


both_ops = pytest.mark.parametrize(
    "sum_op", [True, False], ids=["sum", "columns"]
)
all_types = pytest.mark.parametrize("dtype", TYPES)


@pytest.mark.slow
@both_ops
@all_types
@pytest.mark.parametrize("mask", [False, True], ids=["plain", "mask"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_vectors(library, sum_op, dtype, mask, name):
    library.count_vector_accesses()
    case = Case(GEOMETRIES[name], 2 * LANES[dtype], dtype, sum_op, mask)
    case.check_forward(library)
    assert library.count_vector_accesses() > 0
    case.check_gradient(library)
    assert library.count_vector_accesses() > 0


@pytest.mark.slow
@both_ops
@all_types
@pytest.mark.parametrize(("depth", "shift"), [(1, 0), (3, 0), (12, 1)], ids=str)
def test_scalars(library, sum_op, dtype, depth, shift):
    # A depth of 12 would do for vectors of float32, if it were aligned.
    library.count_vector_accesses()
    case = Case(GEOMETRIES["groups"], depth, dtype, sum_op, shift=shift)
    case.check_forward(library)
    case.check_gradient(library)
    assert library.count_vector_accesses() == 0


@both_ops
@all_types
@pytest.mark.parametrize("vectors", [1, 8, 9, 20])
def test_teams(library, sum_op, dtype, vectors):
    """Teams have one thread, or fewer threads than there are vectors."""
    geometry = make_geometry((1, 3, 2), (2, 2))
    case = Case(geometry, vectors * LANES[dtype], dtype, sum_op)
    case.check_gradient(library)


@both_ops
@all_types
def test_offsets_outside(library, sum_op, dtype):
    case = Case(GEOMETRIES["same"], 8, dtype, sum_op)
    far = np.array([np.inf, 1e30, 2.0**40, 2.0**31, 2.0**29, 1e7, 5, 1e-9])
    wild = np.concatenate([[np.nan], far, -far]).astype("float32")
    chosen = case.random.random(case.offset.shape) < 0.5
    case.offset[chosen] = case.random.choice(wild, chosen.sum())
    case.check_forward(library)
    case.check_gradient(library)


@both_ops
def test_whole_offsets(library, sum_op):
    """Training starts like this; half of the samples lie on the border."""
    case = Case(GEOMETRIES["same"], 4, "float32", sum_op)
    case.offset = case.random.integers(-3, 4, case.offset.shape)
    case.offset = case.offset.astype("float32")
    case.check_forward(library)
    case.check_gradient(library)


@both_ops
def test_wide_image_keeps_fractions(library, sum_op):
    geometry = make_geometry((1, 1, 60000), (1, 1), strides=(1, 20000))
    geometry.pad_left = -19999
    case = Case(geometry, 4, "float32", sum_op, mask=False)
    case.offset = case.offset % 1 * 0.01
    case.offset[..., 0] = 0
    case.map[:] = np.arange(60000)[:, None, None, None] % 2
    case.check_forward(library)


@pytest.mark.slow
@all_types
@pytest.mark.parametrize(
    ("first_row", "rows"), [(0, 1), (4, 5), (11, 1), (0, 12)]
)
def test_some_rows(library, dtype, first_row, rows):
    geometry = make_geometry((2, 6, 4), (3, 3), groups=2)
    geometry.first_row, geometry.rows = first_row, rows
    case = Case(geometry, 8, dtype, sum_op=False)
    case.check_forward(library)
    case.check_gradient(library)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow(library, dtype):
    numpy_type = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    random = np.random.default_rng(0)
    values = np.concatenate(
        [
            random.normal(size=3000) * 10.0 ** random.uniform(-9, 4, 3000),
            [0, -0.0, np.inf, -np.inf, 65504, 1 + 2**-11, 1 + 3 * 2**-11],
            [1 + 2**-9, 1 + 3 * 2**-9, 2**-25, 3 * 2**-25],
        ]
    ).astype("float32")
    inputs = Guarded(values, "float32")
    outputs = Guarded(np.zeros(len(values)), numpy_type)
    error = library.narrow(
        *(TYPES[dtype], inputs.pointer, outputs.pointer),
        ctypes.c_int64(len(values)),
    )
    assert error is None
    np.testing.assert_array_equal(
        outputs.result(), values.astype(numpy_type).astype("float64")
    )


@both_ops
def test_indices_beyond_32_bits(library, sum_op):
    """The map has more than 2^31 elements; untouched memory costs nothing.

    Only the neighborhood of the last pixel, and its image, are touched.
    """
    pixels = (1 << 31) // 8 // 1024 + 1
    geometry = make_geometry(
        (1, pixels, 1024), (1, 1), strides=(pixels - 1, 1023)
    )
    try:
        map_ = np.zeros((pixels, 1024, 8), "float16")
        map_gradient = np.zeros(map_.shape, "float32")
    except MemoryError:
        pytest.skip("needs 13 GB of address space")
    map_[-1, -1] = np.arange(1, 9)
    assert geometry.out_height == geometry.out_width == 2
    offset = Guarded(np.zeros((2, 2, 2)), "float32")
    outputs = Guarded(np.full((2, 2, 8), 77), "float16")
    arguments = (TYPES["float16"], sum_op, ctypes.byref(geometry))
    arguments += (ctypes.c_int64(8),)
    error = library.forward(
        *(*arguments, ctypes.c_void_p(map_.ctypes.data), offset.pointer),
        *(None, outputs.pointer),
    )
    assert error is None
    expected = np.zeros((2, 2, 8))
    expected[1, 1] = np.arange(1, 9)
    np.testing.assert_array_equal(outputs.result(), expected)

    gradient = Guarded(np.arange(32).reshape(2, 2, 8), "float16")
    offset_gradient = Guarded(np.zeros((2, 2, 2)), "float32")
    error = library.gradient(
        *(*arguments, gradient.pointer, ctypes.c_void_p(map_.ctypes.data)),
        *(offset.pointer, None, ctypes.c_void_p(map_gradient.ctypes.data)),
        *(offset_gradient.pointer, None),
    )
    assert error is None
    np.testing.assert_array_equal(map_gradient[-1, -1], np.arange(24, 32))
    np.testing.assert_array_equal(map_gradient[0, -1], np.arange(8, 16))
