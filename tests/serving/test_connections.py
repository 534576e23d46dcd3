"""Clients that send slowly, too much, or at the wrong time."""

import asyncio
import contextlib
import http.client
import json
import socket
import time

import pytest

from keras_radn.serving.early_answers import EarlyAnswers
from tests.serving.rest_requests import PREDICT, ROW
from tests.serving.running_server import running_server, wait_until

MAX_BODY = 8_000_000
SECONDS = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory, small_config):
    """A server with room for one request and short timeouts."""
    with running_server(
        tmp_path_factory.mktemp("server"),
        *("--model-config-file", small_config),
        *("--queue-length", 0),
        *("--timeout", SECONDS),
        *("--max-body-megabytes", MAX_BODY / 1e6),
    ) as server:
        yield server


def connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, port), timeout=60)


def head(path, length, *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def in_progress(server):
    name = "keras_radn_serving_requests_in_progress"
    return server.metric(name)[name]


@contextlib.contextmanager
def occupied(server):
    """Occupies the server by a request whose body does not arrive."""
    with connect(server) as client:
        client.sendall(head(PREDICT, 100))
        wait_until(lambda: in_progress(server) == 1)
        yield
    wait_until(lambda: in_progress(server) == 0)


def status_of(client):
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


@pytest.mark.slow
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        (PREDICT, MAX_BODY, 503),
        (PREDICT, MAX_BODY + 4_000_000, 413),
        ("/v1/models/nobody:predict", MAX_BODY, 404),
        ("/v1/nothing", MAX_BODY, 400),
    ],
)
def test_whoever_still_sends_sees_the_answer(
    server, path, size, status, connection
):
    client = http.client.HTTPConnection(server.url[7:], timeout=60)
    full = occupied(server) if status == 503 else contextlib.nullcontext()
    with contextlib.closing(client), full:
        client.request("POST", path, b" " * size, {"Connection": connection})
        answer = client.getresponse()
        assert answer.status == status
        assert json.load(answer)["error"]
        if status == 503:
            assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.slow
def test_what_is_thrown_away_takes_no_place_and_little_time(server):
    with connect(server) as client:
        started = time.monotonic()
        client.sendall(head(PREDICT, MAX_BODY + 1) + b"{")
        time.sleep(0.2)
        assert server.post("small:predict", json=ROW).status_code == 200
        assert status_of(client) == 413
        assert time.monotonic() - started < SECONDS + 2
        # Else the next bytes would be taken for the rest of the body.
        assert client.recv(1) == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "header"),
    [(10**12, "Accept: */*"), (MAX_BODY + 1, "Expect: 100-continue")],
)
def test_answered_before_the_body(server, length, header):
    """The body is too long, or the client has to ask before sending it."""
    with connect(server) as client:
        started = time.monotonic()
        client.sendall(head(PREDICT, length, header))
        assert status_of(client) == 413
        assert time.monotonic() - started < SECONDS - 0.5


def test_no_more_is_read_than_the_bound():
    """The length of the body is not announced."""
    received, sent = [], []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 404})
        await send({"type": "http.response.body"})

    async def receive():
        received.append(1000)
        return {"type": "http.request", "body": b" " * 1000, "more_body": True}

    async def send(message):
        sent.append(message)

    middleware = EarlyAnswers(app, max_bytes=10_000, timeout=60)
    asyncio.run(middleware({"type": "http", "headers": []}, receive, send))
    assert 10_000 <= sum(received) <= 11_000
    assert [message["type"] for message in sent] == [
        "http.response.start",
        "http.response.body",
    ]
    assert (b"connection", b"close") in sent[0]["headers"]


def wait_for_close(*clients, seconds):
    for client in clients:
        client.settimeout(seconds)
        assert client.recv(1) == b""


@pytest.mark.slow
def test_headers_that_do_not_arrive(server):
    with (
        connect(server) as silent,
        connect(server) as partial,
        connect(server) as dripping,
    ):
        started = time.monotonic()
        partial.sendall(head(PREDICT, 2)[:-2])
        for byte in head(PREDICT, 2)[:5]:
            dripping.sendall(bytes([byte]))
            time.sleep(0.2)
        wait_for_close(silent, partial, dripping, seconds=SECONDS + 2)
        assert SECONDS - 0.5 < time.monotonic() - started < SECONDS + 2


@pytest.mark.slow
def test_a_connection_is_kept_between_requests(server):
    get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    with connect(server) as client:
        for pause in (SECONDS + 1, 0):
            client.sendall(get)
            assert status_of(client) == 200
            time.sleep(pause)
        # Until the next one begins and does not go on.
        client.sendall(get[:10])
        wait_for_close(client, seconds=SECONDS + 2)
