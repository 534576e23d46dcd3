"""Published files, compared with the authors' networks in NumPy."""

import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_radn import peers
from keras_radn.cli.main import main
from keras_radn.models.packaged_weights import write_weights
from tests.peers import published

WIDTH = 4
SIZE = (21, 37)


@pytest.fixture
def image(rng):
    return rng.random((*SIZE, 3))


@pytest.fixture
def stub_torch(monkeypatch):
    """Makes torch.load read NumPy's archives.

    PyTorch's own files are read by tests/with_torch.
    """

    class Tensor:
        def __init__(self, array):
            self.numpy = lambda: array

    def load(path, map_location, weights_only):
        assert map_location == "cpu"
        assert weights_only is True
        with np.load(path) as archive:
            return {name: Tensor(archive[name]) for name in archive}

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))


def write_torch(path, entries):
    with path.open("wb") as file:
        np.savez(file, **entries)


def write_dmphn(folder, files):
    folder.mkdir()
    for stem, entries in files.items():
        write_torch(folder / f"{stem}.pkl", entries)


def write_checkpoint(prefix, variables):
    """Writes a file as TensorFlow 1's saver does, with an optimizer's state."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, array in variables.items():
            tf.compat.v1.get_variable(name, initializer=array)
            tf.compat.v1.get_variable(
                f"{name}/Adam", initializer=np.zeros_like(array)
            )
        tf.compat.v1.get_variable("global_step", initializer=523000)
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(save_relative_paths=True)
        saver.save(session, str(prefix), global_step=523000)


def padded(image, multiple):
    """Mirrors the image at the bottom and right, as the package does."""
    sides = [(0, -n % multiple) for n in image.shape[:2]]
    return np.pad(image, [*sides, (0, 0)], mode="reflect")


def assert_equals(model, image, expected):
    outputs = model(image[np.newaxis].astype("float32"))[0]
    height, width = image.shape[:2]
    expected = expected[:height, :width]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        outputs / scale, expected / scale, rtol=0, atol=1e-4
    )
    # The weights are such that all of the network counts.
    assert np.abs(expected - image).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("levels", "stack"), [(4, 1), (3, 3)])
def test_dmphn(levels, stack, image, rng, tmp_path, stub_torch):
    files = published.dmphn_files(rng, levels, stack, WIDTH)
    write_dmphn(tmp_path / "files", files)
    model = peers.DMPHN(levels, stack, WIDTH)
    peers.load_published(model, tmp_path / "files")
    blurred = padded(image, 4 * (1, 2, 2, 4)[levels - 1])
    expected = published.dmphn(files, blurred, levels, stack)
    assert_equals(model, image, expected)


def test_deblurgan(image, rng, tmp_path, stub_torch):
    entries = published.deblurgan_entries(rng, WIDTH, blocks=2)
    statistics = {"model.2.running_mean": np.zeros(WIDTH, "float32")}
    write_torch(tmp_path / "latest_net_G.pth", {**entries, **statistics})
    model = peers.DeblurGANGenerator(WIDTH, blocks=2)
    peers.load_published(model, tmp_path / "latest_net_G.pth")
    expected = published.deblurgan(entries, padded(image, 8), blocks=2)
    assert_equals(model, image, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recurrent", "color"), [(True, True), (True, False), (False, True)]
)
def test_srn(recurrent, color, image, rng, tmp_path):
    channels = 3 if color else 1
    variables = published.srn_variables(rng, WIDTH, recurrent, channels)
    write_checkpoint(tmp_path / "deblur.model", variables)
    model = peers.SRN(recurrent, color, WIDTH)
    peers.load_published(model, tmp_path)
    blurred = padded(image, 16)
    images = [blurred] if color else np.split(blurred, 3, axis=-1)
    expected = [published.srn(variables, x, recurrent) for x in images]
    assert_equals(model, image, np.concatenate(expected, axis=-1))


@pytest.mark.slow
def test_pss_srn(image, rng, tmp_path):
    variables = published.psssrn_variables(rng, WIDTH)
    write_checkpoint(tmp_path / "deblur_model", variables)
    model = peers.PSSSRN(WIDTH)
    peers.load_published(model, tmp_path / "deblur_model-523000")
    grays = np.split(padded(image, 16), 3, axis=-1)
    expected = [published.psssrn(variables, gray) for gray in grays]
    assert_equals(model, image, np.concatenate(expected, axis=-1))


def test_enlarging_is_that_of_tensorflow_1(rng):
    image = rng.random((5, 7, 2))
    expected = tf.raw_ops.ResizeBilinear(
        images=image[np.newaxis], size=(10, 14), half_pixel_centers=False
    )
    np.testing.assert_allclose(published.enlarge(image), expected[0], atol=1e-6)


class TestErrors:
    """One sentence names what is wrong, and nothing is loaded."""

    @pytest.fixture
    def files(self, rng):
        return published.dmphn_files(rng, levels=1, stack=1, width=WIDTH)

    def refused(self, model, source, error, *words):
        before = [np.array(v) for v in model.variables]
        with pytest.raises(error) as raised:
            peers.load_published(model, source)
        text = str(raised.value)
        assert all(word in text for word in words), text
        assert "\n" not in text
        for variable, value in zip(model.variables, before, strict=True):
            np.testing.assert_array_equal(variable, value)

    def test_missing_folder(self, tmp_path):
        model = peers.DMPHN(1, width=WIDTH)
        self.refused(model, tmp_path / "none", FileNotFoundError, "folder")

    def test_missing_file(self, files, tmp_path, stub_torch):
        del files["decoder_lv1"]
        write_dmphn(tmp_path / "files", files)
        model = peers.DMPHN(1, width=WIDTH)
        self.refused(
            model, tmp_path / "files", FileNotFoundError, "decoder_lv1.pkl"
        )

    def test_missing_entry(self, files, tmp_path, stub_torch):
        del files["encoder_lv1"]["layer7.2.bias"]
        write_dmphn(tmp_path / "files", files)
        model = peers.DMPHN(1, width=WIDTH)
        self.refused(
            model, tmp_path / "files", ValueError, "encoder_lv1.layer7.2.bias"
        )

    def test_files_of_a_larger_network(self, files, tmp_path, stub_torch):
        files["encoder_lv2"] = files["encoder_lv1"]
        write_dmphn(tmp_path / "files", files)
        model = peers.DMPHN(1, width=WIDTH)
        self.refused(model, tmp_path / "files", ValueError, "encoder_lv2.pkl")

    def test_another_entry(self, files, tmp_path, stub_torch):
        files["encoder_lv1"]["layer4.0.weight"] = np.zeros(3, "float32")
        write_dmphn(tmp_path / "files", files)
        model = peers.DMPHN(1, width=WIDTH)
        self.refused(model, tmp_path / "files", ValueError, "layer4.0.weight")

    def test_another_width(self, files, tmp_path, stub_torch):
        write_dmphn(tmp_path / "files", files)
        model = peers.DMPHN(1, width=WIDTH + 1)
        self.refused(model, tmp_path / "files", ValueError, "shape", "(3, 3")

    def test_damaged_file(self, files, tmp_path, stub_torch):
        write_dmphn(tmp_path / "files", files)
        (tmp_path / "files" / "decoder_lv1.pkl").write_bytes(b"no archive")
        model = peers.DMPHN(1, width=WIDTH)
        self.refused(model, tmp_path / "files", ValueError, "decoder_lv1.pkl")

    def test_without_torch(self, files, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        write_dmphn(tmp_path / "files", files)
        model = peers.DMPHN(1, width=WIDTH)
        self.refused(
            model, tmp_path / "files", ImportError, "keras-radn[convert]"
        )

    @pytest.mark.slow
    def test_missing_checkpoint(self, tmp_path):
        model = peers.PSSSRN(WIDTH)
        missing = tmp_path / "deblur_model"
        self.refused(model, missing, FileNotFoundError, "checkpoint")
        self.refused(model, tmp_path, ValueError, "checkpoint")

    @pytest.mark.slow
    def test_checkpoint_of_a_variant(self, rng, tmp_path):
        variables = published.srn_variables(rng, WIDTH, True, 3)
        write_checkpoint(tmp_path / "deblur.model", variables)
        model = peers.SRN(recurrent=False, width=WIDTH)
        self.refused(model, tmp_path, ValueError, "convLSTM/LSTM_conv")

    def test_network_without_a_public_format(self, tmp_path):
        model = peers.MSCNN(WIDTH, blocks=1)
        self.refused(model, tmp_path, ValueError, "MSCNN")


class TestCommand:
    @pytest.fixture
    def narrow(self, monkeypatch):
        """Makes the command's networks narrow."""
        presets = {"tiny": {"config": {"width": WIDTH}}}
        monkeypatch.setattr(peers.PSSSRN, "presets", presets)
        monkeypatch.setitem(peers.PRESETS, "tiny", peers.PSSSRN)

    @pytest.fixture
    def checkpoint(self, rng, tmp_path):
        variables = published.psssrn_variables(rng, WIDTH)
        write_checkpoint(tmp_path / "deblur_model", variables)
        return tmp_path / "deblur_model-523000"

    @pytest.mark.slow
    def test_weights_and_model(
        self, narrow, checkpoint, tmp_path, image, capsys
    ):
        image = image[np.newaxis].astype("float32")
        expected = peers.PSSSRN(WIDTH)
        peers.load_published(expected, checkpoint)
        for name in ("weights.npz", "model.keras"):
            output = tmp_path / name
            words = ["convert", "tiny", str(checkpoint), "-o", str(output)]
            assert main(words) == 0
            assert name in capsys.readouterr().err
            model = (
                keras.models.load_model(output)
                if output.suffix == ".keras"
                else peers.PSSSRN(WIDTH, pretrained=output)
            )
            np.testing.assert_array_equal(model(image), expected(image))

    @pytest.mark.parametrize(
        ("network", "output", "word"),
        [
            ("mscnn", "weights.npz", "stack4_dmphn"),
            ("srn", "weights.h5", ".npz"),
        ],
    )
    def test_wrong_command_line(self, network, output, word, tmp_path, capsys):
        words = ["convert", network, "x", "-o", str(tmp_path / output)]
        assert main(words) == 2
        assert word in capsys.readouterr().err

    def test_wrong_files(self, tmp_path, capsys):
        output = tmp_path / "weights.npz"
        words = ["convert", "srn", str(tmp_path / "none"), "-o", str(output)]
        assert main(words) == 1
        assert "there is no such checkpoint" in capsys.readouterr().err
        assert not output.exists()


@pytest.mark.slow
def test_weights_of_another_architecture(tmp_path):
    write_weights(peers.PSSSRN(WIDTH), tmp_path / "weights.npz")
    with pytest.raises(ValueError, match="another architecture"):
        peers.PSSSRN(WIDTH + 1, pretrained=tmp_path / "weights.npz")
