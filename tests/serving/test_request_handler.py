"""Limits on the work of a request."""

import io

import pytest
from PIL import Image
from tensorflow_serving.apis import input_pb2

from keras_radn.serving.errors import ServingError
from keras_radn.serving.examples import Task
from keras_radn.serving.request_handler import RequestHandler
from tests.serving.example_models import CLASSIFY


def refused(source):
    """Returns the error of examples that no graph has seen yet."""
    handler = RequestHandler(None, None, None, 1, max_body=5000, max_pixels=500)
    with pytest.raises(ServingError) as caught:
        handler.infer(None, [Task(CLASSIFY)], source, 0)
    assert caught.value.http_status == 413
    return caught.value.message


def add_value(example, value):
    example.features.feature["x"].bytes_list.value.append(value)


@pytest.fixture
def picture():
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "png")
    return buffer.getvalue()


def test_what_is_common_is_counted_in_each_example():
    source = input_pb2.Input()
    common = source.example_list_with_context
    add_value(common.context, bytes(1000))
    for _ in range(5):
        common.examples.add()
    assert "more than the server's 5000" in refused(source)


def test_pictures_in_examples(picture):
    source = input_pb2.Input()
    for _ in range(2):
        add_value(source.example_list.examples.add(), picture)
    assert "images of 800 pixels" in refused(source)


def test_a_picture_that_is_common(picture):
    source = input_pb2.Input()
    common = source.example_list_with_context
    add_value(common.context, picture)
    for _ in range(2):
        add_value(common.examples.add(), b"no picture")
    assert "images of 800 pixels" in refused(source)
