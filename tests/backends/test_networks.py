"""Whole networks, on the backend that Keras uses."""

import keras
import numpy as np
import pytest

import keras_radn
from keras_radn.models.packaged_weights import write_weights
from tests.backends import networks
from tests.backends.gradients import float64
from tests.conftest import SMALL_RADN, TINY_RADN


@pytest.mark.slow
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_answers_are_those_of_tensorflow(name):
    model = networks.build(name)
    with np.load(networks.ANSWERS) as answers:
        for size in networks.SIZES:
            expected = answers[f"{name}, {size}"]
            residual = np.abs(expected - networks.images(size)).max()
            assert residual > 5e-4
            np.testing.assert_allclose(
                networks.answer(model, size), expected, rtol=1e-4, atol=1e-4
            )


@pytest.mark.slow
def test_predict_takes_images_of_any_size(tiny_radn):
    model = tiny_radn()
    for size in ((8, 8), (9, 14)):
        batch = np.random.default_rng(0).random((1, *size, 3), "float32")
        predicted = model.predict(batch, verbose=0)
        np.testing.assert_allclose(
            predicted, float64(model(batch)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.slow
def test_half_precision(tiny_radn):
    images = np.random.default_rng(0).random((1, 16, 16, 3), "float32")
    exact, half = tiny_radn(), tiny_radn(dtype="mixed_bfloat16")
    half.set_weights(exact.get_weights())
    expected, outputs = float64(exact(images)), half(images)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    error = np.abs(float64(outputs) - expected).mean()
    assert 0 < error < 0.1 * np.abs(expected - images).mean()


@pytest.mark.slow
def test_fit_save_load(tmp_path):
    """A model trained by the default recipe survives saving and loading."""
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    model = keras_radn.RADN(**TINY_RADN)
    history = model.fit(images, 0.5 * images, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert len(history["psnr"]) == 5
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is keras_radn.RADN
    assert int(loaded.optimizer.iterations) == 5
    expected = float64(model(images))
    np.testing.assert_allclose(float64(loaded(images)), expected, atol=1e-6)
    write_weights(model, tmp_path / "weights.npz")
    again = keras_radn.RADN(**TINY_RADN, pretrained=tmp_path / "weights.npz")
    # Kernels are float16 there.
    np.testing.assert_allclose(float64(again(images)), expected, atol=1e-2)


@pytest.mark.nightly
def test_recipe_of_the_training():
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    rate = keras_radn.optimizers.WarmupStableDecay(
        2e-3, steps=5, warmup_steps=2, decay_steps=2, changes=[(3, 1e-3)]
    )
    model = keras_radn.RADN(**SMALL_RADN, dtype="mixed_bfloat16")
    model.compile(
        keras_radn.optimizers.ConvMuon(
            rate,
            global_clipnorm=1.0,
            use_ema=True,
            steering_lr_ratio=0.1,
            steering_start=1,
        ),
        keras_radn.losses.Charbonnier(),
        metrics=[keras_radn.metrics.PSNR()],
    )
    history = model.fit(images, 0.5 * images, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert history["psnr"][-1] > history["psnr"][0]


@pytest.mark.slow
def test_frozen_norms_keep_their_averages(tiny_radn):
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    model = tiny_radn()
    norm = model.get_layer("stem_norm")
    norm.frozen = True
    before = norm.moving_mean.numpy()
    other = model.get_layer("decoder_up4_norm").moving_mean.numpy()
    model.fit(images, images, verbose=0)
    np.testing.assert_array_equal(norm.moving_mean.numpy(), before)
    after = model.get_layer("decoder_up4_norm").moving_mean.numpy()
    assert np.abs(after - other).max() > 1e-4


@pytest.mark.slow
def test_a_grown_network_computes_the_same(tiny_radn):
    images = np.random.default_rng(0).random((1, 16, 16, 3), "float32")
    model = tiny_radn()
    grown = keras_radn.models.grow(model, growth_rate=6, deform_units=3)
    np.testing.assert_allclose(
        float64(grown(images)), float64(model(images)), atol=1e-5
    )


@pytest.mark.slow
def test_a_layer_in_ones_own_model(tmp_path):
    inputs = keras.Input((None, None, 3))
    x = keras_radn.layers.DeformableConv2D(8, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile("adam", "mse")
    images = np.random.default_rng(0).random((8, 12, 10, 3), "float32")
    target = images.mean((1, 2, 3)).reshape(-1, 1)
    history = model.fit(images, target, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "own.keras")
    loaded = keras.models.load_model(tmp_path / "own.keras")
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0),
        model.predict(images, verbose=0),
        rtol=1e-5,
    )
