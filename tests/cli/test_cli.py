import csv
import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from keras_radn import RADN
from keras_radn.cli import models as models_command
from keras_radn.cli import network_options
from keras_radn.cli.main import command_parser, main
from keras_radn.datasets.image_files import read_rgb
from tests.conftest import TINY_RADN


@pytest.fixture(scope="module")
def identity_file(tmp_path_factory):
    """A network that returns its input, as a file."""
    path = tmp_path_factory.mktemp("model") / "identity.keras"
    RADN(**TINY_RADN).save(path)
    return path


@pytest.fixture
def identity(monkeypatch):
    """The same at once, in place of the packaged network."""
    monkeypatch.setattr(network_options, "chosen_model", lambda _: lambda x: x)


@pytest.fixture
def picture(tmp_path, photo):
    path = tmp_path / "photo.png"
    Image.fromarray(photo[:30, 100:140]).save(path)
    return path


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def run(capsys, *arguments):
    """Exit status, lines of stdout, lines of stderr."""
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err.splitlines()


def test_one_file(picture, identity_file, tmp_path, capsys):
    target = tmp_path / "sharp.png"
    status, out, err = run(
        capsys, "deblur", picture, "-o", target, "--model", identity_file
    )
    assert (status, out, err) == (0, [str(target)], [])
    np.testing.assert_array_equal(pixels(target), pixels(picture))


def test_batch_goes_on_after_bad_files(
    picture, identity_file, tmp_path, capsys
):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(picture, folder / "good.png")
    Image.fromarray(pixels(picture)).save(folder / "truncated.jpg")
    whole = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("not a picture")
    (folder / "folder.png").mkdir()
    Image.new("F", (4, 4), float("nan")).save(folder / "nan.tif")
    shutil.copy(picture, folder / "unknown.suffix")
    shutil.copy(picture, folder / "last.png")
    names = [
        "good.png",
        "truncated.jpg",
        "empty.png",
        "text.png",
        "missing.png",
        "folder.png",
        "nan.tif",
        "unknown.suffix",
        "last.png",
    ]
    output = tmp_path / "out"
    status, out, err = run(
        capsys,
        "deblur",
        *(folder / name for name in names),
        "-o",
        output,
        "--model",
        identity_file,
    )
    assert status == 1
    assert out == [str(output / "good.png"), str(output / "last.png")]
    assert {p.name for p in output.iterdir()} == {"good.png", "last.png"}
    # One sentence each, that names the file.
    *sentences, summary = err
    for name, sentence in zip(names[1:-1], sentences, strict=True):
        assert sentence.startswith("keras-radn: error: ")
        assert name in sentence
    assert summary == "keras-radn: 7 of 9 files failed"


def test_dry_run_and_existing_files(picture, identity, tmp_path, capsys):
    folder, output = picture.parent, tmp_path / "out"
    shutil.copy(picture, folder / "second.png")
    command = ["deblur", folder, "-o", output]
    report = tmp_path / "report.json"
    plan = [f"{p} -> {output / p.name}" for p in sorted(folder.glob("*.png"))]
    status, out, err = run(capsys, *command, "--dry-run", "--json", report)
    assert (status, out, err) == (0, plan, [])
    assert not output.exists()
    rows = json.loads(report.read_text())
    assert [row["status"] for row in rows] == ["planned", "planned"]

    output.mkdir()
    (output / "second.png").write_text("precious")
    status, out, err = run(capsys, *command, "--dry-run")
    assert (status, out) == (1, plan[:1])
    assert "exists already; choose another output or use --force." in err[0]
    status, out, err = run(capsys, *command, "--skip-existing")
    assert (status, out) == (0, [str(output / "photo.png")])
    assert err == [f"keras-radn: skipped: {output}/second.png exists already"]
    assert (output / "second.png").read_text() == "precious"
    status, out, err = run(capsys, *command, "--force", "--json", report)
    assert (status, len(out), err) == (0, 2, [])
    rows = json.loads(report.read_text())
    assert [row["status"] for row in rows] == ["done", "done"]
    assert {(row["width"], row["height"]) for row in rows} == {(40, 30)}


