import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.demo.test_app import BEGUN_UPLOAD

# In a process of its own, since uvicorn runs in the main thread and only where
# no event loop does.
SERVER = """
from keras_radn.demo import DemoOptions, serve, server

server._GRACE_SECONDS = 0.1
server.make_work = lambda model: model
serve(None, DemoOptions(port=0))
"""


@pytest.mark.slow
def test_an_upload_that_stops_does_not_delay_the_end():
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        address = process.stdout.readline()
        port = int(re.search(r":(\d+) ", address)[1])
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(BEGUN_UPLOAD)
            assert b" 100 " in connection.recv(1000)
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "uvicorn" not in errors.lower()
