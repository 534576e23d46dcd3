import dataclasses
import importlib
import math

import keras
import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio

from keras_radn import RADN
from keras_radn.models.packaged_weights import read_weights
from keras_radn.training import TrainingConfig, evaluate_pairs, train
from keras_radn.training.schedule import WarmupStableDecay
from tests.conftest import TINY_RADN

# The package's attribute of this name is the function.
train_module = importlib.import_module("keras_radn.training.train")


@pytest.fixture
def config(stills_folder, pairs_folder):
    return TrainingConfig(
        preset="radn4",
        encoder_weights="random",
        model=TINY_RADN,
        stills=str(stills_folder),
        pairs=str(pairs_folder),
        pairs_share=0.5,
        validation=str(pairs_folder),
        patch_size=32,
        batch_size=2,
        steps=5,
        warmup_steps=1,
        steps_per_epoch=2,
        checkpoint_steps=2,
        dtype="float32",
        ema_momentum=0.5,
    )


# The log of an interrupted run is closed by the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_a_resumed_run_equals_the_unbroken_one(config, tmp_path, monkeypatch):
    unbroken = train(config, tmp_path / "unbroken")
    assert int(unbroken.optimizer.iterations) == 5

    save = train_module._Checkpoint._save

    def save_and_die(self):
        save(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module._Checkpoint, "_save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "broken")
    resumed = train(config, tmp_path / "broken")
    for a, b in zip(unbroken.variables, resumed.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

    # The run's files: a log with validation, weights as they are packaged.
    rows = np.genfromtxt(
        tmp_path / "unbroken" / "log.csv", delimiter=",", names=True
    )
    assert len(rows) == 3
    assert np.isfinite(rows["val_psnr"]).all()
    model = RADN(decoder_block="dense", **TINY_RADN)
    read_weights(model, tmp_path / "unbroken" / "weights.npz")
    np.testing.assert_array_equal(
        model.get_layer("stem_norm").gamma,
        unbroken.get_layer("stem_norm").gamma,
    )


def test_learning_rate_rises_stays_and_falls():
    schedule = WarmupStableDecay(
        2.0, steps=100, warmup_steps=10, decay_steps=40
    )
    rates = [float(schedule(step)) for step in (0, 5, 10, 60, 80, 90, 100, 200)]
    half = 1 - np.cos(np.pi / 4)  # three quarters of the fall
    np.testing.assert_allclose(
        rates, [0, 1, 2, 2, 1, half, 0, 0], rtol=1e-5, atol=1e-6
    )
    again = WarmupStableDecay.from_config(schedule.get_config())
    assert float(again(90)) == float(schedule(90))
    with pytest.raises(ValueError, match="must fit into `steps`"):
        WarmupStableDecay(1.0, steps=10, warmup_steps=5, decay_steps=6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_averaged_weights_are_written(config, tmp_path):
    """With a momentum of 1 they stay what they were at the start."""
    frozen = dataclasses.replace(config, ema_momentum=1.0, steps=2)
    trained = train(frozen, tmp_path / "run")
    start = train_module._new_model(frozen)
    for a, b in zip(
        trained.trainable_variables, start.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_validation_is_the_mean_over_the_images(config, pairs_folder):
    """Not one image more, as a data set of unknown length would give."""
    model = RADN(**TINY_RADN)  # the identity
    rows = evaluate_pairs(pairs_folder, model)
    logged = model.evaluate(
        train_module._validation(config), return_dict=True, verbose=0
    )
    expected = np.mean([row["blurred_psnr"] for row in rows])
    assert logged["psnr"] == pytest.approx(expected, abs=1e-3)


def gaussian_ssim(first, second):
    """Per channel over windows of 11x11 that lie in the image."""
    values = []
    for channel in range(3):
        x, y = (
            image[..., channel].astype("float64") for image in (first, second)
        )

        def mean(image):
            return ndimage.gaussian_filter(image, 1.5, radius=5)

        mx, my = mean(x), mean(y)
        vx, vy = mean(x * x) - mx**2, mean(y * y) - my**2
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        similarity = (
            (2 * mx * my + c1) * (2 * (mean(x * y) - mx * my) + c2)
        ) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
        values.append(similarity[5:-5, 5:-5].mean())
    return np.mean(values)


def test_evaluation_follows_the_protocol(pairs_folder):
    from keras_radn.datasets import ImagePairs

    rows = evaluate_pairs(pairs_folder, RADN(**TINY_RADN))
    assert [row["name"] for row in rows] == ["0.png", "1.png"]
    for i, row in enumerate(rows):
        blurred, sharp = ImagePairs(pairs_folder).whole(i)
        expected = peak_signal_noise_ratio(sharp, blurred)
        assert row["blurred_psnr"] == pytest.approx(expected)
        assert row["deblurred_psnr"] == pytest.approx(expected)
        # Wang et al. (2004), written out with SciPy.
        assert row["blurred_ssim"] == pytest.approx(
            gaussian_ssim(blurred, sharp), abs=1e-6
        )
        assert row["deblurred_ssim"] == row["blurred_ssim"]


def test_config_file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('stills = "photos"\nsteps = 7\n[model]\ndeform_units = 3')
    config = TrainingConfig.from_toml(path, steps=9, pairs=None)
    assert config.stills == str(tmp_path / "photos")
    assert config.steps == 9
    assert config.pairs is None
    assert config.model == {"deform_units": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step = 7", "unknown keys"),
        ("steps = ", "not valid TOML"),
        ("steps = 7", "Received neither"),
        ('stills = "a"\nbatch_size = 0', "must be positive"),
    ],
)
def test_bad_config_file(text, message, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        TrainingConfig.from_toml(path)


def test_missing_config_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        TrainingConfig.from_toml(tmp_path / "none.toml")


@pytest.mark.slow
def test_step_of_the_whole_network(rng):
    """The default network trains in mixed precision; nothing explodes."""
    model = RADN(dtype="mixed_bfloat16")
    blurred = rng.random((2, 64, 64, 3), "float32")
    losses = [model.train_on_batch(blurred, 0.9 * blurred)[0] for _ in range(4)]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    offset_conv = model.get_layer("decoder_block2").convs[0].offset_conv
    assert np.abs(keras.ops.convert_to_numpy(offset_conv.kernel)).max() > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("when", ["before the step", "by the step"])
def test_nan_stops_and_keeps_the_last_checkpoint(
    config, tmp_path, monkeypatch, when
):
    config = dataclasses.replace(config, steps=4, checkpoint_steps=1)
    callback = {
        "before the step": "on_train_batch_begin",
        "by the step": "on_train_batch_end",
    }[when]
    original = getattr(train_module._Checkpoint, callback)

    def spoil(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 2:
            kernel = self.model.get_layer("stem_conv").kernel
            kernel.assign(kernel * np.nan)
        original(self, batch, logs)

    monkeypatch.setattr(train_module._Checkpoint, callback, spoil)
    with pytest.raises(FloatingPointError, match=r"At step .*is kept"):
        train(config, tmp_path)
    kept = keras.models.load_model(tmp_path / "last.keras")
    assert int(kept.optimizer.iterations) in (1, 2)
    for weight in kept.get_weights():
        assert np.isfinite(weight).all()
