"""Loads a SavedModel without Keras and without this package.

    python loaded_elsewhere.py FOLDER INPUTS.npz OUTPUTS.npz

Writes the answers of both loaders, and fails if an operation is not one of
TensorFlow's own.
"""

# ruff: noqa: E402
import sys
from pathlib import Path

# TensorFlow imports Keras if it can. Now it gets an ImportError.
sys.modules["keras"] = sys.modules["keras_radn"] = None

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry


def main(folder: str, inputs: str, outputs: str) -> None:
    """Runs `serving_default` on all arrays of a file."""
    message = saved_model_pb2.SavedModel()
    message.ParseFromString(Path(folder, "saved_model.pb").read_bytes())
    graph = message.meta_graphs[0].graph_def
    nodes = [*graph.node]
    for function in graph.library.function:
        nodes += function.node_def
    ops = {node.op for node in nodes}
    unknown = [op for op in ops if op_def_registry.get(op) is None]
    if unknown or "GatherV2" not in ops:
        sys.exit(f"TensorFlow does not have {unknown}; there are {ops}")

    loaded = tf.saved_model.load(folder)
    # The loader of the C++ library, and a session as TF-Serving has it.
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        meta = tf.compat.v1.saved_model.load(session, ["serve"], folder)
    signature = meta.signature_def["serving_default"]
    source = signature.inputs["images"].name
    target = signature.outputs["deblurred"].name
    results = {}
    with np.load(inputs) as arrays:
        for name, array in arrays.items():
            answer = loaded.signatures["serving_default"](images=array)
            results[f"{name}_v2"] = answer["deblurred"]
            results[f"{name}_v1"] = session.run(target, {source: array})
    np.savez(outputs, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
