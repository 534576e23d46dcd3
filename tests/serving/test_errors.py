"""Errors of TensorFlow's graphs, as one sentence for a client."""

import numpy as np
import pytest
import tensorflow as tf
from grpc import StatusCode

from keras_radn.serving.errors import ServingError, from_tensorflow
from keras_radn.serving.servable import Servable

v1 = tf.compat.v1


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "Graph execution error:\n\njpeg::Uncompress failed. Invalid JPEG "
            "data or crop window.\n\t [[{{node map/while/DecodeJpeg}}]]",
            "jpeg::Uncompress failed. Invalid JPEG data or crop window.",
        ),
        (
            "{{function_node __inference_f_1}} Graph execution error:\n\n"
            "assertion failed: [An image is neither JPEG nor PNG.]\n\t [[a]]",
            "An image is neither JPEG nor PNG.",
        ),
        (
            "assertion failed: [Sizes:] [1 2]",
            "assertion failed: [Sizes:] [1 2]",
        ),
        ("/a/variables; No such file", "/a/variables; No such file"),
    ],
)
def test_the_reason_without_names_of_nodes(message, sentence):
    error = tf.errors.InvalidArgumentError(None, None, message)
    assert from_tensorflow(error).message == sentence


def test_a_graph_of_tensorflow_1(tmp_path):
    """Its nodes, outside of functions, are named before the reason."""
    with tf.Graph().as_default(), v1.Session() as session:
        files = v1.placeholder(tf.string, [None])
        picture = tf.io.decode_png(files[0])
        v1.saved_model.simple_save(
            session, str(tmp_path / "1"), {"files": files}, {"picture": picture}
        )
    servable = Servable(tmp_path / "1")
    with pytest.raises(ServingError, match=r"^Unknown image") as caught:
        servable.predict("", {"files": np.array([b"foo"], object)})
    servable.close()
    assert caught.value.code == StatusCode.INVALID_ARGUMENT
