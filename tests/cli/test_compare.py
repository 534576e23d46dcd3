import json

import pytest
from PIL import Image

from keras_radn.cli import compare
from keras_radn.cli.main import main
from keras_radn.cli.tables import text_table
from keras_radn.inference import benchmark
from keras_radn.models.packaged_weights import write_weights
from keras_radn.peers import MSCNN, PRESETS


@pytest.fixture
def measured(monkeypatch):
    """Replaces the measurement by the paper's seconds."""
    calls = []
    seconds = {"radn_final": 0.5, "stack4_dmphn": 9.0, "mscnn": 60.0}

    def measure(preset, width, height, dtype, repetitions, warm_ups):
        calls.append((preset, width, height, dtype, repetitions, warm_ups))
        return benchmark.Measurement(
            preset=preset,
            width=width,
            height=height,
            dtype=dtype,
            device="a CPU",
            parameters=1000,
            gmacs=2.0,
            tiles=1,
            seconds=seconds[preset],
            calibration=0.25,
            convolutions=None,
            peak_megabytes=None,
        )

    monkeypatch.setattr(benchmark, "measure", measure)
    return calls


@pytest.fixture
def narrow_mscnn(monkeypatch, tmp_path):
    """Makes MSCNN a narrow network, and writes weights for it."""
    config = {"width": 2, "blocks": 0}
    monkeypatch.setattr(MSCNN, "presets", {"mscnn": {"config": config}})
    write_weights(MSCNN(**config), tmp_path / "mscnn.npz")
    return tmp_path / "mscnn.npz"


def run(*words):
    return main(["compare", *map(str, words)])


def test_columns_are_not_mixed(measured, tmp_path, capsys):
    path = tmp_path / "table.json"
    names = ["radn_final", "stack4_dmphn"]
    assert run("--network", *names, "--size", "64x48", "--json", path) == 0
    assert measured == [(n, 64, 48, "float32", 1, 0) for n in names]
    rows = {row["name"]: row for row in json.loads(path.read_text())}
    stack = rows["stack4_dmphn"]
    assert (stack["seconds"], stack["paper_seconds"]) == (9.0, 0.7)
    assert stack["ratio"] == 36
    assert stack["to_reference"] == 18
    assert stack["paper_psnr"] == stack["authors_psnr"] == 31.2
    assert "psnr" not in stack
    # The classical methods were not measured.
    assert rows["Whyte et al. 2012"] == {
        "name": "Whyte et al. 2012",
        "paper_psnr": 24.6,
        "paper_ssim": 0.8458,
        "paper_seconds": 700.0,
    }
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["network", "parameters", "GMAC"]
    assert [line.split()[0] for line in lines[1:3]] == names
    assert len(lines) == 1 + 2 + 3


def test_all_competitors_are_rows(measured, monkeypatch):
    names = compare._RADN_ROWS + tuple(PRESETS)
    monkeypatch.setattr(
        compare, "_measured", lambda name, _: {"name": name, "seconds": 1.0}
    )
    rows = []
    monkeypatch.setattr(compare, "_relate", rows.extend)
    assert run() == 0
    assert tuple(row["name"] for row in rows) == names


@pytest.mark.slow
def test_accuracy_and_plot(
    measured, narrow_mscnn, pairs_folder, tmp_path, capsys
):
    path, plot = tmp_path / "table.json", tmp_path / "plot.png"
    status = run(
        *("--network", "mscnn", "stack4_dmphn"),
        *("--pairs", pairs_folder, "--weights", f"mscnn={narrow_mscnn}"),
        *("--classical", "--json", path, "--plot", plot),
        *("--format", "markdown"),
    )
    assert status == 0
    rows = {row["name"]: row for row in json.loads(path.read_text())}
    assert rows["mscnn"]["psnr"] > 0
    assert rows["mscnn"]["paper_psnr"] == 29.23
    assert "psnr" not in rows["stack4_dmphn"]
    assert rows["Wiener"]["psnr"] > 0
    assert "to_reference" not in rows["mscnn"]
    with Image.open(plot) as picture:
        assert min(picture.size) > 300
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| network | parameters |")
    assert all(line.count("|") == lines[0].count("|") for line in lines)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--classical"], 2, "go with --pairs"),
        (["--weights", "mscnn=FILE"], 2, "go with --pairs"),
        (["--network", "srn", "--weights", "mscnn=FILE"], 2, "not a row"),
        (["--weights", "mscnn=none.npz"], 1, "no weights file"),
        (["--plot", "none/plot.png"], 1, "no such folder"),
    ],
)
def test_refused_before_anything_is_measured(
    words, status, message, measured, tmp_path, capsys
):
    (tmp_path / "weights.npz").touch()
    words = [w.replace("FILE", str(tmp_path / "weights.npz")) for w in words]
    assert run(*words) == status
    assert message in capsys.readouterr().err
    assert not measured


@pytest.mark.slow
def test_weights_of_another_network(
    measured, narrow_mscnn, pairs_folder, tmp_path, capsys
):
    """The mistake is found before anything is measured."""
    model = tmp_path / "model.keras"
    MSCNN(3, blocks=0).save(model)
    words = ["--network", "mscnn", "--pairs", pairs_folder, "--weights"]
    assert run(*words, f"mscnn={model}") == 1
    assert "not the network of the row mscnn" in capsys.readouterr().err
    assert not measured
    MSCNN(2, blocks=0).save(model)
    assert run(*words, f"mscnn={model}") == 0


def test_weights_are_named(capsys):
    with pytest.raises(SystemExit):
        run("--weights", "weights.npz")
    assert "NAME=FILE" in capsys.readouterr().err


def test_text_table():
    rows = [{"name": "a", "value": 2.0}, {"name": "long", "value": 10.0}]
    text = text_table(rows, {"name": ("name", ""), "value": ("n", ".1f")})
    assert text.splitlines() == ["name     n", "a      2.0", "long  10.0"]
