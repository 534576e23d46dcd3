"""SavedModels of TensorFlow 1, like those of TF-Serving's own tests.

`half_plus_two` computes x / 2 + 2 and has a signature for each method;
`half_plus_three` does not state its shapes.
"""

from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

v1 = tf.compat.v1
PREDICT = tf.saved_model.PREDICT_METHOD_NAME
CLASSIFY = tf.saved_model.CLASSIFY_METHOD_NAME
REGRESS = tf.saved_model.REGRESS_METHOD_NAME


def write_signatures(path, make):
    """Writes a SavedModel.

    Args:
        path: folder to write.
        make: builds the graph; returns `(inputs, outputs, method)` per name of
            a signature. Inputs and outputs are tensors or `TensorInfo`s.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {
            name: v1.saved_model.build_signature_def(
                _infos(inputs), _infos(outputs), method
            )
            for name, (inputs, outputs, method) in make().items()
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return Path(path)


def without_shape(tensor):
    return meta_graph_pb2.TensorInfo(
        name=tensor.name, dtype=tensor.dtype.as_datatype_enum
    )


def half_plus_two():
    examples = v1.placeholder(tf.string, [None], "examples")
    features = {
        "x": tf.io.FixedLenFeature([1], tf.float32),
        "label": tf.io.FixedLenFeature([1], tf.string, "none"),
    }
    parsed = tf.io.parse_example(examples, features)
    x = tf.identity(parsed["x"], "x")
    half = v1.get_variable("half", initializer=0.5, use_resource=True)
    y = half * x + 2
    label = parsed["label"]
    inputs = {"inputs": examples}
    return {
        "serving_default": ({"x": x}, {"y": y}, PREDICT),
        "regress_x_to_y": (inputs, {"outputs": y}, REGRESS),
        "classify_x_to_y": (inputs, {"scores": y}, CLASSIFY),
        "labels": (inputs, {"classes": label, "scores": y}, CLASSIFY),
        "two_columns": (inputs, {"outputs": tf.tile(y, [1, 2])}, REGRESS),
        "one_example": (inputs, {"scores": y[:1]}, CLASSIFY),
        "uneven": (
            inputs,
            {"classes": label, "scores": tf.tile(y, [1, 2])},
            CLASSIFY,
        ),
        "integers": (inputs, {"outputs": tf.cast(y, tf.int32)}, REGRESS),
        "other_input": ({"x": examples}, {"outputs": y}, REGRESS),
        "other_output": (inputs, {"y": y}, CLASSIFY),
        "two_inputs": (
            {"inputs": examples, "x": x},
            {"outputs": y},
            REGRESS,
        ),
    }


def half_plus_three():
    x = v1.placeholder(tf.float32, [None, 1])
    half = v1.get_variable("half", initializer=0.5, use_resource=True)
    y = half * x + 3
    return {
        "serving_default": (
            {"x": without_shape(x)},
            {"y": without_shape(y)},
            PREDICT,
        )
    }


def _infos(tensors):
    return {
        key: tensor
        if isinstance(tensor, meta_graph_pb2.TensorInfo)
        else v1.saved_model.build_tensor_info(tensor)
        for key, tensor in tensors.items()
    }
