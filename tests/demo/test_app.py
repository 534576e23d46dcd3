"""The page's API, without a browser and without a network."""

import io
import logging
import socket
import threading
import time
from http.client import HTTPResponse

import numpy as np
import pytest
import requests
import uvicorn
from PIL import Image

from keras_radn.demo import app as demo_app
from keras_radn.demo.app import make_app
from keras_radn.demo.jobs import JobQueue

BYTES = {"content-type": "application/octet-stream"}

# It is answered by "100 Continue" when the body is about to be read.
BEGUN_UPLOAD = (
    b"POST /api/pictures HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Length: 9000\r\n"
    b"Expect: 100-continue\r\n\r\n"
)


def png(height, width):
    file = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Asks a server that logs no error; it works while `open` is set."""
    open_ = threading.Event()
    open_.set()

    def work(job):
        assert open_.wait(60)
        (job.folder / "deblurred.png").write_bytes(png(1, 1))
        job.maps["offsets"] = {"low": -1.0}

    jobs = JobQueue(work, tmp_path)
    jobs.start()
    app = make_app(jobs, 10_000, 5000, ["localhost"])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    errors = []
    logger = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(logger, "handle", errors.append)
    with socket.create_server(("localhost", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield Client(f"http://localhost:{listener.getsockname()[1]}", open_)
        server.should_exit = True
        thread.join()
    open_.set()
    jobs.close()
    assert [record.getMessage() for record in errors] == []


class Client:
    def __init__(self, url, open_):
        self.url = url
        self.open = open_

    def __call__(self, path, method="GET", **kwargs):
        return requests.request(method, self.url + path, timeout=60, **kwargs)

    def send(self, data, name, headers=BYTES):
        return self(
            "/api/pictures",
            "POST",
            params={"name": name},
            data=data,
            headers=headers,
        )

    def begin_upload(self):
        """Opens a connection over which a file is about to be sent."""
        port = int(self.url.rsplit(":", 1)[1])
        connection = socket.create_connection(("localhost", port), 60)
        connection.sendall(BEGUN_UPLOAD)
        assert b" 100 " in connection.recv(1000)
        return connection


def pages():
    """Returns a TIFF file with two pages."""
    file = io.BytesIO()
    with Image.new("RGB", (5, 6)) as image:
        image.save(file, "TIFF", save_all=True, append_images=[image])
    return file.getvalue()


def test_a_picture_is_done_and_fetched(client):
    answer = client.send(png(50, 100), "Straße 1.jpg")
    assert answer.status_code == 202
    url = f"/api/pictures/{answer.json()['id']}"
    end = time.monotonic() + 60
    while (status := client(url).json())["state"] != "done":
        assert time.monotonic() < end, status
    assert status["maps"] == {"offsets": {"low": -1.0}}
    result = client(f"{url}/deblurred.png")
    assert result.content == png(1, 1)
    name = "Stra%C3%9Fe%201.deblurred.png"
    assert result.headers["content-disposition"].endswith(name)
    assert client(f"{url}/attention.png").status_code == 404
    assert client(f"{url}/other.png").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"hello", 415, ["notes.txt", "not an image"]),
        (b"", 415, ["empty"]),
        (pages(), 415, ["several pages", "`keras-radn deblur`"]),
        (png(50, 100)[:60], 415, ["notes.txt"]),
        (png(51, 100), 413, ["100x51", "megapixels", "0.005"]),
        (bytes(10_001), 413, ["too large", "0.01 MB"]),
        (iter([bytes(6000)] * 2), 413, ["too large"]),
    ],
    ids=["text", "empty", "pages", "cut", "pixels", "bytes", "chunked"],
)
def test_what_cannot_be_deblurred_is_refused(client, data, status, words):
    answer = client.send(data, "notes.txt")
    assert answer.status_code == status
    error = answer.json()["error"]
    assert all(word in error for word in words)
    assert "<bytes>" not in error


def test_other_sites_get_nothing(client):
    # A form of another site can send this type without being asked first.
    answer = client.send(png(5, 5), "a.png", {"content-type": "text/plain"})
    assert answer.status_code == 415
    # Nor does a foreign name that points to this computer help.
    answer = client("/api/limits", headers={"host": "evil.example"})
    assert answer.status_code == 400
    policy = client("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy


def test_unknown_pictures(client):
    assert client("/api/pictures/x").status_code == 404
    assert client("/api/pictures/x", "DELETE").status_code == 404


def test_there_are_no_pages_that_load_scripts_from_elsewhere(client):
    assert client("/docs").status_code == 404
    assert client("/openapi.json").status_code == 404


def test_an_upload_that_breaks_off_is_no_error(client):
    with client.begin_upload() as connection:
        connection.sendall(bytes(1000))
    assert client("/api/limits").ok  # and the fixture: nothing is logged


def test_an_upload_that_stops_is_given_up(client, monkeypatch):
    monkeypatch.setattr(demo_app, "_UPLOAD_SECONDS", 0.1)
    with client.begin_upload() as connection:
        connection.sendall(bytes(1000))
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408
        assert b"did not arrive within 0.1 s" in answer.read()


def test_those_given_up_make_place_for_others(client):
    client.open.clear()
    for _ in range(6):
        answer = client.send(png(5, 5), "a.png")
        assert answer.status_code == 202
        url = f"/api/pictures/{answer.json()['id']}"
        assert client(url, "DELETE").status_code == 204
    assert client(url).json()["state"] == "cancelled"
