"""TF-Serving's JSON of requests, as its util/json_tensor.cc reads it."""

import itertools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from grpc import StatusCode
from tensorflow.core.protobuf import meta_graph_pb2

from keras_radn.serving.errors import ServingError, invalid
from keras_radn.serving.json_text import (
    decode_base64,
    is_base64,
    json_type,
    quote,
    signature_name,
)

_TensorInfos = Mapping[str, meta_graph_pb2.TensorInfo]
_INTEGERS = {
    tf.int8,
    tf.uint8,
    tf.int16,
    tf.uint16,
    tf.int32,
    tf.uint32,
    tf.int64,
    tf.uint64,
}
_FLOATS = {tf.float32, tf.float64}
_MAX_RANK = 64  # of NumPy's arrays


def read_inputs(
    request: dict, infos: _TensorInfos
) -> tuple[dict[str, np.ndarray], bool]:
    """The input tensors of a request to predict.

    Args:
        request: with the key `instances` (row format) or `inputs` (columnar).
        infos: what the signature knows of its inputs.

    Returns:
        An array per input, and whether the format is the row format.

    Raises:
        ServingError: the request does not fit.
    """
    if not infos:
        name = signature_name(request) or "DEFAULT"
        raise invalid(f"Failed to get input map for signature: {name}")
    if "instances" in request and "inputs" in request:
        raise invalid(
            f"JSON Value: {quote(request)} Not formatted correctly expecting "
            "only one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in request:
        return _read_instances(request["instances"], infos), True
    if "inputs" in request:
        return _read_columns(request["inputs"], infos), False
    raise invalid("Missing 'inputs' or 'instances' key")


def type_name(dtype: tf.DType) -> str:
    """The name in TensorFlow's C++: "float", where Python says "float32"."""
    return {"float32": "float", "float64": "double", "float16": "half"}.get(
        dtype.name, dtype.name
    )


def _read_instances(instances, infos):
    if not isinstance(instances, list):
        raise invalid(
            f"JSON Value: {quote(instances)} Expecting 'instances' to be an "
            "list/array"
        )
    if not instances:
        raise invalid("JSON Value: [] No values in 'instances' array")
    named = _is_object(instances[0])
    if not named and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as "
            "multiple input tensors required as per tensorinfo_map"
        )
    for i, item in enumerate(instances):
        if _is_object(item) != named:
            raise invalid(
                f"Expecting object but got list at item {i} of input list"
                if named
                else f"Expecting value/list but got object at item {i} of "
                "input list"
            )
        if named:
            _check_keys(i, item, infos)
    if named:
        columns = {name: [item[name] for item in instances] for name in infos}
    else:
        columns = {next(iter(infos)): instances}
    return {
        name: _decode_rows(name if named else None, column, infos[name])
        for name, column in columns.items()
    }


def _check_keys(i, item, infos):
    for name in sorted(item.keys() - set(infos)):
        raise _item_error(
            i, name, f"JSON object: does not have named input: {name}"
        )
    if len(item) < len(infos):
        raise invalid(
            f"Failed to process element: {i} of 'instances' list. JSON "
            f"object: {quote(item)} keys must be equal to: "
            f"{','.join(sorted(infos))}"
        )


def _decode_rows(name, rows, info):
    """The array of a batch, whose elements all have one shape."""
    try:
        return _decode(rows, info)
    except ServingError as error:
        if error.code != StatusCode.INVALID_ARGUMENT:
            raise
        _explain(name, rows, info)
        raise


def _explain(name, rows, info):
    """Raises the error of the first element that does not fit."""
    wanted = None
    for i, row in enumerate(rows):
        try:
            array = _decode(row, info)
        except ServingError as error:
            raise _item_error(i, name, error.message) from None
        wanted = array if wanted is None else wanted
        if array.size != wanted.size:
            raise _item_error(
                i,
                name,
                f"Expecting tensor size: {wanted.size} but got: {array.size}",
            )
        if array.shape != wanted.shape:
            raise _item_error(
                i,
                name,
                f"Expecting shape {_shape(wanted)} but got: {_shape(array)}",
            )


def _item_error(i, name, message):
    key = f" key: {name}" if name is not None else ""
    return invalid(
        f"Failed to process element: {i}{key} of 'instances' list. Error: "
        f"INVALID_ARGUMENT: {message}"
    )


def _shape(array):
    return f"[{','.join(map(str, array.shape))}]"


def _read_columns(inputs, infos):
    if not _is_object(inputs):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as "
                "multiple input tensors required as per tensorinfo_map"
            )
        inputs = {next(iter(infos)): inputs}
    for name in infos:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _decode(inputs[name], info) for name, info in infos.items()}


def _is_object(value):
    return isinstance(value, dict) and not is_base64(value)


def _decode(value, info):
    """The array of a nested list, whose first elements tell the shape."""
    dtype = tf.as_dtype(info.dtype)
    shape = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    if len(shape) > _MAX_RANK:
        raise invalid(
            f"A tensor may have {_MAX_RANK} dimensions. Received: {len(shape)}"
        )
    leaves = [value]
    for level, size in enumerate(shape):
        for item in leaves:
            if not isinstance(item, list):
                raise invalid(
                    f"JSON Value: {quote(item)} found at incorrect level: "
                    f"{level + 1} in the JSON DOM. Expected at level: "
                    f"{len(shape)}"
                )
            if len(item) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(item)} at "
                    f"level: {level} expected size: {size}"
                )
        leaves = list(itertools.chain.from_iterable(leaves))
    if any(isinstance(leaf, list) for leaf in leaves):
        rank = len(shape)
        raise invalid(
            f"Encountered list at unexpected level: {rank} expected < {rank}"
        )
    return _array(leaves, dtype).reshape(shape)


def _array(leaves, dtype):
    if dtype in _FLOATS:
        _check_types(leaves, {int, float}, dtype)
        # What is too large becomes infinite.
        with np.errstate(over="ignore"):
            return np.array(leaves, np.float64).astype(dtype.as_numpy_dtype)
    if dtype in _INTEGERS:
        _check_types(leaves, {int}, dtype)
        for leaf in (min(leaves), max(leaves)) if leaves else ():
            if not dtype.min <= leaf <= dtype.max:
                raise _type_error(leaf, dtype)
        return np.array(leaves, dtype.as_numpy_dtype)
    if dtype == tf.bool:
        _check_types(leaves, {bool}, dtype)
        return np.array(leaves, bool)
    if dtype == tf.string:
        _check_types(leaves, {str, dict}, dtype)
        array = np.empty(len(leaves), object)
        array[:] = [decode_base64(leaf) for leaf in leaves]
        return array
    raise ServingError(
        StatusCode.UNIMPLEMENTED,
        f"Conversion of JSON Value: {quote(leaves[:1])} to type: "
        f"{type_name(dtype)}",
    )


def _check_types(leaves, allowed, dtype):
    wrong = set(map(type, leaves)) - allowed
    if wrong:
        leaf = next(leaf for leaf in leaves if type(leaf) in wrong)
        raise _type_error(leaf, dtype)


def _type_error(value, dtype):
    return invalid(
        f"JSON Value: {quote(value)} Type: {json_type(value)} is not of "
        f"expected type: {type_name(dtype)}"
    )
