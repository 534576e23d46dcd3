"""`make test-gpu` without a GPU, and its tests rehearsed on the CPU."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HIDDEN = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
MAKES_OWN = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")


def run(*command):
    # Under `make test` a make of our own would announce its folder.
    environment = {k: v for k, v in os.environ.items() if k not in MAKES_OWN}
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, **HIDDEN},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_without_a_gpu_it_says_so():
    if shutil.which("make") is None:
        pytest.skip("needs make")
    done = run("make", "test-gpu", f"GPU_PYTHON={sys.executable}")
    assert done.returncode == 2
    assert done.stdout == ""
    # TensorFlow may say something of a driver, too.
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("Exit: ")] == [
        "Exit: Keras on tensorflow sees no GPU; `keras-radn info` says what is "
        "missing."
    ]
    assert lines[-1].endswith("Error 2")  # the status of pytest


@pytest.mark.nightly
def test_its_tests_are_right():
    """On the CPU all of them run and pass."""
    done = run(
        *(sys.executable, "-m", "pytest", "-o", "addopts=--strict-markers"),
        *("-m", "gpu", "tests/gpu", "--rehearse", "-p", "no:cacheprovider"),
    )
    assert done.returncode == 0, done.stdout[-3000:]
    last = done.stdout.splitlines()[-1]
    assert " passed" in last
    assert "skipped" not in last
