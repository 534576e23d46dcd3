import functools
import http.server
import io
import threading

import numpy as np
import pytest

from keras_radn import RADN
from keras_radn.models import packaged_weights
from keras_radn.models.packaged_weights import (
    load_pretrained,
    read_weights,
    write_weights,
)
from tests.conftest import TINY_RADN


@pytest.mark.slow
def test_round_trip_in_half_precision(tiny_radn, tmp_path, rng):
    model, other = tiny_radn(), RADN(**TINY_RADN)
    path = tmp_path / "weights.npz"
    sha256 = write_weights(model, path)
    read_weights(other, path, sha256)
    for a, b in zip(model.variables, other.variables, strict=True):
        if len(a.shape) == 1:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
    images = rng.random((1, 20, 20, 3), "float32")
    expected = model(images).numpy()
    np.testing.assert_allclose(
        other(images), expected, atol=0.02 * np.abs(expected).max()
    )


def test_damaged_file(tiny_radn, tmp_path):
    model = tiny_radn()
    path = tmp_path / "weights.npz"
    sha256 = write_weights(model, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or not the released"):
        read_weights(model, path, sha256)


def archive(position=0, value=b""):
    """Makes a compressed archive, some of whose bytes are replaced.

    A negative position is that in the entry of its table of contents.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(1000.0))
    content = bytearray(buffer.getvalue())
    if position < 0:
        position = content.rfind(b"PK\x01\x02") - position
    content[position : position + len(value)] = value
    return bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        b"",  # EOFError
        archive(100, bytes(40)),  # zlib.error
        archive(-10, b"c"),  # NotImplementedError
    ],
)
def test_files_that_cannot_be_read(content, tiny_radn, tmp_path):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.npz is not a weights file"):
        read_weights(tiny_radn(), path)


def test_weights_of_another_architecture(tiny_radn, tmp_path):
    path = tmp_path / "weights.npz"
    write_weights(tiny_radn(), path)
    other = tiny_radn(attention=False)
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"another architecture.*from_preset"):
        read_weights(other, path)
    for a, b in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Yields the address of a server for a folder's files."""
    cache = str(tmp_path / "cache")
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", cache)
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=tmp_path
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.mark.slow
def test_weights_by_path_and_address(tiny_radn, tmp_path, server):
    path = tmp_path / "weights.npz"
    sha256 = write_weights(tiny_radn(), path)
    by_path = RADN(**TINY_RADN, pretrained=path)
    address = f"{server}/weights.npz#sha256={sha256}"
    by_address = RADN(**TINY_RADN, pretrained=address)
    path.unlink()
    again = RADN(**TINY_RADN, pretrained=address)  # from the cache
    with pytest.raises(FileNotFoundError, match="no weights file"):
        RADN(**TINY_RADN, pretrained=path)
    for a, *others in zip(
        *(m.get_weights() for m in (by_path, by_address, again)), strict=True
    ):
        for b in others:
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_addresses_that_are_wrong(tiny_radn, tmp_path, server):
    write_weights(tiny_radn(), tmp_path / "weights.npz")
    for name in ("none.npz", f"weights.npz#sha256={'0' * 64}"):
        with pytest.raises(ValueError, match="could not be downloaded"):
            RADN(**TINY_RADN, pretrained=f"{server}/{name}")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match="is not a weights file"):
        RADN(**TINY_RADN, pretrained=f"{server}/text.npz")


@pytest.mark.slow
@pytest.mark.parametrize("name", packaged_weights.packaged_presets(RADN))
def test_pretrained_is_the_released_file(name, monkeypatch):
    preset = RADN.presets[name]["weights"]
    path = packaged_weights._FOLDER / preset["file"]
    assert path.stat().st_size < 25e6
    model = RADN.from_preset(name)
    with np.load(path) as arrays:
        for variable in model.variables:
            np.testing.assert_array_equal(variable, arrays[variable.path])
    monkeypatch.setitem(preset, "sha256", "0" * 64)
    with pytest.raises(ValueError, match="damaged or not the released"):
        load_pretrained(model, True)
