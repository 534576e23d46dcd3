import sys

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_radn.cli.main import main
from tests.export.conftest import build, plain_model


@pytest.fixture(scope="module")
def network():
    return build()


@pytest.fixture(scope="module")
def model_file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.keras"
    network.save(path)
    return path


@pytest.fixture
def export(model_file, capsys):
    """Returns the exit status and the lines of stdout and stderr."""

    def run(*arguments):
        status = main(
            ["export", "--model", str(model_file), *map(str, arguments)]
        )
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return run


@pytest.mark.slow
def test_saved_model(export, tmp_path):
    path, model = tmp_path / "radn", tmp_path / "plain.keras"
    plain_model().save(model)
    arguments = ("--format", "saved_model", "-o", path, "--model", model)
    status, out, _ = export(*arguments, "--max-megapixels", 0.001)
    assert (status, len(out)) == (0, 1)
    assert out[0].startswith(f"{path / '1'}: differs from the model by at most")
    loaded = tf.saved_model.load(str(path / "1"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="1 to 1000 "):
        loaded.signatures["serving_default"](images=tf.zeros([1, 40, 26, 3]))

    status, out, err = export(*arguments, "--version", 1)
    assert (status, out, len(err)) == (1, [], 1)
    assert "exists already" in err[0]
    status, *_ = export(*arguments, "--version", 1, "--force", "--no-warmup")
    assert status == 0
    assert not (path / "1" / "assets.extra").exists()


@pytest.mark.slow
def test_litert(export, tmp_path, stills_folder):
    path = tmp_path / "radn.tflite"
    status, out, _ = export(
        *("--format", "litert", "-o", path, "--precision", "int8"),
        *("--size", "80x64", "--calibration", stills_folder),
    )
    assert status == 0
    assert " dB)" in out[-1]
    runner = Interpreter(str(path)).get_signature_runner()
    picture = np.zeros([1, 64, 80, 3], "float32")
    assert runner(images=picture)["deblurred"].shape == picture.shape


@pytest.mark.slow
def test_onnx(export, tmp_path):
    path = tmp_path / "radn.onnx"
    status, out, _ = export("--format", "onnx", "-o", path, "--deform-conv")
    assert (status, len(out)) == (0, 1)
    session = onnxruntime.InferenceSession(path)
    picture = np.zeros([2, 9, 20, 3], "float32")
    (answer,) = session.run(["deblurred"], {"images": picture})
    assert answer.shape == picture.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["onnx", "-o", "{tmp}/a.tflite"], "must end in .onnx"),
        (["litert", "-o", "{tmp}/a.onnx"], "must end in .tflite"),
        (["onnx", "-o", "{tmp}/none/a.onnx"], "no folder"),
        (["onnx", "-o", "{tmp}/old.onnx"], "exists already"),
        (
            ["litert", "-o", "{tmp}/a.tflite", "--precision", "int8"],
            "Calibration pictures are needed",
        ),
        (
            ["litert", "-o", "{tmp}/a.tflite", "--calibration", "{tmp}"],
            "only there",
        ),
        (
            [
                *("litert", "-o", "{tmp}/a.tflite", "--precision", "int8"),
                *("--calibration", "{tmp}"),
            ],
            "no pictures",
        ),
        (["saved_model", "-o", "{tmp}/old.onnx"], "old.onnx"),
    ],
)
def test_errors(arguments, message, export, network, tmp_path, monkeypatch):
    module = sys.modules["keras_radn.cli.export"]
    monkeypatch.setattr(module, "load_model", lambda _: network)
    (tmp_path / "old.onnx").write_text("old")
    arguments = [a.format(tmp=tmp_path) for a in arguments]
    status, out, err = export("--format", *arguments)
    assert (status, out, len(err)) == (1, [], 1)
    assert message in err[0]
    assert [p.name for p in tmp_path.iterdir()] == ["old.onnx"]
    assert (tmp_path / "old.onnx").read_text() == "old"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["onnx", "-o", "a.onnx", "--size", "8x8"], "--format litert"),
        (["litert", "-o", "a.tflite", "--no-warmup"], "--no-warmup goes"),
        (["onnx", "-o", "a.onnx", "--version", "3"], "saved_model only"),
    ],
)
def test_options_of_another_format(arguments, message, export):
    status, out, err = export("--format", *arguments)
    assert (status, out, len(err)) == (2, [], 1)
    assert message in err[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format", "torch", "-o", "a"],
        ["--format", "litert", "-o", "a.tflite", "--size", "big"],
        ["--format", "litert", "-o", "a.tflite", "--size", "0x8"],
        ["--format", "saved_model", "-o", "a", "--version", "0"],
        ["--format", "saved_model", "-o", "a", "--version", str(2**63)],
        ["--format", "saved_model", "-o", "a", "--max-megapixels", "0"],
        ["--format", "onnx", "-o", "a.onnx", "--preset", "radn1"],
    ],
)
def test_wrong_command_line(arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["export", *arguments])
    assert exit_.value.code == 2
