"""A server that starts, is overloaded, and stops."""

import concurrent.futures
import gzip
import http.client
import json
import signal
import socket
import time

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_radn.cli.main import main
from tests.serving.rest_requests import PREDICT, ROW
from tests.serving.running_server import running_server, wait_until

pytestmark = pytest.mark.slow


def busy(seconds):
    return {"signature_name": "busy", "instances": [seconds]}


@pytest.fixture(scope="module")
def limited(tmp_path_factory, small_config):
    """A server with room for two small requests."""
    with running_server(
        tmp_path_factory.mktemp("limited"),
        *("--model-config-file", small_config),
        *("--queue-length", 1),
        *("--timeout", 2),
        *("--max-body-megabytes", 0.1),
        *("--max-megapixels", 0.005),
    ) as server:
        yield server


def test_a_conversation(endpoint):
    """One request over each protocol; test_rest and test_grpc have more."""
    url = endpoint.url + PREDICT
    answer = requests.post(url, json=ROW, timeout=60)
    assert answer.json() == {"predictions": [[[[2.0, 4.0, 6.0]]]]}
    answer = requests.post(url, data=b"{", timeout=60)
    assert answer.status_code == 400
    assert "JSON Parse error" in answer.json()["error"]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "small"
    request.inputs["images"].CopyFrom(
        tf.make_tensor_proto(np.ones((1, 1, 1, 3), np.float32))
    )
    with grpc.insecure_channel(endpoint.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        outputs = stub.Predict(request, timeout=60).outputs
    assert tf.make_ndarray(outputs["deblurred"]).tolist() == [[[[2, 2, 2]]]]


def test_health_and_metrics(limited):
    assert limited.get("/healthz").status_code == 200
    assert limited.get("/readyz").status_code == 200
    description = limited.get("/openapi.json").json()
    for method in ("predict", "classify", "regress"):
        assert f"/v1/models/{{model}}:{method}" in description["paths"]
    with grpc.insecure_channel(limited.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert answer.status == answer.SERVING
    name = ":tensorflow:serving:request_count"
    key = name + '{model_name="small",status="OK"}'
    before = limited.metric(name).get(key, 0)
    assert limited.post("small:predict", json=ROW).ok
    limited.post("made_up:predict", json=ROW)
    counts = limited.metric(name)
    assert counts[key] == before + 1
    # Names that nobody configured do not become time series.
    assert counts[name + '{model_name="",status="NOT_FOUND"}'] >= 1
    assert not any("made_up" in label for label in counts)


def test_access_log(limited):
    limited.post("small/versions/1:predict", json=ROW)
    limited.get("/v1/models/nobody")

    def logged(request):
        """Returns a request's last line, which is written after the answer."""
        found = [
            line[line.index("{") :]
            for line in limited.log.read_text().splitlines()
            if f'"{request}"' in line
        ]
        return found[-1] if found else ""

    predicted = "POST /v1/models/small/versions/1:predict"
    failed = "GET /v1/models/nobody"
    wait_until(lambda: logged(predicted) and logged(failed).endswith("}"))
    line = json.loads(logged(predicted))
    assert line["status"] == 200
    assert line["bytes_in"] == len(json.dumps(ROW))
    assert line["ms"] > 0
    line = json.loads(logged(failed))
    assert (line["status"], "nobody" in line["error"]) == (404, True)


@pytest.mark.parametrize("announced", [True, False])
def test_body_limit(limited, announced):
    body = b" " * 200_000
    data = body if announced else iter([body[:100_000], body[100_000:]])
    answer = limited.post("small:predict", data=data)
    assert answer.status_code == 413
    assert "raise the server's limit" in answer.json()["error"]


def test_gzip(limited):
    def post(body):
        headers = {"Content-Encoding": "gzip"}
        return limited.post("small:predict", data=body, headers=headers)

    assert post(gzip.compress(json.dumps(ROW).encode())).json() == {
        "predictions": [[[[2.0, 4.0, 6.0]]]]
    }
    assert post(gzip.compress(b" " * 10_000_000)).status_code == 413
    assert post(b"no gzip").status_code == 400


def test_pixel_limit(limited):
    images = np.zeros((1, 71, 71, 3), int).tolist()
    answer = limited.post("small:predict", json={"instances": images})
    assert answer.status_code == 413
    assert "5041 pixels" in answer.json()["error"]
    # A file's header tells, before anything is decoded.
    picture = tf.io.encode_png(np.zeros((200, 200, 3), np.uint8)).numpy()
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "small"
    request.model_spec.signature_name = "image_bytes"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([picture]))
    with grpc.insecure_channel(limited.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="40000 pixels") as caught:
            stub.Predict(request, timeout=60)
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT


def test_overload_is_shed(limited):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(
                lambda _: limited.post("small:predict", json=busy(0.5)),
                range(12),
            )
        )
    codes = sorted(answer.status_code for answer in answers)
    assert set(codes) == {200, 503}
    assert codes.count(200) >= 2
    shed = next(answer for answer in answers if answer.status_code == 503)
    assert int(shed.headers["Retry-After"]) >= 1
    assert "try again later" in shed.json()["error"]
    assert limited.post("small:predict", json=ROW).ok


