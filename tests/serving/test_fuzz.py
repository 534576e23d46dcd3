"""Random requests, which may neither crash the server nor be its fault."""

import base64
import io
import json

import grpc
import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

pytestmark = pytest.mark.slow


def fuzz(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# Statuses that are not faults of the server: 501, and its overload.
_FINE = {501, 503, 504}


def _encoded(suffix):
    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()[:9, :9]).save(buffer, suffix)
    return buffer.getvalue()


_PICTURES = [_encoded(s) for s in ("png", "jpeg", "gif", "bmp")]


@st.composite
def damaged_pictures(draw):
    picture = bytearray(draw(st.sampled_from(_PICTURES)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(picture) - 1))
        picture[place] = draw(st.integers(0, 255))
    end = draw(st.integers(0, len(picture)))
    return bytes(picture[: end or None])


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.builds(
        lambda picture: {"b64": base64.b64encode(picture).decode()},
        damaged_pictures(),
    )
    | st.fixed_dictionaries({"b64": st.text(max_size=6)})
)
_INPUT_NAMES = st.sampled_from(
    ["images", "image_bytes", "tag", "signal", "sensor", "x", "b64"]
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_INPUT_NAMES, inner, max_size=3)
    ),
    max_leaves=12,
)
# Tensors of the right rank, of which some are of the right type.
_TENSORS = st.integers(0, 5).flatmap(lambda rank: _nested(_LEAVES, rank))


def _nested(leaves, rank):
    for _ in range(rank):
        leaves = st.lists(leaves, min_size=1, max_size=3)
    return leaves


_SIGNATURES = st.sampled_from(
    ["serving_default", "image_bytes", "named", "dtypes", "ragged", "", "none"]
)
_BODIES = st.one_of(
    st.binary(max_size=50),
    _VALUES.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"signature_name": _SIGNATURES | _LEAVES},
        optional={
            "instances": _VALUES | _TENSORS,
            "inputs": _VALUES | _TENSORS,
        },
    ).map(lambda value: json.dumps(value).encode()),
)
_PATHS = st.one_of(
    st.just("/v1/models/small:predict"),
    st.lists(
        st.sampled_from(
            [
                *("v1", "models", "small", "small:predict", "versions", "1"),
                *("labels", "stable", "stable:predict", "metadata", "%00"),
                *("%2f", "-1", "9" * 30, ":", "..", "ä", "%ff", "1:regress"),
            ]
        ),
        max_size=6,
    ).map(lambda parts: "/" + "/".join(parts)),
)


@fuzz(1500)
@given(path=st.just("/v1/models/small:predict"), body=_BODIES)
def test_bodies(endpoint, session, path, body):
    check(session.post(endpoint.url + path, data=body, timeout=20))


@fuzz(500)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "X"]),
    path=_PATHS,
    body=_BODIES,
    headers=st.dictionaries(
        st.sampled_from(["Content-Encoding", "Content-Type", "Accept", "Host"]),
        st.sampled_from(["gzip", "br", "text/plain", "", "*"]),
        max_size=2,
    ),
)
def test_requests(endpoint, session, method, path, body, headers):
    check(
        session.request(
            method, endpoint.url + path, data=body, headers=headers, timeout=20
        )
    )


def check(response):
    assert response.status_code < 500 or response.status_code in _FINE
    if response.status_code >= 400 and response.content:
        assert list(response.json()) == ["error"]


_DIMENSIONS = st.integers(-1, 4) | st.sampled_from([2**20, 2**40, 2**62])


@st.composite
def tensor_protos(draw):
    tensor = tensor_pb2.TensorProto(dtype=draw(st.integers(0, 30)))
    for size in draw(st.lists(_DIMENSIONS, max_size=5)):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_shape.unknown_rank = draw(st.booleans())
    tensor.float_val.extend(draw(st.lists(st.floats(width=32), max_size=3)))
    tensor.string_val.extend(draw(st.lists(damaged_pictures(), max_size=2)))
    tensor.tensor_content = draw(st.binary(max_size=48))
    return tensor


@fuzz(700)
@given(
    signature=_SIGNATURES,
    inputs=st.dictionaries(_INPUT_NAMES, tensor_protos(), max_size=3),
)
def test_protos(endpoint, stub, signature, inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "small"
    request.model_spec.signature_name = signature
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tensor)
    call = stub.Predict.future(request, timeout=20)
    assert call.exception() is None or call.code() in (
        StatusCode.INVALID_ARGUMENT,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.UNIMPLEMENTED,
    )


@pytest.fixture(scope="module")
def stub(endpoint):
    with grpc.insecure_channel(endpoint.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)
