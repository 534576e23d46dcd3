from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from grpc import StatusCode
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from keras_radn.serving.errors import ServingError, from_tensorflow, invalid

DEFAULT_SIGNATURE = "serving_default"
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
# TF-Serving's own bound.
_MAX_WARMUP_RECORDS = 1000


class Servable:
    """A SavedModel in memory.

    It is loaded into a session, as TF-Serving does, for three reasons: any
    SavedModel can be, whatever wrote it; a run can be given a time limit; and
    closing the session frees the memory.

    Args:
        path: folder of one version, holding `saved_model.pb`.

    Raises:
        tf.errors.OpError, OSError, RuntimeError, ValueError: the folder is no
            SavedModel with the tag `serve`, or its warm-up requests fail.
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
            for request in _read_warmup(Path(path) / WARMUP_FILE):
                self._warm_up(request)
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
            ServingError: inputs that do not fit, or what the graph raised.
        """
        signature = self.signature(signature_name)
        _check_inputs(signature, inputs)
        outputs = _chosen_outputs(signature, output_filter)
        options = None
        if timeout is not None:
            options = tf.compat.v1.RunOptions(
                timeout_in_ms=max(1, round(timeout * 1000))
            )
        try:
            return self._session.run(
                {name: info.name for name, info in outputs.items()},
                {signature.inputs[k].name: inputs[k] for k in inputs},
                options=options,
            )
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from error

    def close(self) -> None:
        """Frees the memory. Nothing may be running."""
        self._session.close()

    def _warm_up(self, request):
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        self.predict(request.model_spec.signature_name, inputs)


def _copy(signature):
    # So that the graph's definition, of which it is a part, can go.
    copy = meta_graph_pb2.SignatureDef()
    copy.CopyFrom(signature)
    return copy


def _read_warmup(path) -> Iterator[predict_pb2.PredictRequest]:
    if not path.is_file():
        return
    records = tf.data.TFRecordDataset(str(path)).take(_MAX_WARMUP_RECORDS)
    for record in records:
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        if log.WhichOneof("log_type") == "predict_log":
            yield log.predict_log.request


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
        if info.WhichOneof("encoding") != "name":
            raise ServingError(
                StatusCode.UNIMPLEMENTED,
                f"The input {name} is not a dense tensor.",
            )
        dtype = tf.as_dtype(info.dtype)
        received = tf.as_dtype(array.dtype)
        if received != dtype:
            raise invalid(
                f"The input {name} has to be {dtype.name}. Received: "
                f"{received.name}."
            )
        shape = tf.TensorShape(info.tensor_shape)
        if not shape.is_compatible_with(array.shape):
            raise invalid(
                f"The input {name} has to have the shape {shape}. Received: "
                f"{tf.TensorShape(array.shape)}."
            )


def _chosen_outputs(signature, names):
    for name in names:
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs "
                f"expected to be in the set {{{_join(signature.outputs)}}}."
            )
        if list(names).count(name) > 1:
            raise invalid(f"duplicate output tensor alias: {name}")
    return {k: signature.outputs[k] for k in names or signature.outputs}


def _join(names):
    return ",".join(sorted(names))
