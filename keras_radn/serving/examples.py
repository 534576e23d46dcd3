"""Classification and regression of `tf.train.Example`s.

The rules and words are those of TF-Serving's classifier.cc, regressor.cc and
multi_inference.cc.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from grpc import StatusCode
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    regression_pb2,
)

from keras_radn.serving.errors import ServingError, invalid
from keras_radn.serving.servable import DEFAULT_SIGNATURE, Servable

# By the methods' names in a signature.
_KINDS = {
    tf.saved_model.CLASSIFY_METHOD_NAME: "classification",
    tf.saved_model.REGRESS_METHOD_NAME: "regression",
}
METHODS = {
    "classify": tf.saved_model.CLASSIFY_METHOD_NAME,
    "regress": tf.saved_model.REGRESS_METHOD_NAME,
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What to do with the examples of a request.

    Args:
        method: method that the signature has to be of.
        signature_name: name; empty for the default one.
    """

    method: str
    signature_name: str = ""

    @property
    def api(self) -> str:
        """What the metrics call it."""
        return self.method.rpartition("/")[2].capitalize()


def infer(
    servable: Servable,
    tasks: Sequence[Task],
    source: input_pb2.Input,
    timeout: float | None = None,
) -> list[
    classification_pb2.ClassificationResult | regression_pb2.RegressionResult
]:
    """Runs signatures that take serialized examples, all in one run.

    Args:
        servable: the model.
        tasks: at least one; all signatures have to have the same input.
        source: the examples.
        timeout: seconds after which the run is given up.

    Returns:
        A result per task.

    Raises:
        ServingError: a signature has another method, there is no example,
            or what the graph raised or returned.
    """
    signatures = [_signature(servable, task) for task in tasks]
    tensors = {_input_tensor(s) for s in signatures}
    if len(tensors) > 1:
        raise invalid("Input tensor must be the same for all Signatures.")
    fetches = {
        info.name: info.name
        for signature in signatures
        for info in _outputs(signature).values()
    }
    examples = _serialized(source)
    arrays = servable.run({tensors.pop(): examples}, fetches, timeout)
    return [
        _RESULTS[signature.method_name](
            {k: arrays[v.name] for k, v in _outputs(signature).items()},
            len(examples),
        )
        for signature in signatures
    ]


def tasks_of(request: inference_pb2.MultiInferenceRequest) -> list[Task]:
    """The tasks of a request with several.

    Raises:
        ServingError: they are not of one model, or not different ones.
    """
    tasks = []
    for entry in request.tasks:
        spec = entry.model_spec
        if not spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if spec.name != request.tasks[0].model_spec.name:
            raise invalid(
                "All ModelSpecs in a MultiInferenceRequest must access the "
                "same model name."
            )
        if entry.method_name not in _KINDS:
            raise ServingError(
                StatusCode.UNIMPLEMENTED,
                f"Unsupported signature method_name: {entry.method_name}",
            )
        name = spec.signature_name or DEFAULT_SIGNATURE
        if name in (task.signature_name for task in tasks):
            raise invalid(f"Duplicate evaluation of signature: {name}")
        tasks.append(Task(entry.method_name, name))
    return tasks


def _signature(servable, task) -> meta_graph_pb2.SignatureDef:
    name = task.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    signature = servable.signatures[name]
    if signature.method_name != task.method:
        raise invalid(
            f"Expected {_KINDS[task.method]} signature method_name to be "
            f"{task.method}. Was: {signature.method_name}"
        )
    return signature


def _input_tensor(signature):
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    key = tf.saved_model.CLASSIFY_INPUTS  # the same for both methods
    if key not in signature.inputs:
        raise ServingError(
            StatusCode.FAILED_PRECONDITION,
            f"No {_KINDS[signature.method_name]} inputs found in SignatureDef: "
            f"{', '.join(signature.inputs)}",
        )
    return signature.inputs[key].name


def _outputs(signature):
    outputs = signature.outputs
    if signature.method_name == tf.saved_model.REGRESS_METHOD_NAME:
        known = {tf.saved_model.REGRESS_OUTPUTS}
        if len(outputs) != 1:
            raise invalid("Expected one output Tensor.")
    else:
        known = {
            tf.saved_model.CLASSIFY_OUTPUT_CLASSES,
            tf.saved_model.CLASSIFY_OUTPUT_SCORES,
        }
        if len(outputs) not in (1, 2):
            raise invalid(
                f"Expected one or two output Tensors, found {len(outputs)}"
            )
    found = {k: info for k, info in outputs.items() if k in known}
    if not found:
        raise ServingError(
            StatusCode.FAILED_PRECONDITION,
            f"Expected {_KINDS[signature.method_name]} signature outputs to "
            f"contain at least one of {', '.join(sorted(known))}. Received: "
            f"{', '.join(sorted(outputs))}",
        )
    return found


def _serialized(source):
    """The examples as strings, each with what is common to all before it."""
    examples, context = source.example_list.examples, b""
    if source.WhichOneof("kind") == "example_list_with_context":
        examples = source.example_list_with_context.examples
        context = source.example_list_with_context.context.SerializeToString()
    if not examples:
        raise invalid("Input is empty.")
    array = np.empty(len(examples), object)
    # One message after the other is the union of both.
    array[:] = [context + e.SerializeToString() for e in examples]
    return array


def _classification(outputs, count):
    classes = outputs.get(tf.saved_model.CLASSIFY_OUTPUT_CLASSES)
    scores = outputs.get(tf.saved_model.CLASSIFY_OUTPUT_SCORES)
    for name, array, dtype in (
        ("classes", classes, tf.string),
        ("scores", scores, tf.float32),
    ):
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid(
                "Expected Tensor shape: [batch_size num_classes] but got "
                f"{_shape(array)}"
            )
        _check_dtype(f"{name} Tensor", array, dtype)
        if len(array) != count:
            raise invalid(
                f"Expected {name} output batch size of {count}. Got: "
                f"{len(array)}"
            )
    both = [array for array in (classes, scores) if array is not None]
    if both[0].shape != both[-1].shape:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{both[0].shape[1]} vs. {both[1].shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    for i in range(count):
        row = result.classifications.add()
        for j in range(both[0].shape[1]):
            item = row.classes.add()
            if classes is not None:
                item.label = classes[i, j].decode(errors="replace")
            if scores is not None:
                item.score = scores[i, j]
    return result


def _regression(outputs, count):
    (array,) = outputs.values()
    if array.ndim != 1 and array.shape[1:] != (1,):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or "
            f"[batch_size, 1] but got {_shape(array)}"
        )
    if len(array) != count:
        raise invalid(
            "Input batch size did not match output batch size: "
            f"{count} vs. {len(array)}"
        )
    _check_dtype("output Tensor", array, tf.float32)
    result = regression_pb2.RegressionResult()
    for value in array.ravel().tolist():
        result.regressions.add(value=value)
    return result


def _check_dtype(what, array, dtype):
    found = tf.as_dtype(array.dtype)
    if found != dtype:
        raise invalid(
            f"Expected {what} of {_enum_name(dtype)}. Got: {_enum_name(found)}"
        )


def _enum_name(dtype):
    return types_pb2.DataType.Name(dtype.as_datatype_enum)


def _shape(array):
    return f"[{','.join(map(str, array.shape))}]"


_RESULTS = {
    tf.saved_model.CLASSIFY_METHOD_NAME: _classification,
    tf.saved_model.REGRESS_METHOD_NAME: _regression,
}
