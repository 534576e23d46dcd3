"""Requests with every method to every kind of signature."""

import itertools

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from keras_radn import RADN, export
from tests.conftest import TINY_RADN
from tests.serving.example_models import (
    CLASSIFY,
    REGRESS,
    half_plus_two,
    write_signatures,
)
from tests.serving.odd_models import odd_signatures
from tests.serving.running_server import running_server
from tests.serving.small_model import write_version

pytestmark = pytest.mark.slow

_VALUES = (
    *(1, [], [1.5, -2], [[1, 2, 3]], [[[[0.5, 0.5, 0.5]]]], [[], [1]]),
    *({}, {"x": 2.0}, {"z": None}, "text", {"b64": "AA=="}, None, True),
)
_TENSORS = (
    *(np.float32(1), np.zeros(0, np.float32), np.ones((1, 1, 1, 3), "f4")),
    *(np.array(b"text", object), np.array([b"a"], object), np.int64([1])),
)
_NAMES = ("x", "inputs", "images")
# Not the fault of any signature: a tensor that no message can hold.
_FINE = {501, 504}
_FINE_CODES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models, one of each kind."""
    folder = tmp_path_factory.mktemp("kinds")
    write_version(folder / "functions", 1, 2)
    write_signatures(folder / "examples" / "1", half_plus_two)
    write_signatures(folder / "odd" / "1", odd_signatures)
    export.saved_model(RADN(**TINY_RADN), folder / "network")
    return folder


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    config = models / "models.config"
    entries = [
        f'config {{ name: "{path.name}" base_path: "{path}" }}'
        for path in sorted(models.iterdir())
    ]
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    with running_server(
        tmp_path_factory.mktemp("server"),
        *("--model-config-file", config),
        *("--timeout", 5),
    ) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def signatures(server):
    """Returns pairs of a model and one of its signatures."""
    pairs = []
    for model in ("functions", "examples", "odd", "network"):
        metadata = server.get(f"/v1/models/{model}/metadata").json()
        found = metadata["metadata"]["signature_def"]["signature_def"]
        pairs += [(model, name) for name in sorted(found)]
    # "reads" waits for a file, "busy" for the time that it is told.
    return [p for p in pairs if p[1] not in ("reads", "busy")]


def check_alive(server):
    body = {"instances": [1.0, 2.0]}
    answer = server.post("odd:predict", json=body, timeout=5)
    assert answer.json() == {"predictions": [2.0, 4.0]}
    assert server.get("/readyz").status_code == 200
    name = "keras_radn_serving_requests_in_progress"
    assert server.metric(name) == {name: 0}


def test_over_rest(server, signatures):
    bodies = [
        ("predict", {key: value})
        for key in ("instances", "inputs")
        for value in _VALUES
    ]
    bodies += [("predict", {"instances": [value]}) for value in _VALUES]
    bodies += [("predict", {})]
    for method in ("classify", "regress"):
        bodies += [(method, {"examples": value}) for value in ([{}], [], 1)]
        bodies += [(method, {"examples": [{"x": 2.0}], "context": {"a": "b"}})]
    count = 0
    with requests.Session() as session:
        for (model, name), (method, body) in itertools.product(
            signatures, bodies
        ):
            answer = session.post(
                f"{server.url}/v1/models/{model}:{method}",
                json={"signature_name": name, **body},
                timeout=20,
            )
            status, count = answer.status_code, count + 1
            what = (model, name, method, body, answer.text)
            assert status < 500 or status in _FINE, what
            assert status == 200 or list(answer.json()) == ["error"], what
    assert count > 2000
    check_alive(server)


def _calls(channel, model, name):
    """Returns every method with a request for the signature."""
    prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    status = model_service_pb2_grpc.ModelServiceStub(channel)

    def fill(request):
        request.model_spec.name = model
        request.model_spec.signature_name = name
        return request

    yield prediction.Predict, fill(predict_pb2.PredictRequest())
    for key, array in itertools.product(_NAMES, _TENSORS):
        request = fill(predict_pb2.PredictRequest())
        request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
        yield prediction.Predict, request
    for call, request in (
        (prediction.Classify, classification_pb2.ClassificationRequest()),
        (prediction.Regress, regression_pb2.RegressionRequest()),
    ):
        yield call, fill(request)
        examples = request.input.example_list.examples
        features = examples.add().features
        features.feature["x"].float_list.value.append(2)
        yield call, request
        request.input.example_list_with_context.examples.extend(examples)
        yield call, request
    for method in (CLASSIFY, REGRESS):
        request = inference_pb2.MultiInferenceRequest()
        fill(request.tasks.add(method_name=method))
        yield prediction.MultiInference, request
        request.input.example_list.examples.extend([features_of(2.0)] * 2)
        yield prediction.MultiInference, request
    yield (
        prediction.GetModelMetadata,
        fill(
            get_model_metadata_pb2.GetModelMetadataRequest(
                metadata_field=["signature_def"]
            )
        ),
    )
    yield (
        status.GetModelStatus,
        fill(get_model_status_pb2.GetModelStatusRequest()),
    )


def features_of(x):
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(x)
    return example


def test_over_grpc(server, channel, signatures):
    count = 0
    for model, name in signatures:
        for call, request in _calls(channel, model, name):
            future = call.future(request, timeout=20)
            count += 1
            assert future.code() in _FINE_CODES, (
                request,
                future.code(),
                future.details(),
            )
    assert count > 1000
    check_alive(server)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", b"ab\0\0"),
        ("scalar", np.float32(2)),
        ("of_string", np.array([b"\0", b"a\0", b""], object)),
        ("of_string", np.zeros((2, 0), object)),
        ("of_bool", np.array([[True], [False]])),
        ("of_bfloat16", tf.constant([1.5, -3], tf.bfloat16).numpy()),
        *((f"of_{t}", np.array([0, 3], t)) for t in ("uint64", "complex64")),
        *((f"of_{t}", np.array([0, 3], t)) for t in ("int8", "float16")),
    ],
)
def test_values_come_back(channel, name, value):
    """This includes zeros at the end of strings."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "odd"
    request.model_spec.signature_name = name
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(value))
    (output,) = stub.Predict(request, timeout=10).outputs.values()
    if name == "text":
        assert list(output.string_val) == [value + b"\0"]
        return
    answer = tf.make_ndarray(output)
    assert answer.shape == np.shape(value)
    np.testing.assert_array_equal(
        answer, value + 1 if name == "scalar" else value
    )
