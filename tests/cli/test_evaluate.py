"""`keras-radn evaluate`."""

import csv
import json
import re

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from tests.cli.command import pixels, run


@pytest.mark.slow
def test_evaluate(pairs_folder, identity_file, capsys, tmp_path):
    json_file, csv_file = tmp_path / "a.json", tmp_path / "a.csv"
    status, out, err = run(
        capsys,
        *("evaluate", pairs_folder, "--model", identity_file),
        *("--json", json_file, "--csv", csv_file),
    )
    assert status == 0
    [measured] = err
    assert re.fullmatch(
        "keras-radn: measured: the inference form of .* in (float32|bfloat16)",
        measured,
    )
    assert [line.split()[1] for line in out[2:]] == ["0.png", "1.png", "mean"]
    assert " +0.00 " in out[-1]
    rows = json.loads(json_file.read_text())
    with csv_file.open(newline="") as lines:
        table = list(csv.DictReader(lines))
    assert [row["name"] for row in rows] == ["0.png", "1.png", "mean"]
    for row, other in zip(rows, table, strict=True):
        assert row.keys() == other.keys()
        assert row["deblurred_ssim"] == float(other["deblurred_ssim"])
        assert row["seconds"] > 0
    mean = np.mean([row["blurred_psnr"] for row in rows[:2]])
    assert rows[2]["blurred_psnr"] == pytest.approx(mean)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_evaluate_measures_what_deblur_writes(
    dtype, pairs_folder, tiny_radn, tmp_path, capsys
):
    model, report = tmp_path / "tiny.keras", tmp_path / "a.json"
    tiny_radn().save(model)
    options = ["--model", model, "--dtype", dtype]
    output = tmp_path / "out"
    assert (
        run(capsys, "deblur", pairs_folder / "blur", "-o", output, *options)[0]
        == run(capsys, "evaluate", pairs_folder, "--json", report, *options)[0]
        == 0
    )
    *rows, _ = json.loads(report.read_text())
    for row in rows:
        sharp = pixels(pairs_folder / "sharp" / row["name"])
        expected = peak_signal_noise_ratio(sharp, pixels(output / row["name"]))
        assert row["deblurred_psnr"] == pytest.approx(expected, abs=1e-9)


def test_evaluate_before_the_work(pairs_folder, tmp_path, capsys):
    status, _, err = run(
        capsys, "evaluate", pairs_folder, "--json", tmp_path / "no" / "a.json"
    )
    assert (status, len(err)) == (1, 1)
    assert "no such folder" in err[0]


def test_errors_of_the_library_name_options(pairs_folder, capsys):
    status, _, err = run(capsys, "evaluate", pairs_folder, "--blur", "none")
    assert status == 1
    assert "--blur must be one of ['blur', " in err[0]
