import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from keras_radn.cli.main import main
from keras_radn.training import TrainingConfig, ablate, compare
from keras_radn.training import ablation as ablation_module


@pytest.mark.slow
def test_table_and_curves(pairs_folder, tmp_path, capsys, monkeypatch):
    """Two tiny rows of Table 2; a second call trains nothing again."""
    monkeypatch.setitem(
        ablation_module.TABLES, 2, {"residual_0": 29.8, "residual_6": 31.05}
    )
    config = tmp_path / "tiny.toml"
    config.write_text(
        f"""
        pairs = "{pairs_folder.name}"
        validation = "{pairs_folder.name}"
        validation_images = 1
        patch_size = 16
        batch_size = 2
        steps = 2
        steps_per_epoch = 1
        [model]
        filters = [4, 4, 4]
        blocks = 1
        """
    )
    output = tmp_path / "out"
    command = ["ablate", "--table", "2", "--config", config, "-o", output]
    for _ in range(2):
        assert main([str(word) for word in command]) == 0
        lines = capsys.readouterr().out.splitlines()
        table = [line for line in lines if line.startswith("|")]
        assert len(table) == 4
        assert table[2].startswith("| residual_0 | ")
        assert table[3].startswith("| residual_6 | ")
        assert table[3].endswith(" | 1 | 31.05 |")
        assert (output / "table.md").read_text().splitlines() == table
    assert not any(line.startswith("step ") for line in lines)

    rows = json.loads((output / "table.json").read_text())
    assert [row["row"] for row in rows] == ["residual_0", "residual_6"]
    assert rows[0]["parameters"] < rows[1]["parameters"]
    for row in rows:
        log = np.genfromtxt(
            output / row["row"] / "log.csv", delimiter=",", names=True
        )
        assert row["psnr"] == log["val_psnr"][-1]
        assert row["loss"] == log["loss"][-1]
    with Image.open(output / "curves.png") as picture:
        assert min(picture.size) > 300


def test_rows_without_a_validation_are_not_trained(pairs_folder, tmp_path):
    config = TrainingConfig(
        pairs=str(pairs_folder),
        validation=str(pairs_folder),
        steps=4,
        steps_per_epoch=2,
        validation_epochs=3,
    )
    with pytest.raises(ValueError, match="validation_epochs=3 for 2 epochs"):
        compare(config, {"one": {}}, tmp_path)


def test_a_random_encoder_has_no_radn2(monkeypatch, tmp_path):
    trained = {}

    def record(config, rows, output):
        trained.update(rows)
        return [{"row": name} for name in rows]

    monkeypatch.setattr(ablation_module, "compare", record)
    config = TrainingConfig(gopro="gopro", encoder_weights="random")
    rows = ablate(config, 1, tmp_path)
    assert list(trained) == ["radn1", "radn3", "radn4", "radn_final"]
    assert rows[-1] == {"row": "radn_final", "paper_psnr": 31.76}
    trained.clear()
    ablate(TrainingConfig(gopro="gopro"), 1, tmp_path)
    assert "radn2" in trained


def test_radn1_starts_at_random(monkeypatch, tmp_path):
    """The encoder weights of the other rows do not matter."""
    trained = {}

    def record(config, rows, output):
        for name, changes in rows.items():
            trained[name] = dataclasses.replace(config, **changes)
        return []

    monkeypatch.setattr(ablation_module, "compare", record)
    config = TrainingConfig(gopro="gopro", encoder_weights="densenet.h5")
    ablate(config, 1, tmp_path)
    weights = {name: row.encoder_weights for name, row in trained.items()}
    assert weights.pop("radn1") == "random"
    assert set(weights.values()) == {"densenet.h5"}


def test_bad_arguments(tmp_path):
    config = TrainingConfig(stills="stills")
    with pytest.raises(ValueError, match="must be 1 or 2"):
        ablate(config, 3, tmp_path)
    with pytest.raises(ValueError, match="Received neither"):
        compare(config, {"a": {}}, tmp_path)


def test_competitors_are_trained_with_the_rows(monkeypatch, tmp_path):
    """They share the budget, but not what is for a RADN only."""
    asked = {}

    def record(config, rows, output):
        asked.update(rows)
        return [{"row": row} for row in rows]

    monkeypatch.setattr(ablation_module, "compare", record)
    config = TrainingConfig(stills="a", start="lite", model={"deform_units": 2})
    rows = ablate(config, 1, tmp_path, peers=True)
    assert len(rows) == 11
    assert rows[0] == {"row": "radn1", "paper_psnr": 30.77}
    assert rows[-1] == {"row": "stack4_dmphn", "paper_psnr": 31.2}
    changed = dataclasses.replace(config, **asked["stack4_dmphn"])
    assert (changed.model, changed.start) == ({}, None)
    assert len(ablate(config, 1, tmp_path)) == 5
    with pytest.raises(ValueError, match="rows of Table 1"):
        ablate(config, 2, tmp_path, peers=True)
