"""A server that is stopped before it serves."""

import os
import signal
import subprocess
import sys

import pytest

from tests.serving.running_server import wait_until


@pytest.mark.slow
def test_sigterm_while_the_network_is_exported(tmp_path):
    """A part of the export is written by then."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    log = tmp_path / "log.txt"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [
                *(sys.executable, "-m", "keras_radn", "serve"),
                *("--preset", "lite", "--rest-port", "0", "--grpc-port", "0"),
            ],
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(folder)},
        ) as process,
    ):
        try:
            wait_until(lambda: list(folder.glob("keras-radn-*/radn/*")), 300)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert list(folder.iterdir()) == []
    assert "Traceback" not in log.read_text()
