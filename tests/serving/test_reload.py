"""Configurations and versions that replace others while a server runs."""

import concurrent.futures
import json
import shutil
import threading

import grpc
import pytest
import requests
from google.protobuf import text_format
from grpc import StatusCode
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from keras_radn.serving import read_config
from keras_radn.serving.errors import ServingError
from keras_radn.serving.model_manager import ModelManager
from tests.serving.example_models import (
    half_plus_three,
    half_plus_two,
    write_signatures,
)
from tests.serving.rest_requests import PREDICT, ROW
from tests.serving.running_server import running_server, wait_until
from tests.serving.small_model import write_version


@pytest.fixture
def two(tmp_path):
    """A model with the versions 1 and 2."""
    two = tmp_path / "two"
    write_signatures(two / "1", half_plus_two)
    shutil.copytree(two / "1", two / "2")
    return two


def config(tmp_path, *entries):
    path = tmp_path / "models.config"
    path.write_text(
        "model_config_list {"
        + "".join(f"config {{ {entry} }}" for entry in entries)
        + "}"
    )
    return read_config(path)


def entry(base, versions=(), **labels):
    policy = "".join(f"versions: {version} " for version in versions)
    return (
        f'name: "{base.name}" base_path: "{base}" '
        f"model_version_policy {{ specific {{ {policy} }} }}"
        + "".join(
            f'version_labels {{ key: "{key}" value: {value} }}'
            for key, value in labels.items()
        )
    )


@pytest.fixture
def manager(tmp_path, two):
    manager = ModelManager(config(tmp_path, entry(two, [1], stable=1)))
    yield manager
    manager.close()


def labelled(manager, label, name="two"):
    with manager.using(name, label=label) as (version, _):
        return version


@pytest.mark.parametrize(
    "labels",
    [{"stable": 2}, {"stable": 1, "canary": 2}, {"stable": 1, "canary": 7}],
)
def test_a_label_of_a_version_that_is_not_available(
    tmp_path, two, manager, labels
):
    """The label is new, or it moves."""
    with pytest.raises(ServingError, match="not currently available") as caught:
        manager.reload(config(tmp_path, entry(two, [1], **labels)))
    assert caught.value.code == StatusCode.FAILED_PRECONDITION
    assert labelled(manager, "stable") == 1
    with pytest.raises(ServingError, match="Unrecognized"):
        labelled(manager, "canary")


def test_a_label_of_a_version_that_the_configuration_adds(
    tmp_path, two, manager
):
    manager.reload(config(tmp_path, entry(two, [1, 2], stable=1, canary=2)))
    assert labelled(manager, "canary") == 2


def test_a_version_that_cannot_be_loaded_takes_nothing_away(
    tmp_path, two, manager
):
    (two / "2" / "saved_model.pb").write_bytes(b"no model")
    three = tmp_path / "three"
    write_signatures(three / "1", half_plus_three)
    new = config(
        tmp_path, entry(two, [1, 2], canary=2), entry(three, [1], stable=1)
    )
    with pytest.raises(ServingError, match="not currently available"):
        manager.reload(new)
    assert manager.names() == ["two"]
    assert labelled(manager, "stable") == 1
    manager.reload(config(tmp_path, entry(three, [1], stable=1)))
    assert labelled(manager, "stable", "three") == 1
    with pytest.raises(ServingError, match="Could not find any versions"):
        manager.status("two")


@pytest.mark.slow
def test_reload_under_load(base, tmp_path):
    """All requests succeed while versions come and go."""
    with running_server(
        tmp_path,
        *("--model-base-path", base),
        *("--model-name", "small"),
        *("--poll-seconds", 0.2),
    ) as server:
        stop = threading.Event()

        def ask():
            answers = []
            with requests.Session() as session:
                while not stop.is_set():
                    answer = session.post(server.url + PREDICT, json=ROW)
                    answers.append((answer.status_code, answer.text))
            return answers

        with concurrent.futures.ThreadPoolExecutor() as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            try:
                for version, factor in ((2, 2), (3, 3)):
                    write_version(tmp_path / "made", version, factor)
                    shutil.move(tmp_path / "made" / str(version), base)
                    wait_until(
                        lambda v=version: (
                            server.versions().get(v) == "AVAILABLE"
                            and server.versions().get(v - 1) == "END"
                        )
                    )
            finally:
                stop.set()
            answers = [answer for asked in asking for answer in asked.result()]
    assert {status for status, _ in answers} == {200}
    values = {
        json.loads(text)["predictions"][0][0][0][0] for _, text in answers
    }
    assert values == {0.5, 2.0, 3.0}


@pytest.mark.slow
def test_versions_that_are_broken_or_not_complete(base, tmp_path):
    with running_server(
        tmp_path,
        *("--model-base-path", base),
        *("--model-name", "small"),
        *("--poll-seconds", 0.2),
    ) as server:
        good = write_version(tmp_path / "made", 3, 3)
        # Not a version: no number, no graph, more than 64 bits.
        (base / "4").mkdir()
        (base / "tmp").mkdir()
        shutil.copytree(good, base / str(2**63))
        # Broken: the variables are cut off.
        shutil.copytree(good, base / "2")
        (data,) = (base / "2").glob("variables/*.data*")
        data.write_bytes(data.read_bytes()[:-2])
        wait_until(lambda: server.versions() == {2: "END", 1: "AVAILABLE"})
        status = server.get("/v1/models/small").json()
        broken = status["model_version_status"][0]["status"]
        assert broken["error_code"] != "OK"
        assert broken["error_message"]
        assert server.post("small:predict", json=ROW).json() == {
            "predictions": [[[[0.5, 1.0, 1.5]]]]
        }
        assert server.get("/readyz").status_code == 200
        assert server.metric("keras_radn_serving_version_state")
        # Mended, it is tried again.
        shutil.rmtree(base / "2")
        shutil.move(good, base / "2")
        wait_until(lambda: server.versions() == {2: "AVAILABLE", 1: "END"})
        assert server.post("small:predict", json=ROW).json() == {
            "predictions": [[[[3.0, 6.0, 9.0]]]]
        }


@pytest.mark.slow
def test_labels_move(tmp_path, small_config):
    """A call moves them, and so does the configuration file."""
    config = tmp_path / "models.config"
    shutil.copy(small_config, config)
    with (
        running_server(
            tmp_path,
            *("--model-config-file", config),
            *("--poll-seconds", 0.2),
        ) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):

        def stable():
            answer = server.post("small/labels/stable:predict", json=ROW)
            return answer.json()["predictions"][0][0][0][0]

        assert stable() == 0.5
        moved = read_config(config)
        model = moved.model_config_list.config[0]
        model.version_labels["stable"] = 2
        config.write_text(text_format.MessageToString(moved))
        wait_until(lambda: stable() == 2)
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        model.version_labels["stable"] = 1
        request = model_management_pb2.ReloadConfigRequest(config=moved)
        answer = stub.HandleReloadConfigRequest(request, timeout=60)
        assert answer.status.error_code == 0
        assert stable() == 0.5
        for label in ("stable", "new"):
            request.config.CopyFrom(moved)
            changed = request.config.model_config_list.config[0]
            changed.version_labels[label] = 7
            with pytest.raises(grpc.RpcError, match="FAILED_PRECONDITION"):
                stub.HandleReloadConfigRequest(request, timeout=60)
        config.write_text("no configuration")
        wait_until(lambda: "stays" in server.log.read_text())
        assert stable() == 0.5
