import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_radn.inference import Deblurrer, deblur
from keras_radn.inference.network import (
    as_function,
    check_network,
    reason_of,
    self_ensemble,
)


def network(layer, shape=(None, None, 3)):
    """Wraps a function of the input in a Keras model."""
    images = keras.Input(shape)
    return keras.Model(images, layer(images))


def convolution(filters, **options):
    return keras.layers.Conv2D(filters, 3, padding="same", **options)


def not_finite(value):
    """Replaces the first pixel."""

    def call(images):
        answer = np.array(images)
        answer[0, 0, 0, 0] = value
        return answer

    return call


class Subclass(keras.Model):
    """A model whose input shape is unknown."""

    def call(self, images):
        return 1 - images


def test_self_ensemble_is_the_mean_of_eight_orientations(rng):
    """The network shifts the image by one row."""
    image = rng.random((6, 6, 3)).astype("float32")
    # Each of the four directions comes twice.
    expected = sum(
        np.roll(image, shift, axis) for axis in (0, 1) for shift in (1, -1)
    )
    np.testing.assert_allclose(
        self_ensemble(lambda x: np.roll(x, 1, axis=0), image),
        expected / 4,
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    "model",
    [
        lambda: network(convolution(3), (None, None, 1)),
        lambda: network(convolution(1)),
        lambda: network(lambda x: [x, x]),
        lambda: network(keras.layers.Dense(3), (8,)),
    ],
)
def test_models_of_other_things_than_images(model, rng):
    with pytest.raises(ValueError, match=r"maps images .* to images"):
        check_network(model())
    with pytest.raises(ValueError, match=r"maps images .* to images"):
        deblur(rng.random((8, 9, 3)), model())


@pytest.mark.parametrize(
    ("model", "received"),
    [
        (lambda: network(convolution(3, strides=2)), r"\(1, 4, 5, 3\)"),
        (lambda: network(keras.layers.UpSampling2D()), r"\(1, 16, 18, 3\)"),
        (lambda: lambda x: x[..., :1], r"\(1, 8, 9, 1\)"),
        (lambda: lambda x: x[0], r"\(8, 9, 3\)"),
        (lambda: lambda x: [x[0], x[0, :3]], "list"),
        (lambda: lambda x: {"images": x}, "dict"),
        (lambda: lambda x: None, "NoneType"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"ensemble": True}])
def test_answers_of_another_size(model, received, options, rng):
    image = rng.random((8, 9, 3))
    with pytest.raises(ValueError, match=rf"the size .*Received: {received}"):
        deblur(image, Deblurrer(model(), **options))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(40, 40, 3), (40, 40)])
@pytest.mark.parametrize(
    "options",
    [{}, {"ensemble": True}, {"multi_scale": True}, {"tile": 32}],
)
def test_answers_that_are_not_finite(value, shape, options, rng):
    image = rng.integers(0, 255, shape, np.uint8)
    with pytest.raises(ValueError, match="NaN or infinite pixels"):
        deblur(image, Deblurrer(not_finite(value), **options))


def test_a_model_of_half_precision_that_overflows(rng):
    layer = keras.layers.Rescaling(1e6, dtype="float16")
    with pytest.raises(ValueError, match="in float16"):
        deblur(rng.random((8, 9, 3)), network(layer))


def test_a_subclass_of_the_model(rng):
    image = rng.random((8, 9, 3)).astype("float32")
    np.testing.assert_allclose(deblur(image, Subclass()), 1 - image)


def test_an_image_that_the_network_cannot_process(rng):
    """An odd side is halved and doubled; the error is one plain sentence."""

    def halved_and_doubled(images):
        small = keras.layers.MaxPool2D()(images)
        return keras.layers.Add()([images, keras.layers.UpSampling2D()(small)])

    model = network(halved_and_doubled)
    assert deblur(rng.random((8, 10, 3)), model).shape == (8, 10, 3)
    with pytest.raises(ValueError, match=r"fails on .* 9x8 pixels: ") as caught:
        deblur(rng.random((8, 9, 3)), model)
    assert "Incompatible shapes" in str(caught.value)
    assert not {"\n", "\x1b"} & set(str(caught.value))

    def flat(images):
        return keras.layers.Reshape((4, 4, 3))(
            keras.layers.Dense(48)(keras.layers.Flatten()(images))
        )

    with pytest.raises(ValueError, match=r"fails on .* 9x8 pixels: ") as caught:
        deblur(rng.random((8, 9, 3)), network(flat, (4, 4, 3)))
    assert not {"\n", "\x1b"} & set(str(caught.value))


def test_full_memory_is_no_failure_of_the_network(rng, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    model = network(convolution(3))
    run = as_function(model)
    monkeypatch.setattr(model, "call", full)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        run(rng.random((8, 9, 3)).astype("float32"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("It is bad."), "It is bad"),
        (ValueError(""), "ValueError"),
        (KeyError("No config.json"), "No config.json"),
        (OSError("first\nsecond"), "first"),
    ],
)
def test_reasons(error, reason):
    assert reason_of(error) == reason
