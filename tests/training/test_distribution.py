import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_radn import training
from keras_radn.cli.main import main
from keras_radn.training import make_strategy
from keras_radn.training.distribution import is_chief
from tests.conftest import SMALL_RADN

WORKER = Path(__file__).with_name("worker.py")
STEPS, STEPS_PER_EPOCH = 12, 2


@pytest.fixture
def command(tmp_path, pairs_folder):
    """Trains a tiny RADN with batch norms on patches of 32 pixels."""
    config = tmp_path / "config.toml"
    model = "\n".join(
        f"{key} = {list(value) if isinstance(value, tuple) else value}"
        for key, value in SMALL_RADN.items()
    )
    config.write_text(
        f"""
        encoder_weights = "random"
        pairs = "{pairs_folder.name}"
        patch_size = 32
        batch_size = 4
        steps = {STEPS}
        steps_per_epoch = {STEPS_PER_EPOCH}
        clip_norm = 0.05
        dtype = "float64"
        [model]
        {model}
        """
    )

    def start(run, cpus=1, task=None, cluster=None, options=()):
        weights = tmp_path / f"{run}-{task}.npz"
        environment = os.environ.copy()
        if cluster:
            environment["TF_CONFIG"] = json.dumps(
                {
                    "cluster": {"worker": cluster},
                    "task": {"type": "worker", "index": task},
                }
            )
        with (tmp_path / f"{run}-{task}.txt").open("a") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, WORKER, str(cpus), weights),
                    *("train", "--config", config, "-o", tmp_path / run),
                    *options,
                ],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        process.output = Path(output.name)
        processes.append(process)
        return process

    processes = []
    yield start
    for process in processes:
        process.kill()
        process.wait()


def finish(process):
    process.wait(timeout=300)
    output = process.output.read_text()
    assert process.returncode == 0, output[-3000:]
    return output


def losses(run):
    log = np.genfromtxt(run / "log.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(
        log["step"], np.arange(STEPS_PER_EPOCH, STEPS + 1, STEPS_PER_EPOCH)
    )
    return log["loss"]


def kill_in_the_middle(process, run, chief=None):
    """Kills a process once its run has two checkpoints."""
    chief = chief or process
    log = run / "log.csv"
    deadline = time.monotonic() + 200
    while not (log.exists() and len(log.read_text().splitlines()) > 2):
        assert time.monotonic() < deadline
        assert chief.poll() is None, chief.output.read_text()[-3000:]
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.mark.nightly
def test_replicas_equal_one_replica(command, tmp_path):
    """Replicas on one or two machines train as one does, even if killed.

    There are a device that is killed and goes on, two devices, and two
    machines, one of which dies. All see the batches of a single replica, cut in
    parts; the batch norms see the statistics of the joint batch, and its
    gradient is what is clipped. In float64, so that Adam does not blow up
    differences of rounding.
    """
    kill_in_the_middle(command("single"), tmp_path / "single")
    finish(command("single"))
    expected = losses(tmp_path / "single")
    finish(command("mirrored", cpus=2, options=["--strategy", "mirrored"]))
    np.testing.assert_allclose(
        losses(tmp_path / "mirrored"), expected, rtol=1e-6
    )

    cluster = [f"localhost:{port}" for port in free_ports(2)]
    options = ["--strategy", "multi-worker"]
    run = tmp_path / "cluster"
    chief, worker = (
        command("cluster", 1, task, cluster, options) for task in (0, 1)
    )
    kill_in_the_middle(worker, run, chief)
    worker = command("cluster", 1, 1, cluster, options)
    output = finish(chief)
    assert "another machine of the cluster was lost" in output
    finish(worker)
    np.testing.assert_allclose(losses(run), expected, rtol=1e-6)
    first, second = (
        np.load(tmp_path / f"cluster-{task}.npz") for task in (0, 1)
    )
    assert len(first.files) > 50
    for name in first.files:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-6)


def test_strategies(monkeypatch):
    assert make_strategy(None) is tf.distribute.get_strategy()
    assert is_chief(make_strategy(None))
    assert isinstance(make_strategy("mirrored"), tf.distribute.MirroredStrategy)
    with pytest.raises(ValueError, match="must be one of"):
        make_strategy("tpu")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", '
        '"index": 1}}',
    ],
)
def test_bad_tf_config(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG must name the cluster"):
        make_strategy("multi-worker")


def test_goes_on_after_a_loss(monkeypatch, tmp_path, capsys):
    """A new process goes on, a limited number of times."""
    config = tmp_path / "config.toml"
    config.write_text('stills = "stills"')
    command = ["train", "--config", str(config), "-o", str(tmp_path / "run")]
    cluster = [*command, "--strategy", "multi-worker", "--max-restarts", "1"]
    started = []

    def lose(*_, **__):
        raise tf.errors.UnavailableError(None, None, "no connection")

    monkeypatch.setattr(training, "train", lose)
    monkeypatch.setattr(training, "make_strategy", lambda name: None)
    monkeypatch.setattr(os, "execv", lambda *words: started.append(words))
    monkeypatch.setenv("KERAS_RADN_RESTARTS", "0")
    assert main(cluster) == 0
    assert started == [(sys.executable, [sys.executable, *sys.orig_argv[1:]])]
    assert "when it is back" in capsys.readouterr().err
    assert main(cluster) == 1
    assert "run the same command again" in capsys.readouterr().err
    assert len(started) == 1
    with pytest.raises(tf.errors.UnavailableError):
        main(command)
