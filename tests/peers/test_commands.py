"""The package's commands and functions with networks of others."""

import numpy as np
import pytest
from PIL import Image

from keras_radn import export, peers
from keras_radn.cli.main import main
from keras_radn.inference import benchmark
from keras_radn.models.cost import count_macs
from keras_radn.training import TrainingConfig, train
from tests.conftest import randomize
from tests.peers.test_networks import NARROW


@pytest.fixture
def narrow_dmphn(monkeypatch):
    """Makes DMPHN(1-2-4-8) a narrow network of one level."""
    config = {"levels": 1, "width": 2}
    presets = {"dmphn_1_2_4_8": {"config": config}}
    monkeypatch.setattr(peers.DMPHN, "presets", presets)


@pytest.mark.slow
def test_deblur_and_evaluate(pairs_folder, tmp_path, capsys):
    model = peers.DMPHN(2, width=2)
    randomize(model, 0.05)
    model.save(tmp_path / "model.keras")
    blurred = pairs_folder / "blur" / "0.png"
    options = ["--model", str(tmp_path / "model.keras")]
    target = tmp_path / "sharp.png"
    assert main(["deblur", str(blurred), "-o", str(target), *options]) == 0
    with Image.open(blurred) as image:
        pixels = np.asarray(image, "float32")[np.newaxis] / 255
    expected = np.rint(255 * np.clip(model(pixels)[0], 0, 1))
    with Image.open(target) as image:
        np.testing.assert_allclose(np.asarray(image), expected, atol=1)
    assert main(["evaluate", str(pairs_folder), *options]) == 0
    assert "| mean |" in capsys.readouterr().out


# The others are tested nightly.
ONE_OF_ALL = [
    "dmphn",
    *(
        pytest.param(n, marks=pytest.mark.nightly)
        for n in NARROW
        if n != "dmphn"
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_OF_ALL)
def test_saved_model(name, tmp_path):
    """The export is compared with the network before it is kept."""
    model = NARROW[name]()
    randomize(model, 0.05)
    exported = export.saved_model(model, tmp_path / "model", warmup=False)
    assert exported.max_difference < 1e-4


@pytest.mark.slow
def test_litert_of_any_size(tmp_path):
    model = NARROW["srn"]()
    randomize(model, 0.05)
    assert export.litert(model, tmp_path / "srn.tflite").psnr >= 60


@pytest.mark.slow
def test_what_litert_cannot_run_is_a_sentence(tmp_path):
    path = tmp_path / "dmphn.tflite"
    message = "no operation .* any size; give a size. Received: Transpose"
    with pytest.raises(ValueError, match=message):
        export.litert(NARROW["dmphn"](), path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_train(narrow_dmphn, pairs_folder, tmp_path):
    """The trained weights can be loaded again."""
    config = TrainingConfig(
        preset="dmphn_1_2_4_8",
        pairs=str(pairs_folder),
        patch_size=16,
        batch_size=2,
        steps=2,
        steps_per_epoch=1,
        decay_steps=0,
    )
    model = train(config, tmp_path / "run")
    assert type(model) is peers.DMPHN
    again = peers.DMPHN(1, width=2, pretrained=tmp_path / "run" / "weights.npz")
    images = np.full((1, 8, 8, 3), 0.5, "float32")
    np.testing.assert_allclose(again(images), model(images), atol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_benchmark(narrow_dmphn):
    measured = benchmark.measure_here(
        "dmphn_1_2_4_8", 64, 48, repetitions=1, warm_ups=0
    )
    model = peers.DMPHN(1, width=2)
    assert measured.parameters == model.count_params()
    assert measured.gmacs * 1e9 == count_macs(model, 48, 64)
    assert measured.seconds > 0
