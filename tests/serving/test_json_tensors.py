import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from keras_radn.serving.errors import ServingError
from keras_radn.serving.json_answers import write_outputs
from keras_radn.serving.json_requests import read_inputs
from keras_radn.serving.json_text import parse_object


def info(dtype):
    return meta_graph_pb2.TensorInfo(dtype=tf.as_dtype(dtype).as_datatype_enum)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "int64", "uint64", "float32", "float64", "bool"]
)
def test_tensors_come_back(rng, dtype):
    """Python's JSON converts them in both directions."""
    array = (rng.normal(0, 50, (2, 3, 1)) % 200).astype(dtype)
    body = json.dumps({"instances": array.tolist()}).encode()
    inputs, row = read_inputs(parse_object(body), {"x": info(dtype)})
    assert (inputs["x"].dtype, row) == (np.dtype(dtype), True)
    # As TF-Serving's, the parser rounds doubles in the last place.
    rtol = 1e-15 if dtype == "float64" else 0
    np.testing.assert_allclose(inputs["x"], array, rtol=rtol)
    for row in (True, False):
        (values,) = json.loads(write_outputs({"y": array}, row)).values()
        np.testing.assert_array_equal(np.array(values, dtype), array)


def test_empty_tensors():
    inputs, _ = read_inputs({"inputs": [[], []]}, {"x": info("int32")})
    assert inputs["x"].shape == (2, 0)
    answer = write_outputs({"y": np.zeros((2, 0, 3), np.float32)}, True)
    assert json.loads(answer) == {"predictions": [[], []]}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_decimals_are_the_shortest_of_the_type(dtype):
    values = np.array([0.1, 1 / 3, 3, 1e-7], dtype)
    plain = json.loads(write_outputs({"y": values}, True))["predictions"]
    values[2] = np.nan
    with_nan = json.loads(write_outputs({"y": values}, True))["predictions"]
    wanted = np.float32 if dtype == "float16" else values.dtype.type
    assert plain[:2] == [float(str(wanted(v))) for v in values[:2]]
    assert with_nan[:2] == plain[:2]
    assert np.isnan(with_nan[2])


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("int32", 2**31),
        ("int64", 2**63),
        ("int64", 1.5),
        ("float32", None),
        ("float32", {"b64": "YQ=="}),
        ("string", 1),
        ("string", {"b64": 1}),
        ("bool", 0),
        ("complex64", 1),
    ],
)
def test_values_of_another_type(dtype, value):
    with pytest.raises(ServingError, match=r"JSON [vV]alue"):
        read_inputs({"inputs": [value]}, {"x": info(dtype)})


@pytest.mark.parametrize("value", [[1, [2]], [[1], 2], [[1, 2], [3]], [[], 1]])
def test_lists_that_are_no_tensor(value):
    with pytest.raises(ServingError, match=r"list|level"):
        read_inputs({"inputs": value}, {"x": info("float32")})


@pytest.mark.parametrize("text", ["YWI=", "YWI", " Y W\nI= "])
def test_base64_as_lenient_as_abseil(text):
    inputs, _ = read_inputs({"inputs": {"b64": text}}, {"x": info("string")})
    assert inputs["x"][()] == b"ab"


@pytest.mark.parametrize("row", [True, False])
def test_no_outputs(row):
    with pytest.raises(ServingError, match="Cannot convert empty tensor map"):
        write_outputs({}, row)


def test_batches_of_different_sizes():
    """The first batch may be empty."""
    for sizes in ((0, 2), (2, 0), (1, 2)):
        outputs = dict(zip("ab", map(np.zeros, sizes), strict=True))
        with pytest.raises(ServingError, match="inconsistent batch size"):
            write_outputs(outputs, True)
    answer = write_outputs({"a": np.zeros(0), "b": np.zeros((0, 2))}, True)
    assert json.loads(answer) == {"predictions": []}
