"""The REST API as TF-Serving's api_rest.md and its sources describe it."""

import base64
import io
import json
import math

import numpy as np
import pytest
import requests
from PIL import Image

pytestmark = pytest.mark.slow

SMALL = "/v1/models/small"
PREDICT = f"{SMALL}:predict"


@pytest.fixture(scope="module")
def session():
    with requests.Session() as session:
        yield session


@pytest.fixture
def ask(endpoint, session):
    """Status and JSON of a request."""

    def ask(method, path, body=None):
        if not isinstance(body, bytes | None):
            body = json.dumps(body).encode()
        response = session.request(
            method, endpoint.url + path, data=body, timeout=10
        )
        assert response.headers["Content-Type"] == "application/json"
        return response.status_code, json.loads(response.text)

    return ask


def version_status(*versions):
    return {
        "model_version_status": [
            {
                "version": str(version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version in versions
        ]
    }


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        (SMALL, (2, 1)),
        (f"{SMALL}/versions/1", (1,)),
        (f"{SMALL}/labels/canary", (2,)),
    ],
)
def test_status(ask, path, versions):
    status, answer = ask("GET", path)
    assert status == 200
    key = "model_version_status"
    assert (
        sorted(answer[key], key=lambda v: v["version"], reverse=True)
        == (version_status(*versions)[key])
    )


@pytest.mark.parametrize(
    ("path", "version"),
    [("", "2"), ("/versions/1", "1"), ("/labels/stable", "1")],
)
def test_metadata(ask, path, version):
    status, answer = ask("GET", f"{SMALL}{path}/metadata")
    assert status == 200
    assert answer["model_spec"] == {
        "name": "small",
        "signature_name": "",
        "version": version,
    }
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    images = signatures["serving_default"]["inputs"]["images"]
    assert images["dtype"] == "DT_FLOAT"
    sizes = [dim["size"] for dim in images["tensor_shape"]["dim"]]
    assert sizes == ["-1", "-1", "-1", "3"]
    assert signatures["image_bytes"]["method_name"] == (
        "tensorflow/serving/predict"
    )


NAMED_ROWS = [
    {"tag": "foo", "signal": [1, 2, 3], "sensor": [1, 2]},
    {"tag": "bar", "signal": [4, 5, 6], "sensor": [3, 4.5]},
]
NAMED_COLUMNS = {
    "tag": ["foo", "bar"],
    "signal": [[1, 2, 3], [4, 5, 6]],
    "sensor": [[1, 2], [3, 4.5]],
}


