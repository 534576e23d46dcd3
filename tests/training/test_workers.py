import multiprocessing
import threading
import unittest.mock
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from keras_radn import ResidualBaseline
from keras_radn.training import TrainingConfig, train, train_in_processes
from keras_radn.training.team import AverageWeights, Team
from tests.training.recipes import SMALL_BASELINE


@pytest.mark.slow
def test_weights_become_their_mean(tmp_path):
    """The weights and momenta of two models are compared with NumPy."""
    barrier = threading.Barrier(2)
    models, callbacks = [], []
    for index in range(2):
        inputs = keras.Input((2,))
        x = keras.layers.Dense(3)(inputs)
        model = keras.Model(inputs, keras.layers.BatchNormalization()(x))
        model.compile(keras.optimizers.Adam(0.1), "mean_squared_error")
        data = np.random.default_rng(index).normal(size=(4, 2))
        model.fit(data, np.zeros((4, 3)), verbose=0)
        team = Team(index, 2, barrier, tmp_path)
        callback = AverageWeights(team, steps=3)
        callback.set_model(model)
        models.append(model)
        callbacks.append(callback)

    def values(model):
        variables = model.variables + model.optimizer.variables
        return [v.numpy().copy() for v in variables]

    before = [values(model) for model in models]
    callbacks[0].on_train_batch_end(0)  # not yet
    np.testing.assert_array_equal(values(models[0])[0], before[0][0])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda c: c.on_train_batch_end(2), callbacks))
    for a, b, first, second in zip(
        values(models[0]), values(models[1]), *before, strict=True
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, (first + second) / 2, rtol=1e-5)


def test_nobody_waits_for_ever(tmp_path, monkeypatch):
    """A process whose parent was killed ends at the next average."""
    parent = unittest.mock.Mock(is_alive=lambda: False)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    team = Team(0, 2, threading.Barrier(2), tmp_path)
    with pytest.raises(threading.BrokenBarrierError):
        team.average(np.zeros(3, "float32"))


@pytest.fixture
def config(stills_folder):
    return TrainingConfig(
        preset="residual_0",
        model=SMALL_BASELINE,
        stills=str(stills_folder),
        patch_size=16,
        batch_size=2,
        steps=4,
        steps_per_epoch=2,
        average_steps=1,
        repeats=2,
    )


@pytest.mark.slow
def test_two_processes_train_one_network(config, tmp_path):
    train_in_processes(config, tmp_path / "run", 2)
    model = keras.models.load_model(tmp_path / "run" / "last.keras")
    assert isinstance(model, ResidualBaseline)
    assert int(model.optimizer.iterations) == 4
    assert (tmp_path / "run" / "weights.npz").exists()


def test_nobody_starts_before_the_data_are_checked(
    config, tmp_path, stills_folder
):
    """By the first process, which may find them bad."""
    for path in stills_folder.iterdir():
        path.write_text("no image")
    barrier = threading.Barrier(2)
    barrier.abort()  # as if the first had raised
    with pytest.raises(threading.BrokenBarrierError):
        train(config, tmp_path / "run", team=Team(1, 2, barrier, tmp_path))


def test_a_time_is_for_one_process(config, tmp_path):
    team = Team(0, 2, threading.Barrier(2), tmp_path)
    with pytest.raises(ValueError, match=r"`minutes` are for one process"):
        train(config, tmp_path / "run", team=team, minutes=1)


@pytest.mark.slow
def test_what_a_process_raises_is_raised(config, tmp_path, stills_folder):
    for path in stills_folder.iterdir():
        path.write_text("no image")
    with pytest.raises(ValueError, match="not a readable image"):
        train_in_processes(config, tmp_path / "run", 2)


def test_number_of_processes(config, tmp_path):
    for workers in (0, 10_000):
        with pytest.raises(ValueError, match=r"from 1 to the number of cores"):
            train_in_processes(config, tmp_path, workers)