def test_notes_and_options(picture, identity, tmp_path, capsys):
    source, target = tmp_path / "cmyk.jpg", tmp_path / "out.jpg"
    with Image.open(picture) as image:
        image.resize((400, 300)).convert("CMYK").save(source)
    options = ["--compare", "--quality", 50, "--tile", 128, "--overlap", 32]
    options += ["--ensemble", "--multi-scale"]
    status, out, err = run(capsys, "deblur", source, "-o", target, *options)
    assert (status, out, len(err)) == (0, [str(target)], 1)
    assert err[0].startswith(f"keras-radn: note: {source}: CMYK")
    assert pixels(target).shape == (300, 400, 3)
    assert pixels(f"{target}.compare.jpg").shape == (300, 808, 3)
    assert target.stat().st_size < source.stat().st_size


@pytest.mark.parametrize(
    "option",
    [
        ["--tile", "0"],
        ["--tile", "big"],
        ["--overlap", "-1"],
        ["--quality", "101"],
        ["--force", "--skip-existing"],
    ],
)
def test_wrong_options_of_deblur(option, picture, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["deblur", str(picture), "-o", "out", *option])
    assert exit_.value.code == 2
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tile", "100", "--overlap", "64"], "a third of `tile`"),
        (["--workers", "2"], "--workers is for work with --ray"),
        (["--manifest", "a"], "--manifest is for work with --ray"),
        (["--ray", "--compare"], "--compare is not available with --ray"),
    ],
)
def test_options_that_do_not_go_together(options, message, capsys):
    status, out, err = run(capsys, "deblur", "a.png", "-o", "out/", *options)
    assert (status, out, len(err)) == (2, [], 1)
    assert message in err[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{picture}", "-o", "/proc/nowhere/out"], "folder cannot be made"),
        (["{picture}", "-o", "{tmp}"], "is one of the inputs"),
        (["{picture}", "-o", "/proc/out.png"], "cannot be written"),
        (["{picture}", "-o", "{picture}/out.png"], "cannot be written"),
        (["{picture}", "-o", "{tmp}/none/out.png"], "cannot be written"),
        (["{picture}", "--force", "-o", "{picture}"], "one of the inputs"),
        (["{picture}", "{tmp}/b", "-o", "{tmp}/a.png"], "give a folder"),
        (["{picture}", "-o", "{tmp}/a.xyz"], "not an image format"),
        (
            ["{picture}", "-o", "{tmp}/a.png", "--max-megapixels", "0.001"],
            "photo.png: has more than 0.001 megapixels",
        ),
        (
            ["{picture}", "-o", "{tmp}/a.png", "--model", "{tmp}/none.keras"],
            "no such model file",
        ),
    ],
)
def test_errors(arguments, message, picture, identity_file, tmp_path, capsys):
    arguments = [a.format(picture=picture, tmp=tmp_path) for a in arguments]
    (tmp_path / "b").mkdir()
    shutil.copy(picture, tmp_path / "b")
    before = picture.read_bytes()
    status, out, err = run(
        capsys, "deblur", "--model", identity_file, *arguments
    )
    assert (status, out, len(err)) == (1, [], 1)
    assert message in err[0]
    assert picture.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("damaged.keras", "damaged or cut short"),
        ("gray.keras", "maps images"),
        ("half.keras", "must answer with images of the size"),
        ("nan.keras", "NaN or infinite"),
    ],
)
def test_networks_that_cannot_be_used(name, message, picture, tmp_path, capsys):
    images = keras.Input((None, None, 3))
    layer = {
        "gray.keras": keras.layers.Conv2D(1, 1),
        "half.keras": keras.layers.MaxPool2D(),
        "nan.keras": keras.layers.Rescaling(np.nan),
    }
    model, target = tmp_path / name, tmp_path / "a.png"
    model.write_text("not a model")
    if name in layer:
        keras.Model(images, layer[name](images)).save(model)
    command = ["deblur", picture, "-o", target, "--model", model]
    status, out, err = run(capsys, *command)
    assert (status, out, len(err)) == (1, [], 1)
    assert message in err[0]
    assert not target.exists()


def test_a_dtype_that_the_network_cannot_have(picture, tmp_path, capsys):
    images = keras.Input((None, None, 3))
    model, target = tmp_path / "other.keras", tmp_path / "a.png"
    keras.Model(images, keras.layers.ReLU()(images)).save(model)
    command = ["deblur", picture, "-o", target, "--model", model, "--dtype"]
    status, _, err = run(capsys, *command, "bfloat16")
    assert (status, len(err)) == (1, 1)
    assert "Only a RADN" in err[0]
    assert run(capsys, *command, "float32")[0] == 0


