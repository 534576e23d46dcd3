"""The REST API, compared with TF-Serving's api_rest.md and its sources."""

import base64
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from tests.serving.rest_requests import (
    NAMED_COLUMNS,
    NAMED_ROWS,
    PREDICT,
    SMALL,
)

pytestmark = pytest.mark.slow


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
    """Names that end in _bytes are base64; sizes may differ."""
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
