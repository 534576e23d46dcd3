import sys

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from skimage import data

import keras_radn
from keras_radn import export
from keras_radn.datasets import BlurStrength
from keras_radn.datasets.blur_synthesis import blur_scene
from keras_radn.export import to_litert
from tests.conftest import randomize
from tests.export.conftest import build, expected, pictures


def psnr(a, b):
    error = np.mean((a.astype("float64") - b) ** 2)
    return -10 * np.log10(max(error, 1e-30))


def calibration():
    """Sharp and blurred crops that no test compares on."""
    rng = np.random.default_rng(3)
    scenes = [data.coffee()[:128, :160], data.chelsea()[100:228, 100:260]]
    scenes = [np.ascontiguousarray(scene) for scene in scenes]
    return [*scenes, *(blur_scene(rng, scene)[0] for scene in scenes)]


def load(path):
    """Returns a runner; asserts that all operations are built in."""
    content = path.read_bytes()
    codes = schema.ModelT.InitFromPackedBuf(content).operatorCodes
    assert len(codes) > 20
    for code in codes:
        assert code.customCode is None
        assert code.builtinCode != schema.BuiltinOperator.CUSTOM
    return Interpreter(str(path)).get_signature_runner("serving_default")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "size", "least"),
    [
        ("float32", None, 60),
        ("float16", (64, 80), 50),
        ("dynamic", None, 40),
    ],
)
def test_compares_with_the_model(
    precision, size, least, network, blurred, tmp_path
):
    path = tmp_path / "radn.tflite"
    exported = export.litert(network, path, precision, size)
    assert exported.psnr >= least
    assert list(tmp_path.iterdir()) == [path]
    runner = load(path)
    for sides in [size] if size else [(1, 1), (33, 50), (64, 80)]:
        images = pictures(blurred, 1, *sides)
        answer = runner(images=images)
        assert answer.keys() == {"deblurred"}
        assert answer["deblurred"].dtype == np.float32
        assert psnr(answer["deblurred"], expected(network, images)) >= least


@pytest.mark.slow
def test_the_packaged_network_in_8_bits(photo, tmp_path):
    """The loss in int8 depends on the weights, so these are trained."""
    model, path = keras_radn.RADN(pretrained=True), tmp_path / "radn.tflite"
    exported = export.litert(model, path, "int8", (128, 160), calibration())
    assert exported.psnr >= 35
    assert list(tmp_path.iterdir()) == [path]
    # A byte for each weight, and the graph.
    assert path.stat().st_size < 1.3 * model.count_params() + 1e6
    runner = load(path)
    shake = BlurStrength(path_shape=100, path_scale=0.1, sharp=0)  # 10 pixels
    for top, left in ((60, 150), (300, 200)):
        scene = photo[top : top + 128, left : left + 160]
        image, _ = blur_scene(np.random.default_rng(top), scene, None, shake)
        images = pictures(image, 1, 128, 160)
        answer = runner(images=images)["deblurred"]
        assert answer.dtype == np.float32
        reference = expected(model, images)
        assert psnr(answer, reference) >= 35
        # It does what the network does, not nothing.
        assert psnr(answer, reference) > psnr(images, reference) + 6


@pytest.mark.slow
def test_half_precision_and_the_baseline(blurred, tmp_path):
    half = build(dtype="mixed_bfloat16", image_shape=(32, 48, 3))
    baseline = keras_radn.ResidualBaseline(
        deformable_layers=3, attention=True, filters=(4, 8, 16), blocks=1
    )
    randomize(baseline, 0.03)
    images = pictures(blurred, 1, 32, 48)
    for model in (half, baseline):
        path = tmp_path / f"{model.name}.tflite"
        export.litert(model, path)
        answer = load(path)(images=images)["deblurred"]
        assert psnr(answer, expected(model, images)) > 55


@pytest.mark.slow
def test_a_wrong_export_leaves_nothing(network, tmp_path, monkeypatch):
    monkeypatch.setitem(to_litert.PRECISIONS, "float32", 500)
    with pytest.raises(ValueError, match="at least 500 dB"):
        export.litert(network, tmp_path / "a.tflite", size=(16, 16))
    assert list(tmp_path.iterdir()) == []


def test_custom_operations_are_refused():
    model = schema.ModelT()
    model.operatorCodes = [schema.OperatorCodeT()]
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = "FlexGather"
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(ValueError, match="FlexGather"):
        to_litert.require_built_in_ops(bytes(builder.Output()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "int4"}, "must be one of"),
        ({"precision": "int8"}, "are needed"),
        ({"calibration": [np.zeros([8, 8, 3])]}, "only there"),
        ({"size": (0, 8)}, "positive height and width"),
        ({"size": (8.5, 8)}, "positive height and width"),
        ({"calibration": [np.zeros([8, 8])]}, "shape"),
        ({"calibration": [np.full([8, 8, 3], 2.0)]}, "uint8 or of floats"),
        ({"calibration": [np.zeros([8, 8, 3], "int32")]}, "uint8 or of floats"),
        ({"calibration": [np.zeros([8, 8, 3])], "size": (8, 9)}, "9x8 pixels"),
        ({"calibration": []}, "no calibration pictures"),
    ],
)
def test_bad_arguments(arguments, message, network, tmp_path):
    if "calibration" in arguments and message != "only there":
        arguments["precision"] = "int8"
    with pytest.raises(ValueError, match=message):
        export.litert(network, tmp_path / "a.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_sizes_of_a_network_of_one_size(tmp_path):
    model = build(image_shape=(16, 32, 3))
    with pytest.raises(ValueError, match="fixed by the model"):
        export.litert(model, tmp_path / "a.tflite", size=(32, 16))


def test_missing_packages(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(ImportError, match=r"keras-radn\[litert\]"):
        export.litert(network, tmp_path / "a.tflite")


def test_calibration_folder(stills_folder):
    (stills_folder / "notes.txt").write_text("no picture")
    found = to_litert._calibration_pictures(stills_folder, (100, 130))
    assert [x.shape for x in found] == [(1, 100, 130, 3)] * 2
    assert all(0 < x.mean() < 1 for x in found)
    (stills_folder / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"broken\.png"):
        to_litert._calibration_pictures(stills_folder, (None, None))