@pytest.mark.parametrize(
    ("path", "request_body", "answer"),
    [
        # The row format: a list of the only input's values.
        (
            PREDICT,
            {"instances": [[[[1, 2, 3.5]]], [[[0, 0.1, -1e3]]]]},
            {"predictions": [[[[2.0, 4.0, 7.0]]], [[[0.0, 0.2, -2000.0]]]]},
        ),
        # A list of objects.
        (
            PREDICT,
            {"signature_name": "serving_default"}
            | {"instances": [{"images": [[[1, 2, 3]]]}]},
            {"predictions": [[[[2.0, 4.0, 6.0]]]]},
        ),
        # The columnar format: the only input's value, or an object.
        (
            PREDICT,
            {"inputs": [[[[1, 2, 3]]]]},
            {"outputs": [[[[2.0, 4.0, 6.0]]]]},
        ),
        (
            PREDICT,
            {"inputs": {"images": [[[[1, 2, 3]]]]}},
            {"outputs": [[[[2.0, 4.0, 6.0]]]]},
        ),
        # Several inputs and outputs.
        (
            PREDICT,
            {"signature_name": "named", "instances": NAMED_ROWS},
            {
                "predictions": [
                    {"tag": "foo", "total": 6, "sensor": [0.5, 1.0]},
                    {"tag": "bar", "total": 15, "sensor": [1.5, 2.25]},
                ]
            },
        ),
        (
            PREDICT,
            {"signature_name": "named", "inputs": NAMED_COLUMNS},
            {
                "outputs": {
                    "tag": ["foo", "bar"],
                    "total": [6, 15],
                    "sensor": [[0.5, 1.0], [1.5, 2.25]],
                }
            },
        ),
        # The types; a string may be base64, too.
        (
            PREDICT,
            {"signature_name": "dtypes"}
            | {"instances": [{"small": 255, "flag": True, "exact": 0.1}]},
            {
                "predictions": [
                    {"small": 255, "flag": True, "exact": 0.1}
                    | {"half": 0.0999755859375}
                ]
            },
        ),
        (
            PREDICT,
            {
                "signature_name": "named",
                "inputs": NAMED_COLUMNS
                | {"tag": [{"b64": "Zm9v"}, {"b64": "YmE="}]},
            },
            {
                "outputs": {
                    "tag": ["foo", "ba"],
                    "total": [6, 15],
                    "sensor": [[0.5, 1.0], [1.5, 2.25]],
                }
            },
        ),
        # Versions and labels.
        (
            f"{SMALL}/versions/1:predict",
            {"inputs": [[[[1, 2, 3]]]]},
            {"outputs": [[[[0.5, 1.0, 1.5]]]]},
        ),
        (
            f"{SMALL}/labels/stable:predict",
            {"inputs": [[[[1, 2, 3]]]]},
            {"outputs": [[[[0.5, 1.0, 1.5]]]]},
        ),
    ],
)
def test_predict(ask, path, request_body, answer):
    status, received = ask("POST", path, request_body)
    assert (status, list(received)) == (200, list(answer))
    # Numbers are those of the type, not of its decimal digits.
    assert json.loads(json.dumps(received), parse_float=np.float32) == (
        json.loads(json.dumps(answer), parse_float=np.float32)
    )


def test_images_as_files(ask, photo):
    """Names that end in _bytes are base64 in answers, sizes may differ."""
    pictures = [photo[:20, :30], photo[100:117, 200:211]]
    status, answer = ask(
        "POST",
        PREDICT,
        {
            "signature_name": "image_bytes",
            "instances": [{"b64": encode(picture)} for picture in pictures],
        },
    )
    assert status == 200
    for picture, prediction in zip(
        pictures, answer["predictions"], strict=True
    ):
        data = base64.b64decode(prediction["b64"])
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(np.asarray(image), 255 - picture)


