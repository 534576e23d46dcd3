import numpy as np
import pytest
from skimage import util

from keras_radn.pictures.pixels import check_image, in_depth, white


@pytest.mark.parametrize(
    ("dtype", "level"),
    [
        ("uint8", 2**8 - 1),
        ("uint16", 2**16 - 1),
        (">u2", 2**16 - 1),
        ("float16", 1),
        ("float64", 1),
    ],
)
def test_white(dtype, level):
    assert white(dtype) == level


@pytest.mark.parametrize("dtype", ["int16", "uint32", "bool", "complex64"])
def test_a_dtype_without_white(dtype):
    with pytest.raises(ValueError, match=f"Received: dtype {dtype}"):
        white(dtype)
    with pytest.raises(ValueError, match=f"Received: dtype {dtype}"):
        check_image(np.zeros((4, 5), dtype))


@pytest.mark.parametrize(
    ("dtype", "convert"),
    [("uint8", util.img_as_ubyte), ("uint16", util.img_as_uint)],
)
@pytest.mark.filterwarnings("ignore:.*precision loss:UserWarning")
def test_depth_equals_scikit_images(dtype, convert, rng):
    floats = rng.random((9, 7, 3)).astype("float32")
    np.testing.assert_array_equal(in_depth(floats, dtype), convert(floats))
    same = in_depth(floats, dtype)
    assert in_depth(same, dtype) is same


def test_depths_of_integers():
    """A factor of 257 takes white to white."""
    every = np.arange(256, dtype=np.uint8)
    deep = in_depth(every, "uint16")
    np.testing.assert_array_equal(deep, every * 257.0)
    np.testing.assert_array_equal(in_depth(deep, "uint8"), every)
