"""Whole training runs, resumed runs, and settings that are refused."""

import dataclasses
import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_radn import RADN, Deblurrer, ResidualBaseline
from keras_radn.files import partial_name
from keras_radn.files.training_log import COLUMNS
from keras_radn.models.packaged_weights import read_weights
from keras_radn.training import evaluate_pairs, run, train
from keras_radn.training.callbacks import Checkpoint, Guard
from tests.conftest import SMALL_RADN
from tests.training.logs import interrupts, read_log
from tests.training.recipes import SMALL_BASELINE


@pytest.mark.slow
def test_starts_as_a_smaller_network(config, tmp_path, rng):
    smaller = RADN(decoder_block="dense", **SMALL_RADN)
    smaller.get_layer("reconstruction").kernel.assign(
        rng.normal(size=(3, 3, 8, 3))
    )
    smaller.save(tmp_path / "small.keras")
    config = dataclasses.replace(
        config,
        model={**SMALL_RADN, "growth_rate": 6, "deform_units": 2},
        start=str(tmp_path / "small.keras"),
        encoder_weights="preset",  # ImageNet's, which are not needed
    )
    model = run.new_model(config)
    assert model.growth_rate == 6
    assert model.optimizer is not None
    images = rng.random((1, 24, 32, 3), "float32")
    expected = smaller(images).numpy()
    assert np.abs(expected - images).max() > 0.1
    np.testing.assert_allclose(model(images), expected, atol=1e-4)


@pytest.mark.parametrize("start", ["none.keras", "radn4"])
def test_start_that_is_not_there(config, start):
    config = dataclasses.replace(config, start=start)
    with pytest.raises(FileNotFoundError, match=r"presets? with packaged"):
        run.new_model(config)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["last.keras", "config.json"])
