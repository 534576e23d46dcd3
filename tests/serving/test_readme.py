"""The commands of serving/README.md, run as they are written there.

Only the ports and the network are others: free ones, and a tiny one.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from PIL import Image

from keras_radn import RADN
from tests.conftest import TINY_RADN

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
# Commands that cannot run where the tests run.
ELSEWHERE = {"docker", "kubectl", "pip"}


def commands():
    blocks = re.findall(
        r"^```sh\n(.*?)^```$",
        (ROOT / "serving" / "README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    for line in "".join(blocks).splitlines():
        words = shlex.split(line)
        if ">" in words:
            words = ["sh", "-c", line]
        variables = {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            variables[name] = value
        yield words, variables


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def prepare(words, variables, ports):
    """Returns a command for free ports and a tiny network; its environment."""

    def move(text):
        return re.sub("8500|8501", lambda port: ports[port[0]], text)

    module = {"keras-radn": "keras_radn", "locust": "locust"}
    if words[0] in module:
        words = [sys.executable, "-m", module[words[0]], *words[1:]]
    elif words[0] == "python":
        words = [sys.executable, *words[1:]]
    if "serve" in words:
        words = [*words, "--rest-port", "8501", "--grpc-port", "8500"]
    if "export" in words:
        words = [*words, "--model", "tiny.keras"]
    variables = {
        "KERAS_RADN_SERVING_URL": "http://127.0.0.1:8501",
        "KERAS_RADN_SERVING_GRPC": "127.0.0.1:8500",
        **variables,
    }
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    for name, value in variables.items():
        environment[name] = move(value)
    return [move(word) for word in words], environment


@pytest.mark.nightly
def test_commands(tmp_path, photo):
    shutil.copytree(ROOT / "serving", tmp_path / "serving")
    Image.fromarray(photo[:64, :64]).save(tmp_path / "blurred.png")
    RADN(**TINY_RADN).save(tmp_path / "tiny.keras")
    ports = {"8501": free_port(), "8500": free_port()}
    server = None
    run = set()
    try:
        for words, variables in commands():
            if words[0] in ELSEWHERE:
                continue
            run.add(words[0])
            if "pytest" in words:
                continue  # of test_other_server
            prepared, environment = prepare(words, variables, ports)
            options = {"cwd": tmp_path, "env": environment, "text": True}
            if "serve" in words:
                server = subprocess.Popen(
                    prepared,
                    **options,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
                assert server.stdout.readline().startswith("REST: ")
                continue
            done = subprocess.run(prepared, **options, capture_output=True)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
            if words[0] == "curl":
                assert '"error"' not in done.stdout
        assert server.poll() is None
    finally:
        if server is not None:
            server.terminate()
            server.wait()
            server.stdout.close()
    assert run == {"keras-radn", "python", "curl", "sh", "locust"}
    with Image.open(tmp_path / "sharp.png") as sharp:
        assert sharp.size == (64, 64)


def test_other_server(endpoint):
    """The tests of the API find another server by the environment."""
    ((words, variables),) = [c for c in commands() if "pytest" in c[0]]
    assert set(variables) == {
        "KERAS_RADN_SERVING_URL",
        "KERAS_RADN_SERVING_GRPC",
    }
    files = [word for word in words if word.endswith(".py")]
    before = predictions(endpoint)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *files, "-k", "as_files"],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_RADN_SERVING_URL": endpoint.url,
            "KERAS_RADN_SERVING_GRPC": endpoint.grpc,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert predictions(endpoint) == before + 1


def predictions(endpoint):
    url = f"{endpoint.url}/monitoring/prometheus/metrics"
    name = ':tensorflow:serving:request_count{model_name="small",status="OK"} '
    for line in requests.get(url, timeout=60).text.splitlines():
        if line.startswith(name):
            return float(line.removeprefix(name))
    return 0
