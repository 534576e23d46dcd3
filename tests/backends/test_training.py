"""Training from a configuration without TensorFlow, and for a given time."""

import csv
import dataclasses
import importlib.util
import json
import math
import multiprocessing

import keras
import numpy as np
import pytest

from keras_radn.datasets import ImagePairs, SyntheticBlur
from keras_radn.datasets.draws import Draws
from keras_radn.datasets.workers import PatchWorkers
from keras_radn.models import ResidualBaseline
from keras_radn.models.packaged_weights import read_weights
from keras_radn.training import compare, time_limit, train
from keras_radn.training.callbacks import Checkpoint
from keras_radn.training.time_limit import TimeLimit
from tests.backends.test_deblurring import (
    OTHER,
    WITHOUT_TENSORFLOW,
    command,
    python,
)
from tests.training.logs import interrupts
from tests.training.recipes import SMALL_BASELINE, short_recipe


@pytest.fixture
def config(stills_folder, pairs_folder):
    """A short recipe that uses every option."""
    return short_recipe(
        stills_folder,
        pairs_folder,
        preset="residual_0",
        model=SMALL_BASELINE,
        validation_images=1,
        validation_epochs=2,
        repeats=2,
        optimizer="muon",
        learning_rate=1e-3,
        dtype="mixed_bfloat16",
        progression=[
            {"step": 3, "learning_rate": 5e-4, "strength": {"jpeg": 1.0}}
        ],
    )


def read_log(run):
    with (run / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def steps_of(model):
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


@interrupts
@WITHOUT_TENSORFLOW
def test_a_resumed_run_equals_the_unbroken_one(config, tmp_path, monkeypatch):
    unbroken = train(config, tmp_path / "unbroken")
    assert steps_of(unbroken) == 5
    log = read_log(tmp_path / "unbroken")
    assert log["step"] == [2, 4, 5]
    assert all(map(math.isfinite, log["loss"]))
    assert log["learning_rate"][2] == 0
    validated = [math.isfinite(value) for value in log["val_psnr"]]
    assert validated == [False, True, True]
    assert multiprocessing.active_children() == []

    save = Checkpoint.save

    def save_and_die(self, model):
        save(self, model)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "broken")
    resumed = train(config, tmp_path / "broken")
    assert read_log(tmp_path / "broken")["step"] == [2, 4, 5]
    for a, b in zip(unbroken.variables, resumed.variables, strict=True):
        a, b = map(keras.ops.convert_to_numpy, (a, b))
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    packaged = ResidualBaseline.from_preset("residual_0", **SMALL_BASELINE)
    read_weights(packaged, tmp_path / "broken" / "weights.npz")


@pytest.mark.nightly
def test_the_command_for_a_time(config, tmp_path):
    """A training of a few seconds does at least one step."""
    folders = "\n".join(
        f"{name} = '{getattr(config, name)}'" for name in ("stills", "pairs")
    )
    (tmp_path / "tiny.toml").write_text(
        f"preset = 'residual_0'\n{folders}\n"
        "patch_size = 32\nbatch_size = 2\nfreeze_norms = -1\n"
        "[model]\nfilters = [4, 4, 4]\nblocks = 1\n"
    )
    words = ["train", "--config", str(tmp_path / "tiny.toml")]
    words += ["-o", str(tmp_path / "run"), "--minutes", "0.1"]
    # Keras itself imports TensorFlow where it is installed.
    hidden = OTHER and importlib.util.find_spec("tensorflow")
    without = "sys.meta_path.insert(0, Without)\n" if hidden else ""
    status, out, err = python(
        "-c",
        "import sys\n"
        "class Without:\n"
        "    def find_spec(name, *_):\n"
        "        if name.partition('.')[0] == 'tensorflow':\n"
        "            raise ImportError(name)\n"
        f"{without}from keras_radn.cli.main import main\n"
        f"sys.exit(main({words!r}))",
    )
    assert status == 0, err
    assert out.startswith("step 1/1  loss ")
    assert out.count("\n") == 1
    model = ResidualBaseline.from_preset("residual_0", **SMALL_BASELINE)
    read_weights(model, tmp_path / "run" / "weights.npz")