def test_a_file_of_the_run_is_cut_short(name, config, tmp_path):
    """A full disk under another program leaves such files."""
    RADN(**SMALL_RADN).save(tmp_path / "last.keras")
    text = json.dumps(dataclasses.asdict(config))
    (tmp_path / "config.json").write_text(text)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is damaged") as caught:
        train(config, tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@interrupts
@pytest.mark.slow
def test_a_resumed_run_equals_the_unbroken_one(config, tmp_path, monkeypatch):
    """It is interrupted before one checkpoint and after another."""
    unbroken = train(config, tmp_path / "unbroken")
    assert int(unbroken.optimizer.iterations) == 5

    save = Checkpoint.on_epoch_end
    whens = iter(["before", "after"])

    def save_and_die(self, epoch, logs=None):
        if epoch == 0 or next(whens) == "after":
            save(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", save_and_die)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path / "broken")
    resumed = train(config, tmp_path / "broken")
    for a, b in zip(unbroken.variables, resumed.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

    # The run's files: a row per epoch, weights as they are packaged.
    rows = read_log(tmp_path / "unbroken")
    np.testing.assert_array_equal(rows["step"], [2, 4, 5])
    np.testing.assert_allclose(
        rows["learning_rate"], unbroken.optimizer._learning_rate(rows["step"])
    )
    assert ((rows["dead_filters"] >= 0) & (rows["dead_filters"] <= 1)).all()
    again = read_log(tmp_path / "broken")
    for column in ("epoch", "step", "loss", "psnr", "val_psnr", "val_ssim"):
        np.testing.assert_allclose(rows[column], again[column], rtol=1e-5)
    assert list((tmp_path / "broken" / "tensorboard").rglob("events.*"))
    best = keras.models.load_model(tmp_path / "broken" / "best.keras")
    # As the validation, on any processor.
    deblurrer = Deblurrer(best, dtype="float32", tile=None)
    rows = evaluate_pairs(config.validation, deblurrer)
    psnr = np.mean([row["deblurred_psnr"] for row in rows])
    assert psnr == pytest.approx(np.nanmax(again["val_psnr"]), abs=1e-3)
    assert (tmp_path / "broken" / "best.npz").exists()
    packaged = RADN(decoder_block="dense", **SMALL_RADN)
    read_weights(packaged, tmp_path / "unbroken" / "weights.npz")
    for model in (
        packaged,
        keras.models.load_model(tmp_path / "unbroken" / "model.keras"),
    ):
        np.testing.assert_array_equal(
            model.get_layer("stem_norm").gamma,
            unbroken.get_layer("stem_norm").gamma,
        )


@pytest.mark.slow
def test_a_checkpoint_loads_with_the_package_alone(quick, tmp_path):
    short = dataclasses.replace(
        quick, optimizer="muon", steps=1, progression=[]
    )
    train(short, tmp_path)
    script = (
        "import sys, keras, keras_radn\n"
        f"model = keras.models.load_model({str(tmp_path / 'last.keras')!r})\n"
        "assert 'keras_radn.training' not in sys.modules\n"
        "print(type(model.optimizer).__name__, int(model.optimizer.iterations))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert printed.stdout.split() == ["ConvMuon", "1"], printed.stderr


@pytest.mark.slow
def test_a_longer_run_falls_to_zero_at_its_new_end(quick, tmp_path):
    short = dataclasses.replace(
        quick, steps=2, learning_rate=8e-4, decay_steps=1, progression=[]
    )
    train(short, tmp_path)
    train(dataclasses.replace(short, steps=6, decay_steps=2), tmp_path)
    # The rates after 2, 4 and 6 steps, of half a cosine from 4 to 6.
    np.testing.assert_allclose(
        read_log(tmp_path)["learning_rate"], [0, 8e-4, 0], atol=1e-9
    )


@pytest.mark.slow
def test_a_run_goes_on_with_other_settings(quick, tmp_path):
    """Validation, epochs and steps change; a killed run's leftovers go."""
    config = dataclasses.replace(
        quick, steps=1, steps_per_epoch=1, progression=[]
    )
    leftover, log = tmp_path / partial_name("last.keras"), tmp_path / "log.csv"
    for changes in (
        {"validation": None},
        {"steps": 3},
        {"steps": 5, "steps_per_epoch": 4},
        {"steps": 6, "steps_per_epoch": 4, "validation": None},
    ):
        leftover.touch()
        train(dataclasses.replace(config, **changes), tmp_path)
        assert not leftover.exists()
        if "steps_per_epoch" not in changes and "steps" in changes:
            # As if this were the best of all.
            *others, row = log.read_text().splitlines()
            *values, _, ssim = row.split(",")
            row = ",".join([*values, "90", ssim])
            log.write_text("\n".join([*others, row, ""]))
            best = (tmp_path / "best.keras").read_bytes()
    rows = read_log(tmp_path)
    assert rows.dtype.names == COLUMNS
    np.testing.assert_array_equal(rows["step"], [1, 2, 3, 5, 6])
    validated = np.isfinite(rows["val_psnr"])
    np.testing.assert_array_equal(validated, [False, True, True, True, False])
    assert (tmp_path / "best.keras").read_bytes() == best
    for name, value in {
        "preset": "residual_3",
        "dtype": "mixed_bfloat16",
        "optimizer": "muon",
        "ema_momentum": 0.0,
        "model": {**SMALL_BASELINE, "blocks": 2},
    }.items():
        other = dataclasses.replace(config, **{name: value})
        with pytest.raises(ValueError, match=rf"{name}=.*another folder"):
            train(other, tmp_path)


@pytest.mark.slow
def test_averaged_weights_are_validated_in_half_precision(config, tmp_path):
    """With a momentum of 1 they are those of the first step."""
    config = dataclasses.replace(
        config,
        dtype="mixed_float16",
        ema_momentum=1.0,
        steps=2,
        steps_per_epoch=1,
        warmup_steps=0,
        learning_rate=0.1,
        freeze_norms=0,
        progression=[],
    )
    train(config, tmp_path)
    psnr = read_log(tmp_path)["val_psnr"]
    assert psnr[0] == pytest.approx(psnr[1], abs=1e-4)


@interrupts
@pytest.mark.slow
def test_averaged_weights_are_written(config, tmp_path):
    """With a momentum of 1 they stay as they were at the start."""
    frozen = dataclasses.replace(
        config, ema_momentum=1.0, steps=2, progression=[]
    )
    trained = train(frozen, tmp_path / "run")
    start = run.new_model(frozen)
    for a, b in zip(
        trained.trainable_variables, start.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_an_unknown_argument_of_the_network(config):
    wrong = dataclasses.replace(config, model={"atention": False})
    with pytest.raises(ValueError, match=r"unknown entry.*atention"):
        run.new_model(wrong)
    wrong = dataclasses.replace(config, model={"stem_filters": "64"})
    with pytest.raises(ValueError, match="`model` does not fit"):
        run.new_model(wrong)


def test_wrong_settings_before_the_data(config, tmp_path):
    """Reading all images would take minutes."""
    wrong = dataclasses.replace(config, patch_size=256, decay_steps=99)
    with pytest.raises(ValueError, match="must fit into `steps`"):
        train(wrong, tmp_path / "run")


def test_bad_image_before_the_training(config, tmp_path):
    small = dataclasses.replace(config, patch_size=256)
    with pytest.raises(ValueError, match=r"0\.png"):
        train(small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_networks_of_both_tables(config):
    model = run.new_model(config)
    assert isinstance(model, RADN)
    assert model.optimizer.global_clipnorm == 1.0
    residual = dataclasses.replace(
        config, preset="residual_3", model={"filters": (4, 4, 4), "blocks": 1}
    )
    model = run.new_model(residual)
    assert isinstance(model, ResidualBaseline)
    assert model.deformable_layers == 3


@pytest.mark.nightly
def test_step_of_the_whole_network(rng):
    """The default network trains in mixed precision without diverging."""
    model = RADN(dtype="mixed_bfloat16")
    blurred = rng.random((2, 64, 64, 3), "float32")
    losses = [model.train_on_batch(blurred, 0.9 * blurred)[0] for _ in range(4)]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    offset_conv = model.get_layer("decoder_block2").convs[0].offset_conv
    assert np.abs(keras.ops.convert_to_numpy(offset_conv.kernel)).max() > 0


@interrupts
@pytest.mark.slow
@pytest.mark.parametrize("when", ["before the step", "by the step"])
def test_nan_stops_and_keeps_the_last_checkpoint(
    quick, tmp_path, monkeypatch, when
):
    config = dataclasses.replace(quick, steps=4, steps_per_epoch=1)
    callback = {
        "before the step": "on_train_batch_begin",
        "by the step": "on_train_batch_end",
    }[when]
    original = getattr(Guard, callback)

    def spoil(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 2:
            kernel = self.model.get_layer("encoder1_conv").kernel
            kernel.assign(kernel * np.nan)
        original(self, batch, logs)

    monkeypatch.setattr(Guard, callback, spoil)
    with pytest.raises(FloatingPointError, match=r"At step .*is kept"):
        train(config, tmp_path)
    kept = keras.models.load_model(tmp_path / "last.keras")
    assert int(kept.optimizer.iterations) in (1, 2)
    for weight in kept.get_weights():
        assert np.isfinite(weight).all()
