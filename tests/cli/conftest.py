import pytest
from PIL import Image

from keras_radn import RADN
from keras_radn.cli import network_options
from tests.conftest import TINY_RADN


@pytest.fixture(scope="session")
def identity_file(tmp_path_factory):
    """A file with a network that returns its input."""
    path = tmp_path_factory.mktemp("model") / "identity.keras"
    RADN(**TINY_RADN).save(path)
    return path


@pytest.fixture
def identity(monkeypatch):
    """Replaces the packaged network by one that returns its input."""
    monkeypatch.setattr(network_options, "chosen_model", lambda _: lambda x: x)


@pytest.fixture
def picture(tmp_path, photo):
    path = tmp_path / "photo.png"
    Image.fromarray(photo[:30, 100:140]).save(path)
    return path
