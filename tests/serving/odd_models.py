"""A SavedModel with every kind of signature that can be exported."""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tests.serving.example_models import PREDICT, REGRESS, without_shape

v1 = tf.compat.v1

_DTYPES = (
    *("float16", "bfloat16", "float32", "float64"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("complex64", "complex128", "bool", "string"),
)


def odd_signatures():
    """Builds the graph; see `write_signatures`."""
    x = v1.placeholder(tf.float32, None, "x")
    scalar = v1.placeholder(tf.float32, [], "scalar")
    text = v1.placeholder(tf.string, [], "text")
    path = v1.placeholder(tf.string, [], "path")
    sparse = v1.sparse_placeholder(tf.float32, [None, 3])
    signatures = {
        "scalar": ({"x": scalar}, {"y": scalar + 1}),
        "text": ({"x": text}, {"y": text + b"\0"}),
        "no_inputs": ({}, {"y": tf.constant([1.0, 2.0])}),
        "no_inputs_scalar": ({}, {"y": tf.constant(b"z\0")}),
        "no_outputs": ({"x": x}, {}),
        "nothing": ({}, {}),
        "no_shapes": ({"x": without_shape(x)}, {"y": without_shape(x * 2)}),
        "of_rank_3": ({"x": tf.ensure_shape(x, [1, 2, 3])}, {"y": x}),
        "same": ({"x": x}, {"x": x}),
        "sizes_differ": ({"x": x}, {"y": tf.reshape(x, [-1])[:1], "x": x}),
        "first_is_empty": ({"x": x}, {"a": tf.zeros([0]), "x": x}),
        "fails": ({"x": x}, {"y": tf.debugging.check_numerics(x / 0, "no")}),
        "divides": ({"x": x}, {"y": 7 // tf.cast(x, tf.int32)}),
        "sparse_input": ({"x": sparse}, {"y": tf.sparse.to_dense(sparse)}),
        "sparse_output": ({"x": x}, {"y": tf.sparse.from_dense([[1.0]])}),
        "resource": ({"x": x}, {"y": _table()}),
        "variant": ({"x": x}, {"y": _variant()}),
        "variant_input": ({"x": _variant()}, {"y": x}),
        "missing": ({"x": x}, {"y": _info("nothing:0")}),
        "missing_input": ({"x": _info("nothing:0")}, {"y": x}),
        "an_operation": ({"x": x}, {"y": _info("x")}),
        "another_type": ({"x": _info("x:0", "string")}, {"y": x}),
        # Which blocks while the file is a pipe without a writer.
        "reads": ({"path": path}, {"y": tf.io.read_file(path)}),
        **{f"of_{dtype}": _identity(dtype) for dtype in _DTYPES},
    }
    return {
        **{k: (*parts, PREDICT) for k, parts in signatures.items()},
        "of_no_method": ({"x": x}, {"y": x}, ""),
        "of_another_method": ({"x": x}, {"y": x}, "a/method"),
        "regress_scalars": ({"inputs": text}, {"outputs": scalar}, REGRESS),
        "serving_default": ({"x": x}, {"y": x * 2}, PREDICT),
    }


def _identity(dtype):
    tensor = v1.placeholder(dtype, None)
    return {"x": tensor}, {"y": tf.identity(tensor)}


def _table():
    return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)


def _variant():
    return tf.raw_ops.EmptyTensorList(
        element_shape=np.int32(-1),
        max_num_elements=1,
        element_dtype=tf.float32,
    )


def _info(name, dtype="float"):
    return meta_graph_pb2.TensorInfo(
        name=name, dtype=getattr(types_pb2, f"DT_{dtype.upper()}")
    )