@pytest.mark.parametrize("words", [("--workers", "2"), ("--strategy",)])
def test_a_time_is_for_one_process(words, tmp_path):
    if words == ("--strategy",):
        words = ("--strategy", "multi-worker")
    status, out, err = command(
        *("train", "--config", "short", "-o", tmp_path / "run"),
        *("--stills", tmp_path, "--minutes", "1", *words),
    )
    assert (status, out) == (2, "")
    assert "--minutes is for one process" in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_run_goes_on_for_a_time(config, tmp_path):
    """A schedule is replaced by a number, and then by a schedule again."""
    config = dataclasses.replace(
        config,
        freeze_norms=-1,
        steps=1,
        validation_epochs=1,
        progression=[],
    )
    [row] = compare(config, {"row": {}}, tmp_path)
    assert math.isfinite(row["psnr"])
    tmp_path = tmp_path / "row"
    still = dataclasses.replace(config, learning_rate=1e-12, warmup_steps=0)
    model = train(still, tmp_path, minutes=1e-3)
    assert steps_of(model) == 2
    assert read_log(tmp_path)["learning_rate"] == pytest.approx([1e-3, 1e-12])
    longer = dataclasses.replace(config, steps=3)
    assert steps_of(train(longer, tmp_path)) == 3
    assert read_log(tmp_path)["learning_rate"][-1] == 0


@WITHOUT_TENSORFLOW
@pytest.mark.slow
def test_evaluation(pairs_folder, tmp_path):
    """For the identity, the PSNR equals that of the pixels in NumPy."""
    model = ResidualBaseline.from_preset("residual_0", **SMALL_BASELINE)
    model.save(tmp_path / "model.keras")
    status, _, err = command(
        *("evaluate", pairs_folder, "--model", tmp_path / "model.keras"),
        *("--json", tmp_path / "rows.json"),
    )
    assert status == 0, err
    rows = json.loads((tmp_path / "rows.json").read_text())
    pairs = ImagePairs(pairs_folder)
    for index in range(2):
        blurred, sharp = map(np.float64, pairs.whole(index))
        psnr = 10 * np.log10(255**2 / np.square(blurred - sharp).mean())
        assert rows[index]["deblurred_psnr"] == pytest.approx(psnr, abs=1e-3)


def test_the_rate_falls_with_the_time(monkeypatch):
    """The rate is half a cosine over the last half of 100 seconds."""
    now = [50.0]
    monkeypatch.setattr(time_limit.time, "monotonic", lambda: now[0])
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(keras.optimizers.SGD(7.0), "mse")
    expected = []
    limit = TimeLimit(
        200.0, lambda step: min(1.0, step / 10), 0.5, expected.append
    )
    limit.set_model(model)
    limit.on_train_begin()
    model.stop_training = False
    rates = []
    while not model.stop_training:
        limit.on_train_batch_begin(len(rates))
        rates.append(float(model.optimizer.learning_rate))
        now[0] += 50.0 if len(rates) == 1 else 1.0  # the first is compiled
        limit.on_train_batch_end(len(rates))
    # The last one would have ended at the very moment.
    assert len(rates) == 100
    steps = np.arange(100)
    left = np.clip((101 - steps) / 50, 0, 1)
    exact = np.minimum(steps / 10, 1) * (0.5 - 0.5 * np.cos(np.pi * left))
    np.testing.assert_allclose(rates, exact, atol=0.0101)
    assert len(set(rates)) < 80  # not with each step
    assert expected == [101] * 98 + [100]


@pytest.mark.slow
def test_processes_draw_what_tensorflow_draws(stills_folder, pairs_folder):
    """Worker processes yield the batches of tf.data, from any step on."""
    sources = [SyntheticBlur(stills_folder), ImagePairs(pairs_folder)]
    once = Draws(sources, [0.5, 0.5], 16, 2, seed=3, balance=1e-2)
    often = Draws(sources, [0.3, 0.7], 24, 3, seed=4, repeats=4)
    with PatchWorkers([once, often], count=1) as workers:
        drawn = list(workers.batches([(0, 1, 3), (1, 31, 34)]))
    shapes = [batch[0].shape for batch in drawn]
    assert shapes == [(2, 16, 16, 3)] * 2 + [(3, 24, 24, 3)] * 3
    if OTHER:
        return
    from keras_radn.datasets.tensors import dataset_of

    expected = [*dataset_of(once, 1).take(2), *dataset_of(often, 31).take(3)]
    for batch, other in zip(drawn, expected, strict=True):
        for a, b in zip(batch, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=0)


def test_an_error_of_a_process(stills_folder, pairs_folder):
    draws = Draws([ImagePairs(pairs_folder)], [1.0], patch_size=64)
    with (
        PatchWorkers([draws], count=1) as workers,
        pytest.raises(ValueError, match="smaller than the patch"),
    ):
        next(workers.batches([(0, 0, 1)]))
