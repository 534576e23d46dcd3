"""TF-Serving's JSON of tensors, as its util/json_tensor.cc reads and writes it.

The parser is the same, RapidJSON, so that errors of syntax have its words.
"""

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Mapping

import numpy as np
import orjson
import rapidjson
import tensorflow as tf
from grpc import StatusCode
from tensorflow.core.protobuf import meta_graph_pb2

from keras_radn.serving.errors import ServingError, invalid

_TensorInfos = Mapping[str, meta_graph_pb2.TensorInfo]
_INTEGERS = {
    tf.int8,
    tf.uint8,
    tf.int16,
    tf.int32,
    tf.uint32,
    tf.int64,
    tf.uint64,
}
_FLOATS = {tf.float32, tf.float64}
_WRITABLE = {*_INTEGERS, *_FLOATS, tf.float16, tf.bool, tf.string}
_TYPE_NAMES = {
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
    type(None): "Null",
}
# A message that quotes a value must not be as long as a request.
_QUOTED = 80


def parse_object(body: bytes | bytearray) -> dict:
    """Reads a JSON object; `NaN` and `Infinity` are numbers.

    Raises:
        ServingError: it is none.
    """
    try:
        value = rapidjson.loads(
            body, number_mode=rapidjson.NM_NATIVE | rapidjson.NM_NAN
        )
    except rapidjson.JSONDecodeError as error:
        place, _, what = str(error).partition(": ")
        offset = place.rpartition(" ")[2]
        raise invalid(f"JSON Parse error: {what} at offset: {offset}") from None
    except UnicodeDecodeError as error:
        raise invalid(
            "JSON Parse error: Invalid UTF-8 encoding in string. at offset: "
            f"{error.start}"
        ) from None
    except RecursionError:
        raise invalid("JSON Parse error: The nesting is too deep.") from None
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {_quote(value)} Is not object")
    return value


def signature_name(request: dict) -> str:
    """The signature that a request asks for; empty for the default one.

    Raises:
        ServingError: it is not a string.
    """
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_quote(request)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def read_inputs(
    request: dict, infos: _TensorInfos
) -> tuple[dict[str, np.ndarray], bool]:
    """The input tensors of a request.

    Args:
        request: with the key `instances` (row format) or `inputs` (columnar).
        infos: what the signature knows of its inputs.

    Returns:
        An array per input, and whether the format is the row format.

    Raises:
        ServingError: the request does not fit.
    """
    if "instances" in request and "inputs" in request:
        raise invalid(
            f"JSON Value: {_quote(request)} Not formatted correctly expecting "
            "only one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in request:
        return _read_instances(request["instances"], infos), True
    if "inputs" in request:
        return _read_columns(request["inputs"], infos), False
    raise invalid("Missing 'inputs' or 'instances' key")


def write_outputs(outputs: Mapping[str, np.ndarray], row_format: bool) -> bytes:
    """The JSON of a response.

    Args:
        outputs: an array per output.
        row_format: whether the request had `instances`.

    Raises:
        ServingError: a tensor has no place in the format.
    """
    outputs = {name: np.asarray(array) for name, array in outputs.items()}
    # Of NaN and infinity orjson makes null; json is slow.
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
        if len(array) != (batch or len(array)):
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


def _read_instances(instances, infos):
    if not isinstance(instances, list):
        raise invalid(
            f"JSON Value: {_quote(instances)} Excepting 'instances' to be an "
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
        if named and item.keys() != set(infos):
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON "
                f"object: {_quote(item)} keys must be equal to: "
                f"{','.join(sorted(infos))}"
            )
    if named:
        columns = {name: [item[name] for item in instances] for name in infos}
    else:
        columns = {next(iter(infos)): instances}
    return {
        name: _decode(name, column, infos[name])
        for name, column in columns.items()
    }


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
    return {
        name: _decode(name, inputs[name], info) for name, info in infos.items()
    }


def _is_object(value):
    return isinstance(value, dict) and not (
        value.keys() == {"b64"} and isinstance(value["b64"], str)
    )


def _decode(name, value, info):
    """The array of a nested list, whose first elements tell the shape."""
    dtype = tf.as_dtype(info.dtype)
    shape = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    leaves = [value]
    for level, size in enumerate(shape):
        for item in leaves:
            if not isinstance(item, list):
                raise invalid(
                    f"JSON Value: {_quote(item)} found at incorrect level: "
                    f"{level + 1} in the JSON DOM. Expected at level: "
                    f"{len(shape)}, in the input {name}"
                )
            if len(item) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(item)} at "
                    f"level: {level} expected size: {size}, in the input {name}"
                )
        leaves = list(itertools.chain.from_iterable(leaves))
    return _array(leaves, dtype).reshape(shape)


def _array(leaves, dtype):
    if dtype in _FLOATS:
        _check_types(leaves, {int, float}, dtype)
        array = np.array(leaves, np.float64)
        limit = np.finfo(dtype.as_numpy_dtype).max
        too_large = np.isfinite(array) & (np.abs(array) > limit)
        if too_large.any():
            raise invalid(
                f"Cannot convert JSON value: {array[too_large][0]} to "
                f"{_name(dtype)} without loss of precision."
            )
        return array.astype(dtype.as_numpy_dtype)
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
        array[:] = [_bytes(leaf) for leaf in leaves]
        return array
    raise ServingError(
        StatusCode.UNIMPLEMENTED,
        f"Conversion of JSON Value: {_quote(leaves[:1])} to type: "
        f"{_name(dtype)}",
    )


def _check_types(leaves, allowed, dtype):
    wrong = set(map(type, leaves)) - allowed
    if wrong:
        leaf = next(leaf for leaf in leaves if type(leaf) in wrong)
        if isinstance(leaf, list):
            raise invalid("Encountered list at unexpected level")
        raise _type_error(leaf, dtype)


def _type_error(value, dtype):
    kind = _TYPE_NAMES.get(type(value), str(value))
    return invalid(
        f"JSON Value: {_quote(value)} Type: {kind} is not of expected type: "
        f"{_name(dtype)}"
    )


def _bytes(leaf):
    if isinstance(leaf, str):
        return leaf.encode()
    if _is_object(leaf):
        raise invalid(
            f"JSON Value: {_quote(leaf)} not formatted correctly for base64 "
            "data"
        )
    text = "".join(leaf["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _is_finite(array):
    return array.dtype.kind != "f" or np.isfinite(array).all()


def _writable(name, array):
    """What both writers take for an output."""
    dtype = tf.as_dtype(array.dtype)
    if dtype not in _WRITABLE:
        raise invalid(
            f"Failed to write JSON value for tensor type: {_name(dtype)}, of "
            f"the output {name}"
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


def _quote(value):
    text = ""
    for part in json.JSONEncoder().iterencode(value):
        text += part
        if len(text) > _QUOTED:
            return f"{text[:_QUOTED]}..."
    return text


def _name(dtype):
    # DataTypeString says "float", where Python says "float32".
    return {"float32": "float", "float64": "double", "float16": "half"}.get(
        dtype.name, dtype.name
    )
