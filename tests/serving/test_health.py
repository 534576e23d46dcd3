"""The health of a server whose workers do not answer."""

import asyncio
import os
import time
import types

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from keras_radn.serving.rest import make_app
from tests.serving.example_models import write_signatures
from tests.serving.odd_models import odd_signatures
from tests.serving.running_server import running_server, wait_until


@pytest.mark.parametrize(("lost", "status"), [(0, 200), (9, 200), (99, 503)])
def test_only_a_new_start_helps(lost, status):
    """Then `/healthz` fails, too, and an orchestrator restarts the server."""
    handler = types.SimpleNamespace(
        admission=types.SimpleNamespace(overdue=lambda: lost),
        max_body=1,
        timeout=1,
    )
    sent = []
    scope = {"type": "http", "method": "GET", "raw_path": b"/healthz"}
    scope |= {"path": "/healthz", "query_string": b"", "headers": []}

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    asyncio.run(make_app(handler, dict)(scope, receive, send))
    assert sent[0]["status"] == status


@pytest.mark.slow
def test_a_computation_that_cannot_be_stopped(tmp_path):
    """It reads a pipe, which TensorFlow cannot interrupt."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    write_signatures(tmp_path / "odd" / "1", odd_signatures)
    with (
        running_server(
            tmp_path,
            *("--model-base-path", tmp_path / "odd"),
            *("--model-name", "odd"),
            *("--timeout", 1),
        ) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)

        def told():
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
            state = health_pb2.HealthCheckResponse.ServingStatus.Name
            return server.get("/readyz").status_code, state(answer.status)

        assert told() == (200, "SERVING")
        body = {"signature_name": "reads", "inputs": str(pipe)}
        assert server.post("odd:predict", json=body).status_code == 504
        lost = time.monotonic()
        assert server.post("odd:predict", json=body).status_code == 504
        wait_until(lambda: told() == (503, "NOT_SERVING"), 10)
        assert time.monotonic() - lost < 10
        error = server.get("/readyz").json()["error"]
        assert error == "server: no worker answers"
        pipe.open("wb").close()
        wait_until(lambda: told() == (200, "SERVING"))
        answer = server.post("odd:predict", json={"instances": [1]})
        assert answer.json() == {"predictions": [2]}
