from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_radn.serving.examples import METHODS, Task, infer, tasks_of
from keras_radn.serving.servable import Servable

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
# TF-Serving's own bound.
_MAX_RECORDS = 1000


def load(path: str | Path) -> Servable:
    """Loads a version and lets it answer its warm-up requests.

    Args:
        path: folder of the version.

    Raises:
        tf.errors.OpError, OSError, RuntimeError, ValueError: see `Servable`.
        ServingError: a warm-up request fails.
    """
    servable = Servable(path)
    try:
        for log in _read(Path(path) / WARMUP_FILE):
            _replay(servable, log)
    except BaseException:
        servable.close()
        raise
    return servable


def _read(path) -> Iterator[prediction_log_pb2.PredictionLog]:
    if path.is_file():
        for record in tf.data.TFRecordDataset(str(path)).take(_MAX_RECORDS):
            yield prediction_log_pb2.PredictionLog.FromString(record.numpy())


def _replay(servable, log):
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        servable.predict(request.model_spec.signature_name, inputs)
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        method = METHODS[kind.removesuffix("_log")]
        task = Task(method, request.model_spec.signature_name)
        infer(servable, [task], request.input)
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        infer(servable, tasks_of(request), request.input)
