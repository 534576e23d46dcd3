import contextlib
import os
import signal
import subprocess
import sys

import keras
import pytest

import keras_radn
from tests.chromium import browser  # noqa: F401, a fixture
from tests.conftest import TINY_RADN, randomize


@contextlib.contextmanager
def running_demo(model, folder, *arguments):
    """Runs `keras-radn demo`; yields its process and its address."""
    log = folder / "demo.txt"
    with log.open("w") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "keras_radn", "demo", "--port", "0"),
                *("--model", str(model), *arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
    try:
        line = process.stdout.readline()
        assert line.startswith("Open http://127.0.0.1:"), log.read_text()
        yield process, line.split()[1]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.stdout.close()


@pytest.fixture(scope="package")
def model_file(tmp_path_factory):
    keras.utils.set_random_seed(7)
    model = keras_radn.RADN(**TINY_RADN)
    randomize(model)
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    model.save(path)
    return path


@pytest.fixture(scope="package")
def demo_server(model_file, tmp_path_factory):
    """The address of a page with a tiny network and low limits."""
    folder = tmp_path_factory.mktemp("demo")
    limits = "--max-megabytes", "1", "--max-megapixels", "0.3"
    with running_demo(model_file, folder, *limits) as (_, url):
        yield url