def test_overload_is_shed_by_grpc(limited):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "small"
    request.model_spec.signature_name = "busy"
    request.inputs["seconds"].CopyFrom(
        tf.make_tensor_proto(np.array([0.3], np.float32))
    )
    with grpc.insecure_channel(limited.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        calls = [stub.Predict.future(request, timeout=60) for _ in range(30)]
        codes = [call.code() for call in calls]
    assert codes.count(StatusCode.OK) >= 2
    # RESOURCE_EXHAUSTED for those that it does not even look at.
    assert set(codes) - {StatusCode.OK} <= {
        StatusCode.UNAVAILABLE,
        StatusCode.RESOURCE_EXHAUSTED,
    }
    assert len(set(codes)) > 1


def test_requests_that_take_too_long(limited):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(limited.post, "small:predict", json=busy(30))
        time.sleep(0.2)
        # Behind it, and as old.
        waiting = pool.submit(limited.post, "small:predict", json=ROW)
        answers = [running.result(), waiting.result()]
    assert answers[0].status_code == 504
    # Its computation ended, too.
    assert answers[1].status_code in (200, 504)
    wait_until(lambda: limited.post("small:predict", json=ROW).ok, 5)


def test_body_that_does_not_arrive(limited):
    connection = http.client.HTTPConnection(limited.url[7:], timeout=60)
    connection.putrequest("POST", PREDICT)
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"{")
    answer = connection.getresponse()
    assert answer.status == 408
    connection.close()


def test_clients_that_leave_free_their_place(limited):
    body = json.dumps(busy(1)).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}"
    for _ in range(2):
        with socket.create_connection(
            limited.url[7:].split(":"), timeout=60
        ) as client:
            client.sendall(f"{head}\r\n\r\n".encode() + body)
    name = "keras_radn_serving_requests_in_progress"
    wait_until(lambda: limited.metric(name) == {name: 0})
    assert limited.post("small:predict", json=ROW).ok


def test_burst_does_not_grow_memory(tmp_path, small_config):
    """A thousand requests of a megabyte meet a server with four places."""
    with running_server(
        tmp_path, "--model-config-file", small_config, "--queue-length", 3
    ) as server:
        body = json.dumps(busy(0.05)).ljust(1_000_000).encode()

        def post(_):
            return server.post("small:predict", data=body).status_code

        def burst():
            with concurrent.futures.ThreadPoolExecutor(50) as pool:
                return list(pool.map(post, range(500)))

        burst()
        before = server.memory()
        codes = burst()
        grown = server.memory() - before
    assert set(codes) == {200, 503}
    assert codes.count(503) > 100
    assert grown < 50e6  # of the 500 MB that were sent


def test_sigterm_drains(base, tmp_path):
    with (
        running_server(
            tmp_path, "--model-base-path", base, "--model-name", "small"
        ) as server,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        running, waiting = (
            pool.submit(server.post, "small:predict", json=busy(0.7))
            for _ in range(2)
        )
        time.sleep(0.4)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        with pytest.raises(requests.ConnectionError):
            server.post("small:predict", json=ROW, timeout=60)
        assert running.result().status_code == 200
        assert waiting.result().status_code == 200
        assert server.process.wait(10) == 0


def test_a_second_signal_ends_it(base, tmp_path):
    with (
        running_server(
            tmp_path, "--model-base-path", base, "--model-name", "small"
        ) as server,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        running = pool.submit(server.post, "small:predict", json=busy(20))
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Stopping" in server.log.read_text())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(5) == -signal.SIGTERM
        with pytest.raises(requests.ConnectionError):
            running.result()


def serve(capsys, *arguments):
    """Returns exit status and message of a server that does not start."""
    status = main(["serve", *map(str, arguments)])
    return status, capsys.readouterr().err


def test_wrong_folders(tmp_path, capsys):
    missing = tmp_path / "missing"
    status, message = serve(capsys, "--model-base-path", missing)
    assert (status, message.count("\n")) == (1, 1)
    assert str(missing) in message
    status, message = serve(capsys, "--model-base-path", tmp_path)
    assert status == 1
    assert "numbered folder" in message
    (tmp_path / "saved_model.pb").touch()
    status, message = serve(capsys, "--model-base-path", tmp_path)
    assert status == 1
    assert "give the folder that holds it" in message


@pytest.mark.parametrize(
    ("option", "value"),
    [("rest-port", 65536), ("workers", 0), ("timeout", "nan")],
)
def test_wrong_options(capsys, option, value):
    with pytest.raises(SystemExit) as exit_:
        serve(capsys, f"--{option}", value)
    assert exit_.value.code == 2
    message = capsys.readouterr().err
    assert f"argument --{option}: " in message
    assert str(value) in message


def test_broken_model(tmp_path, capsys):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"no model")
    status, message = serve(capsys, "--model-base-path", tmp_path)
    assert status == 1
    assert "version 1 cannot be loaded" in message
    assert "Traceback" not in message


def test_port_in_use(base, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("--rest-port", "--grpc-port"):
            other = {"--rest-port", "--grpc-port"} - {option}
            status, message = serve(
                capsys,
                *("--model-base-path", base),
                *(option, port),
                *(other.pop(), 0),
            )
            assert status == 1
            assert str(port) in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model_config_list {", "models.config"),
        ("custom_model_config {}", "model_config_list"),
        ("model_config_list { config { } }", "names"),
        (
            'model_config_list { config { name: "a" version_labels '
            "{ value: 1 } } }",
            "names",
        ),
        (
            'model_config_list { config { name: "a" base_path: "b" } }',
            "absolute",
        ),
        (
            'model_config_list { config { name: "a" base_path: "/" '
            'model_platform: "caffe" } }',
            "caffe",
        ),
    ],
)
def test_wrong_configurations(tmp_path, capsys, text, words):
    file = tmp_path / "models.config"
    file.write_text(text)
    status, message = serve(capsys, "--model-config-file", file)
    assert (status, str(file) in message, words in message) == (1, True, True)
