"""TF-Serving's JSON of answers, as its util/json_tensor.cc writes it."""

import base64
import json
from collections.abc import Callable, Mapping

import numpy as np
import orjson
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, regression_pb2

from keras_radn.serving.errors import invalid
from keras_radn.serving.json_requests import type_name

_WRITABLE = {
    *(tf.int8, tf.uint8, tf.int16, tf.uint16, tf.int32, tf.uint32),
    *(tf.int64, tf.uint64, tf.float16, tf.float32, tf.float64),
    *(tf.bool, tf.string),
}


def write_outputs(outputs: Mapping[str, np.ndarray], row_format: bool) -> bytes:
    """The JSON of a response.

    Args:
        outputs: an array per output.
        row_format: whether the request had `instances`.

    Raises:
        ServingError: a tensor has no place in the format.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    # orjson writes null for NaN and infinity; json is slow.
    dump = _dump_finite if all(map(_is_finite, outputs.values())) else _dump
    values = {name: _writable(name, a) for name, a in outputs.items()}
    if not row_format:
        if len(values) == 1:
            (values,) = values.values()
        return dump({"outputs": values})
    batch = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch is not None and len(array) != batch:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: "
                f"{len(array)} expecting: {batch}"
            )
        batch = len(array)
    if len(values) == 1:
        (rows,) = values.values()
    else:
        rows = [
            dict(zip(values, row, strict=True))
            for row in zip(*values.values(), strict=True)
        ]
    return dump({"predictions": rows})


def write_classifications(
    result: classification_pb2.ClassificationResult,
) -> bytes:
    """The JSON of a classification: label and score of each example's classes.

    Raises:
        ServingError: there is no example.
    """
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    rows = [
        [[c.label, _decimal(c.score)] for c in row.classes]
        for row in result.classifications
    ]
    return _dump({"results": rows})


def write_regressions(result: regression_pb2.RegressionResult) -> bytes:
    """The JSON of a regression: the value of each example.

    Raises:
        ServingError: there is no example.
    """
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    rows = [_decimal(row.value) for row in result.regressions]
    return _dump({"results": rows})


def _decimal(value):
    """The number with the shortest decimals that give the float32."""
    return float(str(np.float32(value)))


def _is_finite(array):
    return array.dtype.kind != "f" or np.isfinite(array).all()


def _writable(name, array):
    """What both writers take for an output."""
    dtype = tf.as_dtype(array.dtype)
    if dtype not in _WRITABLE:
        raise invalid(
            "Failed to write JSON value for tensor type: "
            f"{type_name(dtype)}, of the output {name}"
        )
    if dtype == tf.string:
        write = _write_bytes if name.endswith("_bytes") else _write_text
        return _nested(write, array.tolist())
    if dtype == tf.float16:
        array = array.astype(np.float32)
    # orjson takes scalars and contiguous arrays.
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _nested(write: Callable, value):
    if isinstance(value, list):
        return [_nested(write, item) for item in value]
    return write(value)


def _write_bytes(value):
    return {"b64": base64.b64encode(value).decode()}


def _write_text(value):
    return value.decode(errors="replace")


def _dump_finite(value):
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _dump(value):
    return json.dumps(value, default=_plain).encode()


def _plain(array):
    # The shortest decimals of float32, which json then repeats.
    if array.dtype.kind == "f":
        array = array.astype(str).astype(np.float64)
    return array.tolist()
