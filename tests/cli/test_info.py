"""`keras-radn info` and `keras-radn models`."""

import json

import pytest

from keras_radn import RADN
from keras_radn.cli import models as models_command
from tests.cli.command import run
from tests.conftest import TINY_RADN


def test_info_for_programs(capsys):
    status, out, _ = run(capsys, "info", "--json")
    assert status == 0
    assert {"keras-radn", "Python", "GPU"} < json.loads("".join(out)).keys()


def test_info(capsys):
    status, out, _ = run(capsys, "info")
    assert status == 0
    rows = dict(line.split(":", 1) for line in out)
    assert rows["deformable op"].startswith(" native; compiled for CPU")
    assert "CPU 0" in rows["devices"]
    assert rows["Keras"].endswith("on tensorflow")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_models(capsys, monkeypatch):
    build = lambda: RADN(**TINY_RADN)  # noqa: E731
    rows = [("tiny", build, "a tiny one"), ("lite", build, "released")]
    monkeypatch.setattr(models_command, "variants", lambda: rows)
    status, out, _ = run(capsys, "models", "--size", 64)
    assert status == 0
    assert "GMAC at 64x64" in out[0]
    assert out[2].startswith(f"| tiny | {build().count_params():,} | 0.0")
    assert out[2].endswith("| none | a tiny one |")
    psnr = RADN.presets["lite"]["weights"]["psnr"]
    gopro, kodak = psnr["GoPro"], psnr["Kodak"]
    assert f"| GoPro {gopro:.2f}, Kodak {kodak:.2f} |" in out[3]
