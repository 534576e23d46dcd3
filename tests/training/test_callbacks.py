"""The callbacks of a training run."""

import io
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from keras_radn import Deblurrer
from keras_radn.datasets import ImagePairs
from keras_radn.layers.batch_normalization import BatchNormalization
from keras_radn.training import evaluate_pairs
from keras_radn.training.callbacks import (
    DeadFilters,
    FreezeNorms,
    TrainingProgress,
    Validation,
)


def test_log_has_the_share_of_filters_that_are_zero_everywhere():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu", name="relu"),
            keras.layers.Conv2D(2, 1, name="linear"),
        ]
    )
    bias = model.get_layer("relu").bias
    bias.assign([5.0, -1e3, 5.0, -1e3])
    model.compile("sgd", "mean_squared_error")
    images = np.random.default_rng(0).random((4, 8, 8, 3))
    log = model.fit(
        images, np.ones((4, 6, 6, 2)), verbose=0, callbacks=[DeadFilters()]
    )
    assert log.history["dead_filters"] == [pytest.approx(2 / 6)]


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [False, True])
def test_validation_equals_evaluation(averaged, config, tiny_radn):
    """Averaged weights are used, if there are any, and nothing else changes."""
    model = tiny_radn()
    optimizer = keras.optimizers.Adam(use_ema=averaged)
    model.compile(optimizer)
    if averaged:
        optimizer.build(model.trainable_variables)
        current = model.get_weights()
    pairs = ImagePairs(config.validation)
    validation = Validation(pairs)
    validation.set_model(model)
    logs = {}
    validation.on_epoch_end(0, logs)
    if averaged:
        for a, b in zip(current, model.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        optimizer.finalize_variable_values(model.trainable_variables)
    deblurrer = Deblurrer(model, dtype="float32", tile=None)
    rows = evaluate_pairs(config.validation, deblurrer)
    for key in ("psnr", "ssim"):
        expected = np.mean([row[f"deblurred_{key}"] for row in rows])
        assert logs[f"val_{key}"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_validation_of_some_images_in_some_epochs(config, tiny_radn):
    pairs = ImagePairs(config.validation)
    validation = Validation(pairs, images=1, epochs=2)
    np.testing.assert_array_equal(validation.indices, [0])
    model = tiny_radn()
    model.compile("adam", "mse")
    validation.set_model(model)
    logs = {}
    validation.on_epoch_end(0, logs)
    assert math.isnan(logs["val_psnr"])
    validation.on_epoch_end(1, logs)
    assert logs["val_psnr"] > 0
    # The last epoch of a run, whichever it is.
    for due in (False, True):
        model.stop_training = due
        validation.on_epoch_end(2, logs)
        assert math.isfinite(logs["val_psnr"]) == due


@pytest.mark.slow
def test_norms_freeze_at_a_step(rng):
    images = rng.random((2, 8, 8, 3), "float32")
    pairs = tf.data.Dataset.from_tensors((images, np.sqrt(images)))
    norm = BatchNormalization()
    model = keras.Sequential([norm, keras.layers.Conv2D(3, 1)])
    model.compile(loss="mean_squared_error")
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(norm.get_weights())
    )
    options = {"shuffle": False, "verbose": 0}
    model.fit(pairs.repeat(4), callbacks=[FreezeNorms(2), note], **options)
    for step, pair in enumerate(itertools.pairwise(seen), start=1):
        gamma, beta, *averages = (
            np.any(before != after) for before, after in zip(*pair, strict=True)
        )
        assert gamma
        assert beta
        assert averages == [step < 2] * 2
    model.fit(pairs, callbacks=[note], **options)
    assert np.any(seen[-1][2] != seen[-2][2])


@pytest.mark.slow
def test_the_best_weights_are_written(config, tiny_radn):
    """The averaged weights are written if they validate better than before."""
    model = tiny_radn()
    model.compile(keras.optimizers.Adam(use_ema=True))
    model.optimizer.build(model.trainable_variables)
    [average] = [
        model.optimizer._model_variables_moving_average[i]
        for i, v in enumerate(model.trainable_variables)
        if v.path == "reconstruction/bias"
    ]
    bias = model.get_layer("reconstruction").bias
    written = []
    validation = Validation(
        ImagePairs(config.validation),
        best=-100,
        write_best=lambda: written.append(bias.numpy()[0]),
    )
    validation.set_model(model)
    for value in (1.0, 9.0, 0.5):  # worse than the first one; better
        average.assign([value] * 3)
        validation.on_epoch_end(0, {})
    assert written == [1.0, 0.5]


@pytest.mark.slow
def test_progress(tiny_radn, rng):
    """Each epoch has a line: steps, metrics, speed and time left."""
    console = Console(record=True, file=io.StringIO())
    images = rng.random((4, 16, 16, 3), "float32")
    progress = TrainingProgress(4, lambda step: 2, console=console)
    with progress.bar:
        tiny_radn().fit(
            images, images, 2, epochs=2, callbacks=[progress], verbose=0
        )
    lines = console.export_text().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("step 2/4  loss ")
    assert "images/s" in lines[0]
    assert lines[1].startswith("step 4/4  loss ")
    assert lines[1].endswith("0:00:00 left")
