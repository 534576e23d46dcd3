"""The clients and the load test in serving/."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving.stub_server import stub_server

SERVING = Path(__file__).parents[2] / "serving"


def run_client(kind, *arguments):
    return subprocess.run(
        [sys.executable, SERVING / f"client_{kind}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.fixture
def arguments(tmp_path):
    source = tmp_path / "blurred.png"
    source.write_bytes(b"not looked at")
    return [source, tmp_path / "sharp.png"]


def refused(kind, *arguments):
    """Returns the error, which has to be one sentence."""
    done = run_client(kind, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


@pytest.fixture
def telling():
    """The address of a server that answers with the requested path."""

    def answer(path):
        return 404, json.dumps({"error": path}).encode(), 0

    with stub_server(answer) as address:
        yield address


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def picture(tmp_path_factory, photo):
    path = tmp_path_factory.mktemp("picture") / "photo.png"
    Image.fromarray(photo[:40, :60]).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_clients(kind, endpoint, picture, tmp_path):
    server = {"rest": endpoint.url, "grpc": endpoint.grpc}[kind]
    target = tmp_path / "sharp.png"
    arguments = (picture, target, "--model", "small", "--server", server)
    done = run_client(kind, *arguments, "--label", "canary")
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(picture) as before, Image.open(target) as after:
        np.testing.assert_array_equal(
            np.asarray(after), 255 - np.asarray(before)
        )
    # Errors are one sentence and leave the file.
    before = target.read_bytes()
    no_picture = tmp_path / "no.png"
    no_picture.write_bytes(b"no picture")
    wrong_arguments = [(no_picture, *arguments[1:])]
    if kind == "rest":  # the other takes seconds to import TensorFlow
        wrong_arguments += [
            (tmp_path / "missing.png", *arguments[1:]),
            (*arguments[:-1], "http://127.0.0.1:9"),
        ]
    for wrong in wrong_arguments:
        done = run_client(kind, *wrong)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "no.png",
        "sharp.png",
    ]


@pytest.fixture(scope="module")
def answering():
    """The address of a server whose answer is part of the path."""

    def answer(path):
        _, status, missing, text = path.split("/")[:4]
        return int(status), bytes.fromhex(text), int(missing)

    with stub_server(answer) as address:
        yield address


@pytest.mark.parametrize(
    ("status", "missing", "text", "message"),
    [
        (200, 0, "{}", "has no picture"),
        (200, 0, '{"predictions": [[0.5]]}', "has no picture"),
        (200, 0, '{"predictions": [1, 2]}', "has no picture"),
        (200, 0, "no JSON", "has no picture"),
        (200, 9, "{", "IncompleteRead"),
        (404, 9, "{", "404: Not Found"),
    ],
)
def test_wrong_answers(
    status, missing, text, message, answering, picture, tmp_path
):
    server = f"{answering}/{status}/{missing}/{text.encode().hex()}"
    done = run_client(
        "rest", picture, tmp_path / "sharp.png", "--server", server
    )
    check_refused(done, message, tmp_path)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:abc", "http://127.0.0.1/a b"]
)
def test_wrong_addresses(address, picture, tmp_path):
    done = run_client(
        "rest", picture, tmp_path / "sharp.png", "--server", address
    )
    check_refused(done, address.split(":")[-1], tmp_path)


def check_refused(done, message, folder):
    """Checks that the error is one sentence and no file is left."""
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_load_test(endpoint, tmp_path):
    """It runs and counts; serving/README.md has its figures."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "--headless", "--only-summary"),
            *("-f", SERVING / "locustfile.py", "-H", endpoint.url),
            *("-u", "2", "-r", "2", "-t", "6s", "--csv", tmp_path / "load"),
        ],
        capture_output=True,
        text=True,
        env={"PATH": "", "MODEL": "small"},
    )
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "load_stats.csv").read_text().splitlines()
    assert any(row.startswith("POST,predict,") for row in rows)
