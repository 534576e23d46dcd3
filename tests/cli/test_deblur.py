"""`keras-radn deblur` with pictures."""

import io
import json
import os
import shutil
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_radn import RADN
from keras_radn.cli.main import main
from keras_radn.datasets.image_files import read_rgb
from tests.cli.command import pixels, run


@pytest.mark.slow
def test_one_file(picture, identity_file, tmp_path, capsys):
    target = tmp_path / "sharp.png"
    status, out, err = run(
        capsys, "deblur", picture, "-o", target, "--model", identity_file
    )
    assert (status, out, err) == (0, [str(target)], [])
    np.testing.assert_array_equal(pixels(target), pixels(picture))


@pytest.mark.slow
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
        (
            ["--tile", "100", "--overlap", "64"],
            "--overlap must be at most a third of --tile",
        ),
        (["--workers", "2"], "--workers is for work with --ray"),
        (["--manifest", "a"], "--manifest is for work with --ray"),
        (["--ray", "--compare"], "--compare is not available with --ray"),
    ],
)
def test_options_that_do_not_go_together(options, message, capsys):
    status, out, err = run(capsys, "deblur", "a.png", "-o", "out/", *options)
    assert (status, out, len(err)) == (2, [], 1)
    assert message in err[0]


@pytest.mark.slow
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
        (["{tmp}/none.png", "-o", "{tmp}/a.png"], "there is no such file"),
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
