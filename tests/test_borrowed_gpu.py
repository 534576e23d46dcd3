"""`benchmarks/gpu`: its pack of pictures, and its script without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from keras_radn.datasets import find_pairs
from keras_radn.datasets.image_files import list_images, read_rgb

FOLDER = Path(__file__).parents[1] / "benchmarks" / "gpu"


@pytest.fixture
def pack(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import make_pack

    yield make_pack.make_pack
    del sys.modules["make_pack"]


@pytest.fixture
def pictures(tmp_path):
    """Two stills, one of them in a folder, and two pairs."""
    stills, pairs = tmp_path / "stills", tmp_path / "pairs"
    (stills / "more").mkdir(parents=True)
    photo = data.astronaut()
    Image.fromarray(photo).save(stills / "a.png")
    Image.fromarray(data.coffee()).save(stills / "more" / "b.jpg")
    for name, shift in (("blur", 2), ("sharp", 0)):
        (pairs / name).mkdir(parents=True)
        for i in range(2):
            crop = np.roll(photo, shift, 1)[100 * i : 100 * i + 96, :128]
            Image.fromarray(crop).save(pairs / name / f"{i}.png")
    return stills, pairs


def size_of(folder):
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def test_pack_fits_and_can_be_trained_on(pack, pictures, tmp_path):
    stills, pairs = pictures
    output = tmp_path / "pack"
    roomy = tmp_path / "roomy"
    best, _ = pack(roomy, 2**24, stills, [pairs, pairs], pairs)
    limit = size_of(roomy) * 2 // 3
    quality, size = pack(output, limit, stills, [pairs, pairs], pairs)
    assert quality < best
    assert size == size_of(output) <= limit
    names = [path.name for path in list_images(output / "stills")]
    assert names == ["a.webp", "b.webp"]
    packed = find_pairs(output / "pairs")
    assert len(packed) == 4
    originals = [*find_pairs(pairs), *find_pairs(pairs)]
    for files, before in zip(packed, originals, strict=True):
        for path, original in zip(files, before, strict=True):
            error = read_rgb(path).astype(int) - read_rgb(original)
            assert np.sqrt(np.mean(error**2)) < 8  # out of 255
    for files, before in zip(
        find_pairs(output / "validation"), find_pairs(pairs), strict=True
    ):
        for path, original in zip(files, before, strict=True):
            np.testing.assert_array_equal(read_rgb(path), read_rgb(original))


@pytest.mark.parametrize("validation", [False, True])
def test_too_small_a_limit(pack, pictures, tmp_path, validation):
    stills, pairs = pictures
    output = tmp_path / "pack"
    with pytest.raises(ValueError, match=r"do not fit into 0\.0 MiB.*quality"):
        pack(output, 999, stills, [pairs], pairs if validation else None)
    assert {path.name for path in tmp_path.iterdir()} == {"stills", "pairs"}


def test_nothing_to_pack(pack, tmp_path):
    with pytest.raises(ValueError, match="give stills or pairs"):
        pack(tmp_path / "pack", 2**20)


def test_nothing_is_overwritten(pack, pictures, tmp_path):
    (tmp_path / "pack").mkdir()
    with pytest.raises(FileExistsError, match="is there already"):
        pack(tmp_path / "pack", 2**20, pictures[0])


def run_script(tmp_path, *words):
    """Runs the script with an `nvidia-smi` that finds nothing."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (tools / "nvidia-smi").chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [FOLDER / "run.sh", *words],
        env={**os.environ, "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )


def test_without_a_gpu(tmp_path):
    (tmp_path / "travel" / "wheels").mkdir(parents=True)
    done = run_script(tmp_path, "travel", "output", "10")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "run.sh: nvidia-smi finds no GPU here; --rehearse goes on without.\n"
    )
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("travel", "output", "10"),
        (".", "output", "soon"),
        (".", "output", "10", "--fast"),
        (".", "output", "10", "--preset"),
    ],
)
def test_wrong_command_line(tmp_path, words):
    (tmp_path / "wheels").mkdir()
    done = run_script(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("run.sh: usage: ")
    assert len(done.stderr.splitlines()) == 1