def commands():
    """The parser of each command, by its name."""
    return command_parser()._subparsers._group_actions[0].choices


def numbers_with_bounds():
    """Each option of each command whose type has bounds."""
    return [
        (name, action.option_strings[0])
        for name, command in commands().items()
        for action in command._actions
        if getattr(action.type, "__name__", "") == "number"
    ]


@pytest.mark.parametrize("value", ["-1", "nan"])
@pytest.mark.parametrize(("command", "option"), numbers_with_bounds())
def test_numbers_out_of_their_bounds(command, option, value, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, f"{option}={value}"])
    assert exit_.value.code == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert f"argument {option}: " in error
    assert value in error


def test_each_number_has_bounds():
    """What is read as a plain number is not checked before the work."""
    for command in commands().values():
        for action in command._actions:
            assert action.choices or action.type not in (int, float)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_is_gone_ends_no_batch(
    stream, picture, identity, tmp_path, monkeypatch
):
    shutil.copy(picture, picture.with_name("second.png"))
    names = "photo.png", "missing.png", "second.png"
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as closed:
        monkeypatch.setattr(sys, stream, closed)
        inputs = [str(tmp_path / name) for name in names]
        status = main(["deblur", *inputs, "-o", str(tmp_path / "out")])
    assert status == 1
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"photo.png", "second.png"}


def test_a_name_that_the_terminal_cannot_show(
    picture, identity, tmp_path, monkeypatch
):
    picture.rename(tmp_path / "日本.png")
    terminal = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stdout", terminal)
    output = tmp_path / "out"
    assert main(["deblur", str(tmp_path / "日本.png"), "-o", str(output)]) == 0
    line = terminal.buffer.getvalue().decode("latin-1")
    assert line == f"{output}/\\u65e5\\u672c.png\n"


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
    assert f"| GoPro {psnr['GoPro']}, Kodak {psnr['Kodak']} |" in out[3]


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


def test_train_says_what_is_missing(tmp_path, capsys):
    for arguments, message in (
        (["--config", tmp_path / "none.toml"], "no configuration file"),
        (["--config", "from_scratch"], "Received none of them"),
        (
            ["--config", "from_scratch", "--stills", tmp_path],
            "There are no images",
        ),
    ):
        status, _, err = run(
            capsys, "train", *arguments, "-o", tmp_path / "run"
        )
        assert (status, len(err)) == (1, 1)
        assert message in err[0]
        assert not (tmp_path / "run").exists()


def test_train_another_variant(tmp_path, capsys, monkeypatch):
    configs = []
    monkeypatch.setattr(
        "keras_radn.training.train",
        lambda config, *_, **__: configs.append(config),
    )
    arguments = ["--config", "from_scratch", "--stills", tmp_path]
    for extra in ([], ["--preset", "compact"]):
        status, *_ = run(capsys, "train", *arguments, *extra, "-o", tmp_path)
        assert status == 0
    assert configs == [
        dataclasses.replace(configs[0], preset=preset)
        for preset in ("lite", "compact")
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sharpen"],
        ["deblur", "a.png"],
        ["evaluate", "a", "--preset", "lite", "--model", "a.keras"],
    ],
)
def test_wrong_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: keras-radn" in capsys.readouterr().err


@pytest.mark.slow
def test_another_preset(picture, tmp_path, capsys):
    target = tmp_path / "sharp.png"
    command = ["deblur", picture, "--preset", "lite", "--dtype", "float32"]
    status, *_ = run(capsys, *command, "-o", target)
    assert status == 0
    model = RADN.from_preset("lite", pretrained=True)
    image = read_rgb(picture)[None] / np.float32(255)
    expected = 255 * np.clip(model(image, training=False)[0], 0, 1)
    np.testing.assert_allclose(read_rgb(target), expected, atol=0.51)


@pytest.mark.slow
def test_installed_command(picture, tmp_path):
    """As typed: the packaged weights, and nothing on stderr."""
    command = Path(sys.executable).with_name("keras-radn")
    target = tmp_path / "sharp.png"
    done = subprocess.run(
        [command, "deblur", picture, "-o", target],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{target}\n", "")
    before, after = pixels(picture), pixels(target)
    assert after.shape == before.shape
    assert not np.array_equal(before, after)

    failed = subprocess.run(
        [command, "deblur", tmp_path / "none.png", "-o", tmp_path / "b.png"],
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "there is no such file" in failed.stderr
