"""Deblurring on a small Ray cluster on this machine."""

import json
import os
import signal
from collections import Counter

import keras
import pytest
from PIL import Image

from keras_radn.cli.main import main
from keras_radn.files import partial_name
from keras_radn.inference.cluster import batch as cluster
from keras_radn.inference.cluster.batch import Worker, deblur_on_ray

pytestmark = [
    # Ray leaves its log files open, in the process that starts it.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def ray():
    ray = cluster._import_ray()
    with cluster._running(ray):
        yield ray


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """Darkens pixel by pixel: TensorFlow's sums depend on its threads."""
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Rescaling(0.7)(inputs))
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


@pytest.fixture
def photos(tmp_path, photo):
    """Eight pictures in two folders, and a text file named as one."""
    root = tmp_path / "photos"
    for i in range(8):
        path = root / ("a", "b")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo[40 * i : 40 * i + 40, 100:150]).save(path)
    (root / "a" / "text.png").write_text("no picture")
    return root


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.jsonl"
    }


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class DyingWorker(Worker):
    """Dies once, after writing a picture and before reporting it."""

    def _run(self, job):
        report = super()._run(job)
        mark = job.target.parents[2] / "died"
        if job.target.name == "5.png" and not mark.exists():
            mark.touch()
            # What it would leave had it been killed while writing.
            job.target.with_name(partial_name(job.target.name)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return report


@pytest.mark.slow
def test_a_worker_is_killed(
    ray, photos, tmp_path, model_file, monkeypatch, capsys
):
    """Each picture is written once, and none is lost."""
    monkeypatch.setattr(cluster, "Worker", DyingWorker)
    output, expected = tmp_path / "out", tmp_path / "expected"
    command = ["deblur", str(photos), "--model", str(model_file), "-o"]
    assert main([*command, str(output), "--ray", "--workers", "2"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert sorted(printed) == sorted(map(str, output.rglob("*.png")))
    assert (tmp_path / "died").exists()

    assert main([*command, str(expected)]) == 1
    assert len(contents(output)) == 8
    assert contents(output) == contents(expected)

    table = rows(output / "manifest.jsonl")
    assert sorted(row["source"] for row in table) == sorted(
        map(str, photos.rglob("*.png"))
    )
    assert Counter(row["status"] for row in table) == {"done": 8, "failed": 1}
    [failed] = [row for row in table if row["status"] == "failed"]
    assert "text.png" in failed["error"]
    [again] = [row for row in table if "attempt 2" in str(row["notes"])]
    assert again["source"].endswith("5.png")
    # All on the loopback.
    [node] = ray.nodes()
    assert node["NodeManagerAddress"] == "127.0.0.1"


class PoisonedWorker(Worker):
    """Dies whenever it reads a certain picture."""

    most_attempts = 1

    def _run(self, job):
        if job.source.name == "5.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._run(job)


@pytest.mark.nightly
def test_goes_on_from_the_manifest(photos, tmp_path, model_file, monkeypatch):
    """Inputs and output are URIs, and one picture kills its workers."""
    monkeypatch.setattr(cluster, "Worker", PoisonedWorker)
    source, output = photos.as_uri(), tmp_path / "out"
    manifest = tmp_path / "manifest.jsonl"

    def start():
        return deblur_on_ray(
            source,
            output.as_uri(),
            model,
            workers=2,
            manifest=manifest,
        )

    model = keras.models.load_model(model_file, compile=False)
    reports = start()
    first = [next(reports), next(reports)]
    reports.close()
    states = Counter(row["status"] for row in rows(manifest))
    assert states.total() == 9
    assert states["planned"] == 7

    second = list(start())
    assert sorted(report.source for report in second) == sorted(
        f"{source}/{path.relative_to(photos)}" for path in photos.rglob("*.png")
    )
    done = [report.source for report in first if report.status == "done"]
    for report in second:
        name = report.source.rsplit("/")[-1]
        if report.source in done:
            assert report.status == "skipped"
        elif name in ("text.png", "5.png"):
            assert report.status == "failed"
            assert name in report.error
        else:
            assert report.status == "done"
    states = Counter(row["status"] for row in rows(manifest))
    assert states == {"done": 7, "failed": 2}
    assert len(contents(output)) == 7
