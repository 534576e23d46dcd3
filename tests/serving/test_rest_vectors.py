"""Requests and answers of TF-Serving's own tests, over REST."""

import json
import math

import pytest
import requests

pytestmark = pytest.mark.slow

TWO = "half_plus_two:predict"
NAMED = '{"signature_name": "named", '
ROW = '{"tag": "a", "signal": [1, 2], "sensor": [1, 2]}'


def nested(depth, value="1"):
    return "[" * depth + value + "]" * depth


@pytest.fixture
def post(endpoint):
    def post(path, body):
        if not isinstance(body, bytes | str):
            body = json.dumps(body)
        answer = requests.post(
            f"{endpoint.url}/v1/models/{path}", data=body, timeout=60
        )
        return answer.status_code, json.loads(answer.text)

    return post


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        # The signature's shape is (None, 1), or none.
        (TWO, {"instances": [2, 3, 4]}, {"predictions": [3, 3.5, 4]}),
        (TWO, {"inputs": [2, 3, 4]}, {"outputs": [3, 3.5, 4]}),
        (TWO, {"inputs": 2}, {"outputs": 3}),
        (TWO, {"instances": [[2], [3]]}, {"predictions": [[3], [3.5]]}),
        (
            "half_plus_three:predict",
            {"instances": [1, 2, 5]},
            {"predictions": [3.5, 4, 5.5]},
        ),
        (
            "half_plus_three:predict",
            {"inputs": {"x": [[1]]}},
            {"outputs": [[3.5]]},
        ),
        # The methods of examples.
        (
            "half_plus_two:classify",
            {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]},
            {"results": [[["", 3.0]]]},
        ),
        (
            "half_plus_two:regress",
            {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]},
            {"results": [3.0]},
        ),
        (
            "half_plus_two/versions/123:classify",
            {"signature_name": "labels"}
            | {
                "examples": [{"x": [0.4], "label": {"b64": "Y2Fy"}}, {"x": 2.5}]
            },
            {"results": [[["car", 2.2]], [["none", 3.25]]]},
        ),
        (
            "half_plus_two:classify",
            {"signature_name": "labels", "context": {"label": "bus"}}
            | {"examples": [{"x": 0.0}, {"x": 1.0, "label": "bike"}]},
            {"results": [[["bus", 2.0]], [["bike", 2.5]]]},
        ),
        # The parser.
        (TWO, '{"instances": [2.0]} and more', {"predictions": [3]}),
        (TWO, b'{"instances": [2.0]} \xff', {"predictions": [3]}),
        (TWO, b'\xef\xbb\xbf{"instances": [2.0]}', {"predictions": [3]}),
        (TWO, '{"instances": [2], "instances": [4]}', {"predictions": [3]}),
        (TWO, '{"inputs": {"x": 2, "x": 4}}', {"outputs": 3}),
        (TWO, '{"instances": [1.797e308]}', {"predictions": [math.inf]}),
        (TWO, '{"instances": [-1e39]}', {"predictions": [-math.inf]}),
        (
            TWO,
            '{"instances": [2], "z": ' + nested(5000, '"]"') + "}",
            {"predictions": [3]},
        ),
        (
            TWO,
            '{"z": '
            + '{"a":' * 5000
            + "1"
            + "}" * 5000
            + ', "instances": [2]}',
            {"predictions": [3]},
        ),
    ],
)
def test_answers(post, path, body, answer):
    assert post(path, body) == (200, answer)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (
            "small:predict",
            {"signature_name": "__saved_model_init_op", "inputs": [1]},
            "Failed to get input map for signature: __saved_model_init_op",
        ),
        (
            "small:predict",
            {"signature_name": "__saved_model_init_op", "instances": [1]},
            "Failed to get input map for signature: __saved_model_init_op",
        ),
        (
            "small:predict",
            {"signature_name": "__saved_model_init_op", "inputs": {}},
            "Failed to get input map for signature: __saved_model_init_op",
        ),
        (
            TWO,
            {"instances": [[1, 2], [3, 4, 5]]},
            "Failed to process element: 1 of 'instances' list. Error: "
            "INVALID_ARGUMENT: Expecting tensor size: 2 but got: 3",
        ),
        (
            TWO,
            {"instances": [[1, 2], [[3, 4]]]},
            "Expecting shape [2] but got: [1,2]",
        ),
        (TWO, {"instances": [1, [1]]}, "Expecting shape [] but got: [1]"),
        (
            TWO,
            {"instances": [[1, 2], ["a", "b"]]},
            "Type: String is not of expected type: float",
        ),
        (
            TWO,
            {"instances": [[1, [2]]]},
            "Encountered list at unexpected level: 1 expected < 1",
        ),
        (
            TWO,
            {"inputs": [1, [2]]},
            "Encountered list at unexpected level: 1 expected < 1",
        ),
        (
            TWO,
            {"inputs": [[1], 2]},
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. "
            "Expected at level: 2",
        ),
        (TWO, {"instances": {"x": 1}}, "Expecting 'instances' to be an list"),
        (
            TWO,
            {"instances": [{"x": 1, "z": 2}]},
            "Failed to process element: 0 key: z of 'instances' list. Error: "
            "INVALID_ARGUMENT: JSON object: does not have named input: z",
        ),
        (
            "small:predict",
            NAMED + f'"instances": [{ROW}, {ROW[:-2]}, 3]}}]}}',
            "Failed to process element: 1 key: sensor of 'instances' list. "
            "Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 3",
        ),
        (TWO, '{"inputs": ' + nested(70) + "}", "64 dimensions"),
        (TWO, '{"inputs": ' + nested(999) + "}", "64 dimensions"),
        (TWO, '{"inputs": ' + nested(9999) + "}", "dimensions"),
        (TWO, '{"a": ' + nested(9999), "JSON Parse error"),
        (TWO, '{"a": ' + "[" * 9999 + "}" * 9999, "JSON Parse error"),
        (
            "small:predict",
            {"signature_name": "named"}
            | {"inputs": {"tag": "a", "signal": [1], "sensor": [[1, 2]]}},
            "The input signal has the shape (1,), in the signature "
            "(None, None).",
        ),
    ],
)
def test_errors(post, path, body, words):
    status, answer = post(path, body)
    assert (status, list(answer)) == (400, ["error"])
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("method", "signature", "more", "words"),
    [
        (
            "classify",
            "",
            {"examples": [{"x": 1.0}]},
            "Expected classification signature method_name to be "
            "tensorflow/serving/classify. Was: tensorflow/serving/predict",
        ),
        ("regress", "?", {"examples": [{}]}, "No signature was found with"),
        ("classify", "labels", {}, "key 'examples' is expected and was not"),
        ("classify", "labels", {"examples": {"x": 1}}, "to be an list/array"),
        ("classify", "labels", {"examples": []}, "value is an empty array"),
        ("classify", "labels", {"examples": [[]]}, "Example must be JSON obje"),
        ("classify", "labels", {"context": [], "examples": [{}]}, "JSON Array"),
        (
            "regress",
            "regress_x_to_y",
            {"examples": [{"x": [1.0, None]}]},
            "Feature: x has element with unexpected JSON type: Null",
        ),
        (
            "regress",
            "regress_x_to_y",
            {"examples": [{"x": [[1.0]]}]},
            "Feature: x has element with unexpected JSON type: Array",
        ),
        (
            "regress",
            "regress_x_to_y",
            {"examples": [{"x": {"test": 10}}]},
            "Feature: x has element with unexpected JSON type: Object",
        ),
        (
            "regress",
            "regress_x_to_y",
            {"examples": [{"x": [10, 10.0]}]},
            "Unexpected element type in feature: x expecting type: int64",
        ),
        (
            "regress",
            "regress_x_to_y",
            {"examples": [{"x": 18446744073709551603}]},
            "Only int64_t is supported",
        ),
        # What the graph says, and what is not what the method returns.
        ("regress", "regress_x_to_y", {"examples": [{}]}, "Feature: x"),
        ("regress", "regress_x_to_y", {"examples": [{"x": 1}]}, "x"),
        (
            "regress",
            "two_columns",
            {"examples": [{"x": 1.0}]},
            "Expected output Tensor shape to be either [batch_size] or "
            "[batch_size, 1] but got [1,2]",
        ),
        (
            "regress",
            "integers",
            {"examples": [{"x": 1.0}]},
            "Expected output Tensor of DT_FLOAT. Got: DT_INT32",
        ),
        (
            "classify",
            "one_example",
            {"examples": [{"x": 1.0}, {"x": 1.0}]},
            "Expected scores output batch size of 2. Got: 1",
        ),
        (
            "classify",
            "uneven",
            {"examples": [{"x": 1.0}]},
            "Tensors class and score should match in dim_size(1). Got 1 vs. 2",
        ),
        ("regress", "other_input", {"examples": [{}]}, "No regression inputs"),
        ("classify", "other_output", {"examples": [{}]}, "classes, scores"),
        ("regress", "two_inputs", {"examples": [{}]}, "Expected one input"),
    ],
)
def test_errors_of_examples(post, method, signature, more, words):
    body = {"signature_name": signature, **more}
    status, answer = post(f"half_plus_two:{method}", body)
    assert (status, list(answer)) == (400, ["error"])
    assert words in answer["error"]


ODD = "half%2Fplus%3Atwo%3F"


@pytest.mark.parametrize(
    "path", [ODD, f"{ODD}/versions/123", f"{ODD}/labels/a%2Fb%3ac"]
)
def test_encoded_names(endpoint, post, path):
    assert post(f"{path}:predict", {"inputs": 2}) == (200, {"outputs": 3})
    for rest in ("", "/metadata"):
        url = f"{endpoint.url}/v1/models/{path}{rest}"
        assert requests.get(url, timeout=60).status_code == 200
    # A slash that does not belong to the name.
    assert post("half/plus:two?:predict", {})[0] == 400


def test_encoded_names_are_counted(endpoint, post):
    def count():
        url = f"{endpoint.url}/monitoring/prometheus/metrics"
        page = requests.get(url, timeout=60).text
        return page.count('model_name="half/plus:two?",status="OK"')

    assert post(f"{ODD}:predict", {"inputs": 2})[0] == 200
    assert count() == 1
