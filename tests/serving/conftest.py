import json
import os
import shutil
from typing import NamedTuple

import pytest
import requests

from tests.serving.running_server import running_server
from tests.serving.small_model import write_models


class Endpoint(NamedTuple):
    url: str
    grpc: str


@pytest.fixture(scope="session")
def small_config(tmp_path_factory):
    """TF-Serving's configuration file for the small model."""
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def base(tmp_path, small_config):
    """A folder with version 1 of the model, for one test."""
    base = tmp_path / "small"
    shutil.copytree(small_config.parent / "small" / "1", base / "1")
    return base


@pytest.fixture(scope="session")
def endpoint(request, tmp_path_factory):
    """The addresses of a server of the small model: ours, or another one.

    To compare with TF-Serving's own, write the model with
    `tests.serving.small_model`, run

        tensorflow_model_server --rest_api_port=8501 --port=8500 \\
            --model_config_file=FOLDER/models.config \\
            --allow_version_labels_for_unavailable_models

    and set KERAS_RADN_SERVING_URL=http://127.0.0.1:8501 and
    KERAS_RADN_SERVING_GRPC=127.0.0.1:8500.
    """
    if url := os.environ.get("KERAS_RADN_SERVING_URL"):
        yield Endpoint(url, os.environ["KERAS_RADN_SERVING_GRPC"])
        return
    config = request.getfixturevalue("small_config")
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, "--model-config-file", config) as server:
        yield Endpoint(server.url, server.grpc)


@pytest.fixture(scope="module")
def session():
    with requests.Session() as session:
        yield session


@pytest.fixture
def ask(endpoint, session):
    """Returns a function that sends a request; its status and JSON."""

    def ask(method, path, body=None):
        if not isinstance(body, bytes | None):
            body = json.dumps(body).encode()
        response = session.request(
            method, endpoint.url + path, data=body, timeout=60
        )
        assert response.headers["Content-Type"] == "application/json"
        return response.status_code, json.loads(response.text)

    return ask