def encode(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def test_tokens_that_are_no_json(ask):
    body = b'{"inputs": [[[[NaN, Infinity, -Infinity]]]]}'
    status, answer = ask("POST", PREDICT, body)
    nan, *infinite = answer["outputs"][0][0][0]
    assert (status, infinite) == (200, [math.inf, -math.inf])
    assert math.isnan(nan)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", PREDICT, b"", 400, "JSON Parse error: The document is empty"),
        (
            "POST",
            PREDICT,
            b"instances = [1, 2]",
            400,
            "JSON Parse error: Invalid value. at offset: 0",
        ),
        ("POST", PREDICT, b'{"inputs": [1', 400, "JSON Parse error: Missing"),
        ("POST", PREDICT, b'{"a": "\xff"}', 400, "JSON Parse error"),
        ("POST", PREDICT, [1], 400, "Is not object"),
        ("POST", PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
        (
            "POST",
            PREDICT,
            {"inputs": [1], "instances": [1]},
            400,
            "only one of 'inputs' or 'instances' keys to exist",
        ),
        (
            "POST",
            PREDICT,
            {"instances": 1},
            400,
            "Expecting 'instances' to be an list/array",
        ),
        (
            "POST",
            PREDICT,
            {"instances": []},
            400,
            "No values in 'instances' array",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": 100},
            400,
            "'signature_name' key must be a string value.",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "none", "inputs": [1]},
            400,
            'Serving signature name: "none" not found in signature def',
        ),
        (
            "POST",
            PREDICT,
            {"inputs": [[[["x", "y", "z"]]]]},
            400,
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        (
            "POST",
            PREDICT,
            {"inputs": [[[[True, 1, 1]]]]},
            400,
            "Type: True is not of expected type: float",
        ),
        (
            "POST",
            PREDICT,
            {"inputs": [[[[1, 2, 3], [1, 2]]]]},
            400,
            "Encountered list at unexpected size: 2 at level: 3",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "named", "instances": [1]},
            400,
            "instances is a plain list, but expecting list of objects",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "named", "instances": [{"tag": "a"}]},
            400,
            "keys must be equal to: sensor,signal,tag",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "named", "instances": [NAMED_ROWS[0], [1]]},
            400,
            "Expecting object but got list at item 1 of input list",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "named", "inputs": [1]},
            400,
            "inputs is a plain value/list, but expecting an object",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "named", "inputs": {"tag": ["a"]}},
            400,
            "Missing named input: ",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "image_bytes", "inputs": [{"b64": "*"}]},
            400,
            "Unable to base64 decode",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "image_bytes", "inputs": [{"b64": "Zm9v"}]},
            400,
            "Unknown image file format. One of JPEG",
        ),
        (
            "POST",
            PREDICT,
            {"signature_name": "ragged", "instances": [1, 2]},
            400,
            "has inconsistent batch size",
        ),
        (
            "POST",
            "/v1/models/half:predict",
            {"instances": [1.0]},
            404,
            "Servable not found for request: Latest(half)",
        ),
        (
            "POST",
            f"{SMALL}/versions/99:predict",
            {"instances": [1.0]},
            404,
            "Servable not found for request: Specific(small, 99)",
        ),
        (
            "POST",
            f"{SMALL}/labels/none:predict",
            {"instances": [1.0]},
            400,
            "Unrecognized servable version label: none",
        ),
        (
            "POST",
            f"{SMALL}:classify",
            {"examples": [{"x": 1.0}]},
            400,
            "Expected classification signature method_name to be "
            "tensorflow/serving/classify. Was: tensorflow/serving/predict",
        ),
        (
            "POST",
            f"{SMALL}:regress",
            {"signature_name": "none", "examples": [{"x": 1.0}]},
            400,
            "No signature was found with the name: none",
        ),
        (
            "GET",
            "/v1/models/half",
            None,
            404,
            "Could not find any versions of model half",
        ),
        (
            "GET",
            f"{SMALL}/versions/99",
            None,
            404,
            "Could not find version 99 of model small",
        ),
        (
            "GET",
            "/v1/models/half/metadata",
            None,
            404,
            "Servable not found for request: Latest(half)",
        ),
        ("GET", "/v1/models", None, 400, "Missing model name in request."),
        ("GET", "/v1/foo", None, 400, "Malformed request: GET /v1/foo"),
        ("POST", "/v1/models", b"", 400, "Malformed request: POST"),
        ("GET", f"{SMALL}/", None, 400, f"Malformed request: GET {SMALL}/"),
        ("POST", f"{PREDICT}/", b"", 400, "Malformed request: POST"),
        ("GET", PREDICT, None, 400, "Malformed request: GET"),
        ("PUT", PREDICT, b"", 400, "Malformed request: PUT"),
        (
            "POST",
            f"{SMALL}/versions/HELLO:predict",
            b"",
            400,
            "Malformed request",
        ),
        (
            "GET",
            f"{SMALL}/versions/{2**64 - 1}",
            None,
            400,
            f"Failed to convert version: {2**64 - 1} to numeric.",
        ),
        ("GET", f"{SMALL}/versions/{'9' * 5000}", None, 400, "Failed to"),
    ],
)
def test_errors(ask, method, path, body, status, words):
    received, answer = ask(method, path, body)
    assert (received, list(answer)) == (status, ["error"])
    assert words in answer["error"]
    # One sentence for a user, neither a stack nor the whole request.
    assert len(answer["error"]) < 500 + len(path)


def test_nesting_beyond_all_stacks(ask):
    status, answer = ask("POST", PREDICT, b'{"inputs":' + b"[" * 100_000)
    assert status == 400
    assert "error" in answer
