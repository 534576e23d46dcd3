"""The API of the page, without a browser and without a network."""

import io
import socket
import threading
import time

import numpy as np
import pytest
import requests
import uvicorn
from PIL import Image

from keras_radn.demo.app import make_app
from keras_radn.demo.jobs import JobQueue

BYTES = {"content-type": "application/octet-stream"}


def png(height, width):
    file = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def client(tmp_path):
    def work(job):
        (job.folder / "deblurred.png").write_bytes(png(1, 1))
        job.maps["offsets"] = {"low": -1.0}

    jobs = JobQueue(work, tmp_path)
    jobs.start()
    app = make_app(jobs, 10_000, 5000, ["localhost"])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with socket.create_server(("localhost", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield Client(f"http://localhost:{listener.getsockname()[1]}")
        server.should_exit = True
        thread.join()
    jobs.close()


class Client:
    def __init__(self, url):
        self.url = url

    def __call__(self, path, method="GET", **kwargs):
        return requests.request(method, self.url + path, timeout=10, **kwargs)

    def send(self, data, name, headers=BYTES):
        return self(
            "/api/pictures",
            "POST",
            params={"name": name},
            data=data,
            headers=headers,
        )


def test_a_picture_is_done_and_fetched(client):
    answer = client.send(png(50, 100), "Straße 1.jpg")
    assert answer.status_code == 202
    url = f"/api/pictures/{answer.json()['id']}"
    end = time.monotonic() + 10
    while (status := client(url).json())["state"] != "done":
        assert time.monotonic() < end, status
    assert status["maps"] == {"offsets": {"low": -1.0}}
    result = client(f"{url}/deblurred.png")
    assert result.content == png(1, 1)
    name = "Stra%C3%9Fe%201.deblurred.png"
    assert result.headers["content-disposition"].endswith(name)
    assert client(f"{url}/attention.png").status_code == 404
    assert client(f"{url}/other.png").status_code == 404


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"hello", 415, ["notes.txt", "not an image"]),
        (b"", 415, ["empty"]),
        (png(50, 100)[:60], 415, ["notes.txt"]),
        (png(51, 100), 413, ["100x51", "megapixels", "0.005"]),
        (bytes(10_001), 413, ["too large", "0.01 MB"]),
        (iter([bytes(6000)] * 2), 413, ["too large"]),
    ],
    ids=["text", "empty", "cut", "pixels", "bytes", "chunked"],
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
