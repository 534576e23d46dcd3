import zipfile

import keras
import pytest

from keras_radn.inference.model_file import read_model


@keras.saving.register_keras_serializable("tests")
class Known(keras.layers.Layer):
    def call(self, x):
        return x


class Unknown(keras.layers.Layer):
    def call(self, x):
        return x


def saved(path, layer):
    images = keras.Input((None, None, 3))
    keras.Model(images, layer(images)).save(path)


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def one_bit(path):
    """Flips a bit of the weights, which are the last member."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def another_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model")


def unknown_layer(path):
    saved(path, Unknown())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "damaged or cut short"),
        (lambda path: path.write_bytes(b""), "damaged or cut short"),
        (lambda path: path.write_text("no model"), "damaged or cut short"),
        (one_bit, "Bad CRC-32"),
        (another_archive, "config.json"),
        (unknown_layer, "Could not locate class 'Unknown'"),
    ],
)
@pytest.mark.parametrize("compile", [False, True])
def test_files_that_are_no_models(damage, message, compile, tmp_path):
    path = tmp_path / "a.keras"
    saved(path, Known())
    assert read_model(path).count_params() == 0
    damage(path)
    with pytest.raises(ValueError, match=message) as caught:
        read_model(path, compile)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "not found" not in text
    assert not {"\n", "\x1b"} & set(text)
    assert len(text) < 500


@pytest.mark.parametrize("name", ["a.h5", "a.bin", "folder.keras"])
def test_other_files(name, tmp_path):
    path = tmp_path / name
    if name == "folder.keras":
        path.mkdir()
    else:
        path.write_text("no model")
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
