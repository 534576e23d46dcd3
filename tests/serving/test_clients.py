"""What the clients in serving/ make of their arguments."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.stub_server import stub_server

SERVING = Path(__file__).parents[2] / "serving"


@pytest.fixture
def arguments(tmp_path):
    source = tmp_path / "blurred.png"
    source.write_bytes(b"not looked at")
    return [source, tmp_path / "sharp.png"]


def refused(kind, *arguments):
    """The error, which has to be one sentence."""
    done = subprocess.run(
        [sys.executable, SERVING / f"client_{kind}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


@pytest.fixture
def telling():
    """Address of a server that tells the path that it was asked for."""

    def answer(path):
        return 404, json.dumps({"error": path}).encode(), 0

    with stub_server(answer) as address:
        yield address


@pytest.mark.parametrize("end", ["", "/", "/prefix/"])
def test_an_address_may_end_with_a_slash(end, arguments, telling):
    error = refused("rest", *arguments, "--server", telling + end)
    path = end.rstrip("/") + "/v1/models/radn:predict"
    assert error.endswith(f"404: {path}")


def test_names_are_encoded(arguments, telling):
    names = ["--model", "a/b:c", "--label", "x/ä"]
    error = refused("rest", *arguments, "--server", telling, *names)
    path = "/v1/models/a%2Fb%3Ac/labels/x%2F%C3%A4:predict"
    assert error.endswith(f"404: {path}")


@pytest.mark.slow  # imports TensorFlow
def test_a_version_that_is_none(arguments):
    number = 10**23
    error = refused("grpc", *arguments, "--version", number)
    assert "out of range" in error.lower()
