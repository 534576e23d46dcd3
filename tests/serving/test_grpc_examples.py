"""Classification and regression over gRPC, as in TF-Serving."""

import grpc
import pytest
from grpc import StatusCode
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.serving.example_models import CLASSIFY, PREDICT, REGRESS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stub(endpoint):
    with grpc.insecure_channel(endpoint.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def add_example(examples, x):
    features = examples.add().features.feature
    features["x"].float_list.value.append(x)


def ask(request, signature, *values):
    request.model_spec.name = "half_plus_two"
    request.model_spec.signature_name = signature
    for x in values:
        add_example(request.input.example_list.examples, x)
    return request


def answered(spec, signature):
    return (spec.name, spec.signature_name, spec.version.value) == (
        "half_plus_two",
        signature,
        123,
    )


def test_classify(stub):
    request = classification_pb2.ClassificationRequest()
    ask(request, "classify_x_to_y", 2, 3)
    response = stub.Classify(request, timeout=60)
    assert answered(response.model_spec, "classify_x_to_y")
    rows = response.result.classifications
    assert [[c.score for c in row.classes] for row in rows] == [[3], [3.5]]


def test_regress(stub):
    request = regression_pb2.RegressionRequest()
    response = stub.Regress(ask(request, "regress_x_to_y", 2, 3), timeout=60)
    assert answered(response.model_spec, "regress_x_to_y")
    assert [r.value for r in response.result.regressions] == [3, 3.5]


def test_what_is_common_to_all_examples(stub):
    request = ask(classification_pb2.ClassificationRequest(), "labels")
    common = request.input.example_list_with_context
    label = common.context.features.feature["label"]
    label.bytes_list.value.append(b"car")
    add_example(common.examples, 2)
    result = stub.Classify(request, timeout=60).result
    ((item,),) = (row.classes for row in result.classifications)
    assert (item.label, item.score) == ("car", 3)


def multi_inference(*tasks):
    request = inference_pb2.MultiInferenceRequest()
    for method, signature in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name = "half_plus_two"
        task.model_spec.signature_name = signature
    add_example(request.input.example_list.examples, 2)
    return request


def test_multi_inference(stub):
    request = multi_inference(
        (REGRESS, "regress_x_to_y"), (CLASSIFY, "classify_x_to_y")
    )
    regression, classification = stub.MultiInference(
        request, timeout=60
    ).results
    assert answered(regression.model_spec, "regress_x_to_y")
    assert regression.regression_result.regressions[0].value == 3
    assert answered(classification.model_spec, "classify_x_to_y")
    (row,) = classification.classification_result.classifications
    assert row.classes[0].score == 3


@pytest.mark.parametrize(
    ("tasks", "code", "words"),
    [
        ([], "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            [(REGRESS, "regress_x_to_y")] * 2,
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        (
            [(PREDICT, "serving_default")],
            "UNIMPLEMENTED",
            f"Unsupported signature method_name: {PREDICT}",
        ),
        ([(CLASSIFY, "regress_x_to_y")], "INVALID_ARGUMENT", "Was: "),
        ([(CLASSIFY, "none")], "INVALID_ARGUMENT", "none"),
        ([(REGRESS, "other_input")], "FAILED_PRECONDITION", "inputs"),
    ],
)
def test_errors_of_multi_inference(stub, tasks, code, words):
    with pytest.raises(grpc.RpcError) as caught:
        stub.MultiInference(multi_inference(*tasks), timeout=60)
    assert caught.value.code().name == code
    assert words in caught.value.details()


def test_all_tasks_are_of_one_model(stub):
    request = multi_inference((REGRESS, "regress_x_to_y"))
    task = request.tasks.add(method_name=CLASSIFY)
    task.model_spec.name = "small"
    with pytest.raises(grpc.RpcError, match="must access the same"):
        stub.MultiInference(request, timeout=60)


def test_no_examples(stub):
    request = ask(regression_pb2.RegressionRequest(), "regress_x_to_y")
    with pytest.raises(grpc.RpcError, match="Input is empty") as caught:
        stub.Regress(request, timeout=60)
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT
