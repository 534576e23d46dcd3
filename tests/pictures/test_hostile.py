"""Damaged inputs cause no traceback and do not stop the batch."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_radn.cli import network_options
from keras_radn.cli.main import main
from keras_radn.inference import Deblurrer, deblur_files
from keras_radn.inference.batch import run_job
from keras_radn.inference.planning import Job
from tests.pictures.hostile import corpus

# Names that are not refused by the file system.
NAMES = [
    b"caf\xe9 in latin-1.png",
    b"line\nbreak.png",
    b"\x1b[31mred.png",
    b"-o.png",
    b"[red]markup %s {0}.png",
    b"*.png",
    b"two.dots.png",
    "\U0001f4f7 \u202e.png".encode(),
    b"x" * 251 + b".png",
]


@pytest.fixture
def identity(monkeypatch):
    """The command's network returns its input."""
    monkeypatch.setattr(network_options, "chosen_model", lambda _: lambda x: x)


@pytest.fixture
def good(photo):
    def save(path, size=(40, 30)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo[: size[1], : size[0]]).save(path)
        return path

    return save


def run(capfd, *arguments):
    """Returns exit status, stdout and stderr, those of C libraries included."""
    status = main(["deblur", *map(os.fspath, arguments)])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return status, out.splitlines(), err.splitlines()


def size_of(path):
    """Returns the size of a picture that can be decoded."""
    if path.endswith(".tif"):  # Pillow does not know all of them
        return tifffile.imread(path, key=0).shape[1::-1]
    with Image.open(path) as image:
        image.load()
        return image.size


def files_below(folder):
    """Returns all files, including hidden ones, which nobody may leave."""
    return {p for p in folder.rglob("*") if not p.is_dir()}


@pytest.mark.slow
def test_corpus(photo, identity, tmp_path, capfd):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    contents, sizes = {}, {}
    for name, data, size in corpus(photo):
        assert name not in contents
        contents[name] = data
        (folder / name).write_bytes(data)
        if size != "hidden":
            sizes[str(folder / name)] = size
    assert len(sizes) >= 60
    report = tmp_path / "report.json"
    status, out, err = run(capfd, folder, "-o", output, "--json", report)

    rows = {row["source"]: row for row in json.loads(report.read_text())}
    assert rows.keys() == sizes.keys()
    got = {
        Path(source).name: (row["width"], row["height"])
        if row["status"] == "done"
        else None
        for source, row in rows.items()
    }
    assert got == {Path(s).name: size for s, size in sizes.items()}
    assert status == 1
    done = [row for row in rows.values() if row["status"] == "done"]
    assert out == [row["target"] for row in done]
    assert files_below(output) == {Path(line) for line in out}
    for row in done:
        assert size_of(row["target"]) == (row["width"], row["height"])
    # A sentence for each, and nothing that a library wrote by itself.
    failed = [row for row in rows.values() if row["status"] == "failed"]
    errors = [line for line in err if "error:" in line]
    assert len(errors) == len(failed)
    for row, line in zip(failed, errors, strict=True):
        assert row["source"] in line
        assert "unexpected" not in line
    assert all(line.startswith("keras-radn: ") for line in err)
    assert err[-1] == f"keras-radn: {len(failed)} of {len(rows)} files failed"
    for name, data in contents.items():
        assert (folder / name).read_bytes() == data


def test_names(good, identity, tmp_path, capfd):
    folder, output = tmp_path / "in", tmp_path / "out"
    for name in NAMES:
        good(folder / os.fsdecode(name))
    good(folder / ".hidden.png")
    report = tmp_path / "report.json"
    status, out, err = run(capfd, folder, "-o", output, "--json", report)
    assert (status, err) == (0, [])
    assert len(out) == len(NAMES)  # one line each
    assert "\x1b" not in "".join(out)
    assert sorted(map(os.fsencode, os.listdir(output))) == sorted(NAMES)
    targets = [row["target"] for row in json.loads(report.read_text())]
    assert set(map(Path, targets)) == files_below(output)
    # As single arguments, among them a pattern that is also a name.
    for name in (b"caf\xe9 in latin-1.png", b"*.png"):
        source, target = folder / os.fsdecode(name), tmp_path / "single.png"
        assert run(capfd, source, "-o", target, "--force")[0] == 0
        assert len(files_below(tmp_path)) == 2 * len(NAMES) + 3


def test_a_clash_of_names(good, identity, tmp_path, capfd):
    """One file fails, and its message says what to do."""
    folder, output = tmp_path / "in", tmp_path / "out"
    for name in ("a.gif", "a.gif.png", "b.png"):
        good(folder / name)
    status, out, err = run(capfd, folder, "-o", output)
    assert status == 1
    assert out == [str(output / name) for name in ("a.gif.png", "b.png")]
    error, count = err
    assert f"{folder}/a.gif: would be written to {output}/a.gif.png" in error
    assert "deblur it alone, into a file of another name" in error
    assert count == "keras-radn: 1 of 3 files failed"
    other = output / "a.other.png"
    assert run(capfd, folder / "a.gif", "-o", other) == (0, [str(other)], [])


def test_things_that_are_no_files(good, identity, tmp_path, capfd):
    folder, output = tmp_path / "in", tmp_path / "out"
    good(folder / "a.png")
    good(folder / "folder.png" / "b.png")
    (folder / "empty.png").mkdir()
    (folder / "up").symlink_to(folder, target_is_directory=True)
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "linked.png").symlink_to(folder / "a.png")
    (folder / "zeros.png").symlink_to("/dev/zero")
    (folder / "null.png").symlink_to("/dev/null")
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        with contextlib.chdir(folder):  # its path may have 107 bytes
            server.bind("socket.png")
        status, out, err = run(capfd, folder, "-o", output)
    assert status == 1
    expected = ["a.png", "linked.png", "folder.png/b.png"]
    assert out == [str(output / name) for name in expected]
    assert files_below(output) == set(map(Path, out))
    names = ["gone", "null", "pipe", "self", "socket", "zeros"]
    for name, line in zip(names, err[:-1], strict=True):
        assert f"{name}.png: " in line


def test_inputs_that_are_not_there(good, identity, tmp_path, capfd):
    good(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    arguments = [
        tmp_path / "a.png",
        tmp_path / "none.png",
        tmp_path / "empty",
        f"{tmp_path}/no*match.png",
        f"{tmp_path}/{'long' * 80}.png",
        f"{tmp_path}/a.png/b.png",
        "",
    ]
    status, out, err = run(capfd, *arguments, "-o", tmp_path / "out")
    assert (status, out) == (1, [str(tmp_path / "out" / "a.png")])
    assert len(err) == len(arguments)


@contextlib.contextmanager
def without_privileges():
    """Drops the privileges of root, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_permissions(good):
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        for name in ("a.png", "locked.png", "locked/b.png", "z.png"):
            good(root / "in" / name)
        (root / "out" / "closed").mkdir(parents=True)
        good(root / "in" / "closed" / "c.png")
        if os.geteuid() == 0:
            for path in (root, root / "out", *root.rglob("*")):
                os.chown(path, 65534, 65534)
        (root / "in" / "locked").chmod(0)
        (root / "in" / "locked.png").chmod(0)
        (root / "out" / "closed").chmod(0o500)
        with without_privileges():
            reports = list(deblur_files(root / "in", root / "out", lambda x: x))
        done = {r.target for r in reports if r.status == "done"}
        assert done == {str(root / "out" / name) for name in ("a.png", "z.png")}
        errors = sorted(r.error for r in reports if r.status == "failed")
        assert len(errors) == 3
        assert "closed" in errors[2]
        for error in errors:
            assert "ermission denied" in error or "be written" in error
        assert files_below(root / "out") == set(map(Path, done))
        (root / "in" / "locked").chmod(0o700)


@contextlib.contextmanager
def full_disk(size):
    """Limits the size of files, so that a write fails halfway."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".tif", ".webp", ".heic", ".avif", ".bmp"]
)
def test_full_disk(suffix, photo, tmp_path):
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.fromarray(noise).save(source)
    target.write_text("precious")
    job, deblurrer = Job(source, target), Deblurrer(lambda x: x)
    with full_disk(5000):
        report = run_job(job, deblurrer, force=True)
    assert report.status == "failed"
    assert f"b{suffix}: cannot be written" in report.error
    assert target.read_text() == "precious"
    assert files_below(tmp_path) == {source, target}
    assert run_job(job, deblurrer, force=True).status == "done"


def test_no_memory(good, tmp_path):
    def greedy(images):
        if images.shape[1] > 30:
            raise MemoryError
        return images

    good(tmp_path / "in" / "a.png", (40, 40))
    good(tmp_path / "in" / "b.png")
    reports = deblur_files(tmp_path / "in", tmp_path / "out", greedy)
    first, second = reports
    assert (first.status, second.status) == ("failed", "done")
    assert "not enough memory" in first.error


def test_interrupted(good, monkeypatch, tmp_path, capfd):
    """The interrupt comes between tiles of the third of five files."""
    calls = []

    def network(images):
        calls.append(images)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return images

    monkeypatch.setattr(network_options, "chosen_model", lambda _: network)
    for i in range(5):
        good(tmp_path / "in" / f"{i}.png", (40, 40 if i < 2 else 300))
    arguments = [tmp_path / "in", "-o", tmp_path / "out", "--overlap", 32]
    arguments += ["--tile", "160", "--json", tmp_path / "r.json"]
    status, out, err = run(capfd, *map(str, arguments))
    assert status == 130
    assert len(out) == 2
    assert "2 of 5 files are done" in err[-1]
    assert files_below(tmp_path / "out") == set(map(Path, out))
    assert len(json.loads((tmp_path / "r.json").read_text())) == 2
    # The work goes on.
    status, out, err = run(capfd, *map(str, arguments), "--skip-existing")
    assert (status, len(out), len(err)) == (0, 3, 2)
    assert len(files_below(tmp_path / "out")) == 5


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(number, good, tmp_path):
    for i in range(40):
        good(tmp_path / "in" / f"{i:02}.png", (200, 200))
    output = tmp_path / "out"
    command_line = ["deblur", tmp_path / "in", "-o", output]
    with subprocess.Popen(
        [sys.executable, "-m", "keras_radn", *command_line],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        # A shell's background job would pass on that it ignores SIGINT.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        first = process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(number)
        out, err = process.communicate()
    done = [first.strip(), *out.split()]
    assert process.returncode == 130
    assert f"{len(done)} of 40 files are done" in err
    assert "Traceback" not in err
    assert files_below(output) == set(map(Path, done))
    for path in done:
        with Image.open(path) as image:
            image.load()
