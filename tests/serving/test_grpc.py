import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc import StatusCode
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def channel(endpoint):
    with grpc.insecure_channel(endpoint.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def predict(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def predict(inputs, signature="", outputs=(), **spec):
        request = predict_pb2.PredictRequest(output_filter=outputs)
        fill_spec(request.model_spec, signature_name=signature, **spec)
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return stub.Predict(request, timeout=60)

    return predict


@pytest.mark.parametrize(
    ("values", "reason"),
    [([], "Input is empty."), ([b"no picture"], "Unknown image file format.")],
)
@pytest.mark.parametrize(
    ("size", "message"), [(2**20, None), (2**23, "larger"), (2**40, "larger")]
)
def test_many_strings_in_a_small_message(
    channel, values, reason, size, message
):
    """The strings are neither checked one by one nor all created."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    fill_spec(request.model_spec, signature_name="image_bytes")
    tensor = request.inputs["image_bytes"]
    tensor.dtype = tf.string.as_datatype_enum
    tensor.tensor_shape.dim.add(size=size)
    tensor.string_val.extend(values)
    with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT") as error:
        stub.Predict(request, timeout=60)
    assert (message or reason) in error.value.details()


def fill_spec(message, name="small", version=None, label=None, **more):
    message.name = name
    if version is not None:
        message.version.value = version
    if label is not None:
        message.version_label = label
    for key, value in more.items():
        setattr(message, key, value)


IMAGES = np.array([[[[1, 2, 3]]]], np.float32)


@pytest.mark.parametrize(
    ("spec", "version", "factor"),
    [({}, 2, 2), ({"version": 1}, 1, 0.5), ({"label": "stable"}, 1, 0.5)],
)
def test_predict(predict, spec, version, factor):
    response = predict({"images": IMAGES}, **spec)
    assert response.model_spec.name == "small"
    assert response.model_spec.version.value == version
    assert response.model_spec.signature_name == "serving_default"
    # Where TF-Serving's clients look.
    assert list(response.outputs["deblurred"].float_val) == [
        factor * value for value in (1, 2, 3)
    ]
    deblurred = tf.make_ndarray(response.outputs["deblurred"])
    assert deblurred.dtype == np.float32
    np.testing.assert_array_equal(deblurred, IMAGES * factor)


def test_output_filter(predict):
    inputs = {
        "tag": [b"a"],
        "signal": np.array([[1, 2]], np.int64),
        "sensor": np.array([[1, 2]], np.float32),
    }
    response = predict(inputs, "named", ["total"])
    assert list(response.outputs) == ["total"]
    assert tf.make_ndarray(response.outputs["total"]) == [3]


def test_dtypes(predict):
    values = {
        "small": np.array([0, 255], np.uint8),
        "flag": np.array([True, False]),
        "exact": np.array([0.1, np.nan]),
    }
    outputs = predict(values, "dtypes").outputs
    values["half"] = values["exact"].astype(np.float16)
    for name, value in values.items():
        received = tf.make_ndarray(outputs[name])
        assert received.dtype == value.dtype
        np.testing.assert_array_equal(received, value)


@pytest.mark.parametrize(
    ("kwargs", "code", "words"),
    [
        (
            {"inputs": {"images": IMAGES}, "name": "half"},
            StatusCode.NOT_FOUND,
            "Servable not found for request: Latest(half)",
        ),
        (
            {"inputs": {"images": IMAGES}, "label": "none"},
            StatusCode.INVALID_ARGUMENT,
            "Unrecognized servable version label: none",
        ),
        (
            {"inputs": {"images": IMAGES}, "name": ""},
            StatusCode.INVALID_ARGUMENT,
            "ModelSpec has no name specified.",
        ),
        (
            {"inputs": {"images": IMAGES}, "signature": "none"},
            StatusCode.FAILED_PRECONDITION,
            'Serving signature key "none" not found.',
        ),
        (
            {"inputs": {}, "signature": "__saved_model_init_op"},
            StatusCode.INVALID_ARGUMENT,
            "Expected prediction signature method_name to be one of ",
        ),
        (
            {"inputs": {}},
            StatusCode.INVALID_ARGUMENT,
            "Missing but required: {images}.",
        ),
        (
            {"inputs": {"pictures": IMAGES}},
            StatusCode.INVALID_ARGUMENT,
            "input tensor alias not found in signature: pictures.",
        ),
        (
            {"inputs": {"images": IMAGES.astype(np.float64)}},
            StatusCode.INVALID_ARGUMENT,
            "float",
        ),
        (
            {"inputs": {"images": IMAGES}, "outputs": ["sharp"]},
            StatusCode.INVALID_ARGUMENT,
            "output tensor alias not found in signature: sharp",
        ),
        (
            {"inputs": {"image_bytes": [b"no image"]}}
            | {"signature": "image_bytes"},
            StatusCode.INVALID_ARGUMENT,
            "Unknown image file format. One of JPEG",
        ),
    ],
)
def test_errors(predict, kwargs, code, words):
    with pytest.raises(grpc.RpcError, match=code.name) as caught:
        predict(**kwargs)
    assert caught.value.code() == code
    assert words in caught.value.details()


def test_metadata(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        metadata_field=["signature_def"]
    )
    fill_spec(request.model_spec)
    response = stub.GetModelMetadata(request, timeout=60)
    assert response.model_spec.version.value == 2
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert "images" in signatures.signature_def["serving_default"].inputs
    request.metadata_field[:] = ["weights"]
    with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
        stub.GetModelMetadata(request, timeout=60)


def test_status(channel):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    fill_spec(request.model_spec, version=1)
    (status,) = stub.GetModelStatus(request, timeout=60).model_version_status
    assert (status.version, status.state) == (1, status.AVAILABLE)
    fill_spec(request.model_spec, version=9)
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        stub.GetModelStatus(request, timeout=60)


def test_requests_without_a_model(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
    for call, request in (
        (stub.Predict, predict_pb2.PredictRequest()),
        (
            stub.GetModelMetadata,
            get_model_metadata_pb2.GetModelMetadataRequest(),
        ),
        (status, get_model_status_pb2.GetModelStatusRequest()),
    ):
        with pytest.raises(grpc.RpcError, match="Missing ModelSpec") as caught:
            call(request, timeout=60)
        assert caught.value.code() == StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["half_plus_two", "half_plus_three"])
@pytest.mark.parametrize("value", [2, [2], [2, 3, 4], [[2]], [[2, 3]]])
def test_shapes_are_left_to_the_graph(predict, name, value):
    """The signatures state (None, 1), or nothing."""
    x = np.array(value, np.float32)
    y = tf.make_ndarray(predict({"x": x}, name=name).outputs["y"])
    np.testing.assert_array_equal(y, x / 2 + (3 if "three" in name else 2))
