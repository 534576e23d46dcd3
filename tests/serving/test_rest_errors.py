"""The errors of the REST API, in the words of TF-Serving's sources."""

import pytest

from tests.serving.rest_requests import NAMED_ROWS, PREDICT, SMALL

pytestmark = pytest.mark.slow


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
