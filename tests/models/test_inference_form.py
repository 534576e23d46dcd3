import numpy as np
import pytest

import keras_radn
from keras_radn import RADN, ResidualBaseline, inference_model
from keras_radn.models.inference_graph import fast_dtype
from keras_radn.ops import tracing

VARIANTS = [
    {},
    {"decoder_block": "dense"},
    {"decoder_block": "bottleneck", "attention": False},
    {"stem_pool": True},
    {"attention_pool": 2},
    {"attention_pool": 2, "attention_window": 4},
    # Fewer channels than filters: the deformable convolution samples first.
    {"deform_growth_rate": 40, "deform_units": 1},
]


def with_statistics(model, rng):
    """Gives batch norms positive, negative and zero scales."""
    for variable in model.variables:
        shape = variable.shape
        if variable.path.endswith("gamma"):
            scales = rng.choice([-1, 0, 1], shape, p=[0.2, 0.1, 0.7])
            variable.assign(scales * rng.uniform(0.5, 1, shape))
        elif variable.path.endswith("moving_mean"):
            variable.assign(rng.normal(0, 0.3, shape))
        elif variable.path.endswith("moving_variance"):
            variable.assign(rng.uniform(0.5, 2, shape))
    return model


def psnr(a, b):
    return -10 * np.log10(np.mean((np.asarray(a, "float64") - b) ** 2))


def assert_same(network, model, images):
    expected = model(images, training=False).numpy()
    outputs = network(images)
    assert outputs.shape == images.shape
    assert outputs.dtype == "float32"
    residual = np.abs(expected - images).max()
    assert residual > 0.01
    np.testing.assert_allclose(outputs, expected, atol=1e-4 * residual, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
@pytest.mark.parametrize("implementation", ["native", "gather"])
def test_equals_the_model(tiny_radn, rng, arguments, implementation):
    model = with_statistics(tiny_radn(**arguments), rng)
    with tracing.options(implementation=implementation):
        network = inference_model(model)
    images = rng.random((2, 50, 67, 3), "float32")
    assert_same(network, model, images)


@pytest.mark.slow
def test_any_size_and_batch(tiny_radn, rng):
    model = with_statistics(tiny_radn(), rng)
    network = inference_model(model)
    for shape in ((1, 1, 1, 3), (1, 16, 1, 3), (3, 32, 48, 3)):
        assert_same(network, model, rng.random(shape, "float32"))


def test_bfloat16_stays_near(tiny_radn, rng):
    model = tiny_radn()
    images = rng.random((1, 64, 64, 3), "float32")
    outputs = inference_model(model, "bfloat16")(images)
    assert outputs.dtype == "float32"
    expected = model(images).numpy()
    # Relative to the residual, which random weights make larger than the image.
    assert psnr(outputs, expected) - psnr(images, expected) > 23


@pytest.mark.slow
def test_dtype_of_the_model_unless_said(tiny_radn):
    assert inference_model(tiny_radn()).dtype == "float32"
    model = tiny_radn(dtype="mixed_bfloat16")
    assert inference_model(model).dtype == "bfloat16"
    assert inference_model(model, "float32").dtype == "float32"
    assert inference_model(model, "auto").dtype == fast_dtype()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512f avx512_bf16", "bfloat16"),
        ("fpu avx512f amx_bf16", "bfloat16"),
        ("fpu avx2 fma", "float32"),
        (None, "float32"),
    ],
)
def test_fast_dtype(monkeypatch, tmp_path, flags, expected):
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr("keras_radn.models.inference_graph.CPUINFO", path)
    assert fast_dtype() == expected


@pytest.mark.slow
def test_refuses(tiny_radn):
    with pytest.raises(ValueError, match="float16"):
        inference_model(tiny_radn(), "float16")
    with pytest.raises(ValueError, match="ResidualBaseline"):
        inference_model(ResidualBaseline(filters=(8, 8, 8), blocks=1))
    with pytest.raises(ValueError, match=r"presets .*\blite only.*'radn1'"):
        inference_model("radn1")
    network = inference_model(tiny_radn())
    with pytest.raises(ValueError, match=r"\(batch, height, width, 3\)"):
        network(np.zeros((4, 4, 3), "float32"))


def test_graph_of_known_size_has_no_loops(tiny_radn):
    graph = inference_model(tiny_radn()).graph(64, 48)
    kinds = {op.type for op in graph.get_operations()}
    assert "Conv2D" in kinds
    assert "KerasRadn>DenseBlock" not in kinds
    assert not any("While" in kind for kind in kinds)


@pytest.mark.slow
def test_packaged_network_on_a_photograph(photo):
    """It equals the Keras model, and bfloat16 looks the same."""
    images = photo[np.newaxis, :, :400] / np.float32(255)
    expected = RADN(pretrained=True).predict_on_batch(images)
    outputs = inference_model("lite")(images)
    np.testing.assert_allclose(
        outputs, expected, atol=1e-4 * np.abs(expected).max()
    )
    half = inference_model("lite", "bfloat16")(images)
    assert psnr(half, expected) > 60
    np.testing.assert_allclose(
        keras_radn.Deblurrer("lite", dtype="float32")(images[0]),
        np.clip(outputs[0], 0, 1),
        atol=1e-6,
    )
