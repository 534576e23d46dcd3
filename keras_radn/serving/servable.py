import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from grpc import StatusCode
from tensorflow.core.protobuf import meta_graph_pb2

from keras_radn import hooks
from keras_radn.serving.errors import ServingError, from_tensorflow, invalid

DEFAULT_SIGNATURE = "serving_default"
_METHODS = (
    tf.saved_model.PREDICT_METHOD_NAME,
    tf.saved_model.CLASSIFY_METHOD_NAME,
    tf.saved_model.REGRESS_METHOD_NAME,
)


class Servable:
    """A SavedModel in memory.

    It is loaded into a session, as TF-Serving does, for three reasons: any
    SavedModel can be, whatever wrote it; a run can be given a time limit; and
    closing the session frees the memory.

    Args:
        path: folder of one version, holding `saved_model.pb`.

    Raises:
        tf.errors.OpError, OSError, RuntimeError, ValueError: the folder is not
            a SavedModel with the tag `serve`.
    """

    def __init__(self, path: str | Path) -> None:
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], str(path)
                )
            graph.finalize()
            self.signatures = {
                name: _copy(signature)
                for name, signature in meta_graph.signature_def.items()
            }
            self._leave_shapes_to_the_graph()
        except BaseException:
            self._session.close()
            raise

    def signature(self, name: str = "") -> meta_graph_pb2.SignatureDef:
        """The signature of a name; the default one if it is empty.

        Raises:
            ServingError: there is none (`INVALID_ARGUMENT`).
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise invalid(
                f'Serving signature name: "{name}" not found in signature def'
            )
        return self.signatures[name]

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature_name: name; empty for the default one.
            inputs: an array per name of the signature, of its dtype; strings
                as `object` arrays of `bytes`.
            output_filter: names of the outputs to compute; all if empty.
            timeout: seconds after which the run is given up.

        Returns:
            An array per output.

        Raises:
            ServingError: there is no such signature
                (`FAILED_PRECONDITION`), inputs that do not fit, or what the
                graph raised.
        """
        name = signature_name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise ServingError(
                StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found.',
            )
        signature = self.signatures[name]
        _check_method(signature)
        _check_inputs(signature, inputs)
        outputs = _chosen_outputs(signature, output_filter)
        feeds = {signature.inputs[k].name: inputs[k] for k in inputs}
        try:
            return self.run(
                feeds, {k: v.name for k, v in outputs.items()}, timeout
            )
        except ServingError as error:
            # Graphs that were given another shape do not always say so.
            shapes = _other_shapes(signature, inputs)
            if error.code != StatusCode.INVALID_ARGUMENT or not shapes:
                raise
            raise invalid(error.message + shapes) from error

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Mapping[str, str],
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs the graph.

        Args:
            feeds: an array per name of a tensor.
            fetches: names of tensors, by what they are called in the result.
            timeout: seconds after which the run is given up.

        Returns:
            An array per key of `fetches`; strings as `object` arrays of
            `bytes`.

        Raises:
            ServingError: a name is not in the graph or
                (`FAILED_PRECONDITION`), or what the graph raised.
        """
        feed_dict = {self._tensor(name): a for name, a in feeds.items()}
        tensors = {key: self._tensor(name) for key, name in fetches.items()}
        options = None
        if timeout is not None:
            options = tf.compat.v1.RunOptions(
                timeout_in_ms=max(1, round(timeout * 1000))
            )
        try:
            results = self._session.run(tensors, feed_dict, options=options)
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from error
        except (TypeError, ValueError) as error:  # another type than it says
            raise ServingError(
                StatusCode.FAILED_PRECONDITION,
                f"The signature does not fit its graph: {error}",
            ) from error
        return {key: _as_array(value) for key, value in results.items()}

    def close(self) -> None:
        """Frees the memory. Nothing may be running."""
        self._session.close()

    def _tensor(self, name):
        try:
            tensor = self._session.graph.get_tensor_by_name(name)
        except (KeyError, ValueError):
            raise ServingError(
                StatusCode.FAILED_PRECONDITION,
                f"The graph has no tensor {name!r}, which the signature names.",
            ) from None
        if tensor.dtype in (tf.resource, tf.variant):
            raise ServingError(
                StatusCode.UNIMPLEMENTED,
                f"The tensor {name} is a {tensor.dtype.name}, which no message "
                "can hold.",
            )
        return tensor

    def _leave_shapes_to_the_graph(self):
        """Lets sessions feed tensors of any shape, as TF-Serving does."""
        for signature in self.signatures.values():
            for info in signature.inputs.values():
                with contextlib.suppress(ServingError):
                    hooks.forget_shape(self._tensor(info.name))


def _copy(signature):
    # So that the graph's definition, of which it is a part, can go.
    copy = meta_graph_pb2.SignatureDef()
    copy.CopyFrom(signature)
    return copy


def _check_method(signature):
    if signature.method_name not in _METHODS:
        raise invalid(
            "Expected prediction signature method_name to be one of "
            f"{{{', '.join(_METHODS)}}}. Was: {signature.method_name}"
        )


def _check_inputs(signature, inputs):
    # The words of TF-Serving's predict_util.cc.
    wanted, given = set(signature.inputs), set(inputs)
    if len(given) != len(wanted):
        raise invalid(
            f"input size does not match signature: {len(given)}!={len(wanted)} "
            f"len({{{_join(given)}}}) != len({{{_join(wanted)}}}). Sent extra: "
            f"{{{_join(given - wanted)}}}. Missing but required: "
            f"{{{_join(wanted - given)}}}."
        )
    for name in given - wanted:
        raise invalid(
            f"input tensor alias not found in signature: {name}. Inputs "
            f"expected to be in the set {{{_join(wanted)}}}."
        )
    for name, array in inputs.items():
        info = signature.inputs[name]
        _check_dense("input", name, info)
        dtype = tf.as_dtype(info.dtype)
        received = tf.as_dtype(array.dtype)
        if received != dtype:
            raise invalid(
                f"The input {name} has to be {dtype.name}. Received: "
                f"{received.name}."
            )


def _other_shapes(signature, inputs):
    """A sentence on the inputs whose shapes are not the signature's."""
    sentences = []
    for name, array in inputs.items():
        info = signature.inputs[name]
        shape = tf.TensorShape(info.tensor_shape)
        if info.HasField("tensor_shape") and not shape.is_compatible_with(
            array.shape
        ):
            sentences.append(
                f" The input {name} has the shape {array.shape}, in the "
                f"signature {shape}."
            )
    return "".join(sentences)


def _chosen_outputs(signature, names):
    for name in names:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs "
                f"expected to be in the set {{{_join(signature.outputs)}}}."
            )
        if list(names).count(name) > 1:
            raise invalid(f"duplicate output tensor alias: {name}")
    outputs = {k: signature.outputs[k] for k in names or signature.outputs}
    for name, info in outputs.items():
        _check_dense("output", name, info)
    return outputs


def _check_dense(kind, name, info):
    if info.WhichOneof("encoding") != "name":
        raise ServingError(
            StatusCode.UNIMPLEMENTED,
            f"The {kind} {name} is not a dense tensor.",
        )


def _as_array(value):
    if isinstance(value, bytes):  # NumPy would drop zeros at its end
        array = np.empty((), object)
        array[()] = value
        return array
    return np.asarray(value)


def _join(names):
    return ",".join(sorted(names))
