"""A network of this package, exported and served."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from keras_radn import RADN, Deblurrer
from tests.conftest import TINY_RADN, randomize
from tests.serving.running_server import running_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network():
    network = RADN(**TINY_RADN)
    randomize(network, 0.03)
    return network


@pytest.fixture(scope="module")
def server(network, tmp_path_factory):
    """`keras-radn serve` with a model file."""
    folder = tmp_path_factory.mktemp("network")
    network.save(folder / "tiny.keras")
    with running_server(
        folder,
        *("--model", folder / "tiny.keras"),
        *("--max-megapixels", 0.02),
    ) as server:
        yield server


def post(server, data):
    return server.post(
        "radn:predict",
        json={
            "signature_name": "image_bytes",
            "instances": [{"b64": base64.b64encode(data).decode()}],
        },
    )


def png(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    return buffer.getvalue()


def test_equals_the_network(server, network, photo):
    picture = photo[50:113, 90:191]
    here = Deblurrer(network, dtype="float32")
    sharp = np.asarray(here(picture), int)
    assert np.abs(sharp - picture).max() > 5
    (prediction,) = post(server, png(picture)).json()["predictions"]
    data = base64.b64decode(prediction["b64"])
    with Image.open(io.BytesIO(data)) as answer:
        assert np.abs(np.asarray(answer, int) - sharp).max() <= 1
    images = (picture / np.float32(255))[np.newaxis]
    answer = server.post("radn:predict", json={"instances": images.tolist()})
    (deblurred,) = answer.json()["predictions"]
    expected = np.clip(network(images, training=False)[0], 0, 1)
    np.testing.assert_allclose(deblurred, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 400, "An image is neither JPEG nor PNG; encode it as one"),
        (b"no picture", 400, "An image is neither JPEG nor PNG;"),
        (png(np.zeros((30, 30, 3), np.uint8))[:-30], 400, "Invalid PNG data"),
        (png(np.zeros((200, 200, 3), np.uint8)), 413, "40000 pixels"),
    ],
)
def test_pictures_that_are_none(server, data, status, words):
    answer = post(server, data)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert len(answer.json()["error"]) > 20


def test_images_without_pixels(server):
    for images in ([[[]]], [[[[]]]], [[[[1, 2, 3, 4]]]], [[[]], [[]]]):
        answer = server.post("radn:predict", json={"instances": images})
        assert answer.status_code == 400
