"""The outputs stored in the notebooks, which nbmake executes."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs(path):
    assert path.stat().st_size < 400_000
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [
        *range(1, len(code) + 1)
    ]
    outputs = [output for cell in code for output in cell["outputs"]]
    # Neither warnings nor errors.
    assert [o for o in outputs if o.get("name") == "stderr"] == []
    assert [o for o in outputs if o["output_type"] == "error"] == []
    assert any("image/jpeg" in output.get("data", {}) for output in outputs)


def test_there_are_four():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]
