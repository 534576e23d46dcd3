import csv

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import stats

from keras_radn import RADN, visualize
from keras_radn.cli.main import main
from tests.conftest import TINY_RADN, randomize


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    model = RADN(**TINY_RADN)
    randomize(model)
    path = tmp_path_factory.mktemp("model") / "random.keras"
    model.save(path)
    return path


@pytest.fixture
def photos(tmp_path, photo):
    """A folder with a color picture, a gray one in a subfolder, and a text."""
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    Image.fromarray(photo[50:90, 200:260]).save(root / "color.png")
    gray = photo[:50, 100:130, 1].astype("uint16") * 257
    Image.fromarray(gray).save(root / "more" / "gray.png")
    (root / "text.jpg").write_text("no picture")
    return root


def run(capsys, *arguments):
    """Returns the exit status and the lines of stdout and stderr."""
    status = main(["visualize", *(str(a) for a in arguments)])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err.splitlines()


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def files_in(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*.*")}


@pytest.mark.slow
def test_pictures(photos, model_file, tmp_path, capsys):
    output = tmp_path / "out" / "looks"
    status, out, err = run(
        capsys,
        photos,
        *("-o", output, "--model", model_file),
        *("--point", "1,2", "--point", "28.5,33"),
    )
    kinds = ("sampling", "attention", "maps")
    expected = [
        f"{name}.{kind}.png"
        for name in ("color.png", "more/gray.png")
        for kind in kinds
    ]
    assert out == [str(output / name) for name in expected]
    assert files_in(output) == set(expected)  # and nothing half written
    for name in expected:
        with Image.open(output / name) as picture:
            picture.load()
            assert min(picture.size) > 200
    assert status == 1
    assert len(err) == 2
    assert "text.jpg" in err[0]
    assert "1 of 3 files failed" in err[1]


@pytest.mark.slow
def test_table(photos, model_file, tmp_path, capsys):
    output = tmp_path / "looks"
    status, out, err = run(
        capsys, photos, "-o", output, "--model", model_file, "--table"
    )
    assert (status, len(err)) == (1, 2)
    assert files_in(output) == {
        "offset_magnitudes.csv",
        "offset_magnitudes.png",
    }
    rows = rows_of(output / "offset_magnitudes.csv")
    assert {row["image"] for row in rows} == {"color.png", "more/gray.png"}
    values = [float(row["pixels"]) for row in rows]
    assert values[0] > values[1] > 0
    assert f"| {rows[0]['image']} | {values[0]:.3f} |" in out


@pytest.mark.slow
def test_blur_lengths(photos, model_file, tmp_path, capsys):
    output = tmp_path / "looks"
    (photos / "text.jpg").unlink()
    status, out, err = run(
        capsys,
        photos,
        *("-o", output, "--model", model_file, "--blur-lengths", "0,6,12"),
    )
    assert (status, err) == (0, [])
    rows = rows_of(output / "blur_strength.csv")
    lengths = ["0.0", "6.0", "12.0"]
    values = np.array([[float(row[x]) for x in lengths] for row in rows])
    assert values.std(axis=1).min() > 0  # the blur is seen
    for row, magnitudes in zip(rows, values, strict=True):
        expected = stats.spearmanr([0, 6, 12], magnitudes).statistic
        assert float(row["rho"]) == pytest.approx(expected)
    expected = stats.spearmanr([0, 6, 12] * 2, values.ravel()).statistic
    assert f"together: {expected:.3f}" in "\n".join(out)
    assert (output / "blur_strength.png").is_file()


@pytest.mark.slow
def test_several_pages(tmp_path, model_file, capsys):
    """The advice does not name another command."""
    source = tmp_path / "a.tif"
    with Image.new("RGB", (20, 20)) as image:
        image.save(source, save_all=True, append_images=[image])
    status, out, err = run(
        capsys, source, "-o", tmp_path / "looks", "--model", model_file
    )
    assert (status, out, len(err)) == (1, [], 1)
    assert "several pages; give one of them as a file of its own" in err[0]
    assert "deblur" not in err[0].replace(str(source), "")


@pytest.mark.slow
def test_variant_without(photos, tmp_path, capsys):
    path = tmp_path / "plain.keras"
    RADN(**TINY_RADN, decoder_block="dense", attention=False).save(path)
    output = tmp_path / "looks"
    status, out, err = run(
        capsys, photos / "color.png", "-o", output, "--model", path
    )
    assert (status, out) == (1, [])
    [message] = err
    assert "neither deformable convolutions nor self-attention" in message
    assert files_in(output) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--point", "900,0", "60x40"),
        ("--max-megapixels", "0.001", "megapixels"),
    ],
)
def test_bad_values(photos, model_file, tmp_path, capsys, option, value, word):
    output = tmp_path / "looks"
    picture = photos / "color.png"
    status, out, err = run(
        capsys, picture, "-o", output, "--model", model_file, option, value
    )
    assert (status, out) == (1, [])
    [message] = err
    assert str(picture) in message
    assert word in message
    assert files_in(output) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--point", "3"),
        ("--point", "a,b"),
        ("--point", "nan,0"),
        ("--point=-1,0",),
        ("--unit", "0"),
        ("--blur-lengths", "4"),
        ("--blur-lengths", "4,-1"),
        ("--blur-lengths", "nan,4"),
        ("--table", "--blur-lengths", "0,4"),
    ],
)
def test_wrong_command_lines(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(["visualize", "a.png", "-o", str(tmp_path), *arguments])
    assert stop.value.code == 2
    assert arguments[0].split("=")[0] in capsys.readouterr().err


def test_output_that_cannot_be_made(photos, tmp_path, capsys):
    (tmp_path / "file").touch()
    status, _, err = run(capsys, photos, "-o", tmp_path / "file" / "looks")
    assert status == 1
    assert "cannot be made" in err[0]


@pytest.mark.slow
def test_too_little_memory(photos, model_file, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(visualize, "Inspection", fail)
    picture = photos / "color.png"
    status, _, err = run(capsys, picture, "-o", tmp_path, "--model", model_file)
    assert status == 1
    [message] = err
    assert str(picture) in message
    assert "not enough memory" in message
