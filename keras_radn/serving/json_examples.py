"""TF-Serving's JSON of examples, as its util/json_tensor.cc reads it."""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import input_pb2

from keras_radn.serving.errors import invalid
from keras_radn.serving.json_text import (
    decode_base64,
    is_base64,
    json_type,
    quote,
)


def read_examples(request: dict) -> input_pb2.Input:
    """The examples of a request to classify or to regress.

    Args:
        request: with the key `examples`, and `context` for what is common to
            all of them.

    Raises:
        ServingError: the request does not fit.
    """
    result = input_pb2.Input()
    target = result.example_list
    if "context" in request:
        target = result.example_list_with_context
        _read_example(request["context"], target.context)
    if "examples" not in request:
        raise invalid(
            f"JSON Value: {quote(request)} When method is classify, key "
            "'examples' is expected and was not found"
        )
    examples = request["examples"]
    if not isinstance(examples, list):
        raise invalid(
            f"JSON Value: {quote(request)} Expecting 'examples' value to be an "
            "list/array"
        )
    if not examples:
        raise invalid(
            f"JSON Value: {quote(request)} 'examples' value is an empty array"
        )
    for example in examples:
        _read_example(example, target.examples.add())
    return result


def _read_example(value, example):
    """Fills a `tf.train.Example` from an object of its features."""
    if not isinstance(value, dict):
        raise invalid(
            f"Example must be JSON object but got JSON {json_type(value)}"
        )
    for name, content in value.items():
        values = content if isinstance(content, list) else [content]
        feature = example.features.feature[name]
        for item in values:
            kind, plain = _feature_value(name, item)
            if feature.WhichOneof("kind") not in (None, kind):
                found = feature.WhichOneof("kind").removesuffix("_list")
                raise invalid(
                    f"Unexpected element type in feature: {name} expecting "
                    f"type: {found}"
                )
            getattr(feature, kind).value.append(plain)


def _feature_value(name, item):
    """The field of a `tf.train.Feature` that takes a value, and the value."""
    if isinstance(item, str) or is_base64(item):
        return "bytes_list", decode_base64(item)
    if isinstance(item, int):  # or bool
        if item > tf.int64.max:
            raise invalid(
                f"Feature: {name} has uint64_t element. Only int64_t is "
                "supported."
            )
        return "int64_list", int(item)
    if isinstance(item, float):
        with np.errstate(over="ignore"):
            return "float_list", float(np.float32(item))
    raise invalid(
        f"Feature: {name} has element with unexpected JSON type: "
        f"{json_type(item)}"
    )
