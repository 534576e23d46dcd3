import logging
import os
import signal
import socket
import threading
import time

from keras_radn.demo import DemoOptions, serve, server
from tests.demo.test_app import BEGUN_UPLOAD


def test_an_upload_that_stops_does_not_delay_the_end(monkeypatch):
    errors = []
    logger = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(logger, "handle", errors.append)
    monkeypatch.setattr(server, "_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(server, "make_work", lambda model: model)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = []

    def stall():
        with connect(port) as connection:
            connection.sendall(BEGUN_UPLOAD)
            assert b" 100 " in connection.recv(1000)
            os.kill(os.getpid(), signal.SIGINT)
            try:
                connection.recv(1000)
                ended.append(True)
            except TimeoutError:
                os.kill(os.getpid(), signal.SIGINT)  # which ends it at once

    thread = threading.Thread(target=stall)
    thread.start()
    serve(None, DemoOptions(port=port))
    thread.join()
    assert ended
    assert errors == []


def connect(port):
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=3)
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise AssertionError("The server does not listen.")
