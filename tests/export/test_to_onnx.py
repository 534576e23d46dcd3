import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

import keras_radn
from keras_radn import export
from keras_radn.export import to_onnx
from keras_radn.layers import DeformableConv2D
from tests.conftest import randomize
from tests.export.conftest import build, expected, pictures

SHAPES = [(1, 1, 1), (3, 1, 17), (2, 33, 50), (1, 64, 48)]


def run(path, images):
    session = onnxruntime.InferenceSession(path)
    return session.run(["deblurred"], {"images": images})[0]


def operators(path):
    """Returns versions by domain, and the kinds of all nodes."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [x.name for x in model.graph.input] == ["images"]
    assert [x.name for x in model.graph.output] == ["deblurred"]
    names = [node.op_type for node in model.graph.node]
    return {o.domain: o.version for o in model.opset_import}, names


@pytest.mark.slow
@pytest.mark.parametrize(("deform_conv", "opset"), [(False, 18), (True, 22)])
def test_equals_the_model(deform_conv, opset, network, blurred, tmp_path):
    path = tmp_path / "radn.onnx"
    exported = export.onnx(network, path, deform_conv=deform_conv)
    assert exported.path == path
    assert 0 < exported.max_difference < 1e-4
    assert list(tmp_path.iterdir()) == [path]
    opsets, names = operators(path)
    assert opsets == {"": opset}
    assert names.count("DeformConv") == (3 if deform_conv else 0)
    for shape in SHAPES:
        images = pictures(blurred, *shape)
        np.testing.assert_allclose(
            run(path, images), expected(network, images), atol=1e-4
        )


def general_network():
    """Builds deformable convolutions with all of their options."""
    images = keras.Input([None, None, 3])
    x = images
    for options in (
        {"modulated": True, "groups": 3, "offset_groups": 3},
        {"padding": "valid", "kernel_size": (3, 2), "strides": (1, 2)},
        {"dilation_rate": 2, "offset_groups": 3, "modulated": True},
    ):
        x = DeformableConv2D(3, **options)(x)
    model = keras.Model(images, x)
    randomize(model, 0.2)
    return model


@pytest.mark.slow
def test_general_deformable_convolutions(blurred, tmp_path):
    model, path = general_network(), tmp_path / "general.onnx"
    export.onnx(model, path, deform_conv=True)
    for shape in ((1, 20, 31), (2, 9, 8)):
        images = pictures(blurred, *shape)
        reference = expected(model, images)
        assert np.mean((reference > 0) & (reference < 1)) > 0.05
        np.testing.assert_allclose(run(path, images), reference, atol=1e-4)


@pytest.mark.slow
def test_half_precision_and_the_baseline(blurred, tmp_path):
    half = build(dtype="mixed_bfloat16")
    baseline = keras_radn.ResidualBaseline(
        deformable_layers=3, attention=True, filters=(4, 8, 16), blocks=1
    )
    randomize(baseline, 0.03)
    images = pictures(blurred, 2, 33, 50)
    for model, tolerance in ((half, 5e-3), (baseline, 1e-4)):
        path = tmp_path / f"{model.name}.onnx"
        export.onnx(model, path)
        np.testing.assert_allclose(
            run(path, images), expected(model, images), atol=tolerance
        )


@pytest.mark.slow
def test_a_wrong_export_leaves_the_file(network, tmp_path, monkeypatch):
    path = tmp_path / "radn.onnx"
    path.write_text("old")
    monkeypatch.setattr(to_onnx, "_TOLERANCE", 0)
    with pytest.raises(ValueError, match=r"radn\.onnx: differs .*; at most 0 "):
        export.onnx(network, path, deform_conv=True, force=True)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_what_deform_conv_cannot_do(tmp_path):
    images = keras.Input([None, None, 3])
    model = keras.Model(images, DeformableConv2D(3, strides=2)(images))
    with pytest.raises(ValueError, match="deform_conv=False"):
        export.onnx(model, tmp_path / "a.onnx", deform_conv=True)
    assert list(tmp_path.iterdir()) == []


def test_missing_packages(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"keras-radn\[onnx\]"):
        export.onnx(network, tmp_path / "a.onnx")
