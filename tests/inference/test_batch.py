"""Batches of files: what is written, in which order, and the reports."""

import numpy as np
import pytest
from PIL import Image

from keras_radn.inference import Deblurrer, deblur_files
from keras_radn.inference.batch import run_job
from keras_radn.inference.planning import Job
from tests.inference.identity import identity, run
from tests.inference.video.clips import moving, write_clip


def diverged(images):
    """Answers as a network whose weights are NaN."""
    return images * np.float32(np.nan)


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("source", ["a.png", "a.tif", "a.mp4"])
def test_nothing_is_written_of_a_network_that_diverged(
    source, ensemble, tmp_path, photo
):
    source = tmp_path / source
    if source.suffix == ".mp4":
        write_clip(source, moving(photo, 2))
    else:
        Image.fromarray(photo[:40, :50]).save(source)
    compare = tmp_path / "out/compare.jpg" if source.suffix == ".png" else None
    job = Job(source, tmp_path / "out" / source.name, compare=compare)
    job.target.parent.mkdir()
    report = run_job(job, Deblurrer(diverged, ensemble=ensemble))
    assert report.status == "failed"
    assert report.error.startswith(f"{source}: The network answers with NaN")
    if source.suffix != ".mp4":  # what is known by then
        assert (report.width, report.height) == (50, 40)
    assert list(job.target.parent.iterdir()) == []


def test_existing_files_are_kept(photo, tmp_path):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(photo[:20, :30]).save(source)
    target.write_text("precious")
    job = Job(source, target)
    report = run_job(job, Deblurrer(identity))
    assert report.status == "failed"
    assert "force=True" in report.error
    report = run_job(job, Deblurrer(identity), skip_existing=True)
    assert report.status == "skipped"
    assert target.read_text() == "precious"

    # One that appears during the work, too.
    target.unlink()

    def slow(images):
        target.write_text("another program's")
        return images

    assert run_job(job, Deblurrer(slow)).status == "failed"
    assert target.read_text() == "another program's"
    run(source, target, force=True)
    with Image.open(target) as result:
        assert result.size == (30, 20)
    assert {p.name for p in tmp_path.iterdir()} == {"in.png", "out.png"}


def test_compare(photo, tmp_path):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    both = tmp_path / "out.png.compare.jpg"
    Image.fromarray(photo[:200, :300]).save(source)
    (report,) = deblur_files(source, target, lambda x: 1 - x, compare=True)
    assert report.status == "done"
    with Image.open(both) as image:
        result = np.asarray(image).astype(int)
    assert result.shape == (200, 608, 3)
    assert np.abs(result[:, :300] - photo[:200, :300]).mean() < 3
    assert np.abs(result[:, 308:] - (255 - photo[:200, :300])).mean() < 3


def test_batch(photo, tmp_path):
    """A folder is mirrored; the reports are in the order of the files."""
    folder = tmp_path / "in" / "deep" / "er"
    folder.mkdir(parents=True)
    for path in (tmp_path / "in" / "a.png", folder / "b.JPG"):
        Image.fromarray(photo[:20, :30]).save(path)
    (tmp_path / "in" / "c.png").write_text("broken")
    Image.fromarray(photo[:20, :30]).save(tmp_path / "in" / "d.gif")
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    output = tmp_path / "in" / "out"  # below the input
    for status in ("done", "failed"):
        reports = list(deblur_files(tmp_path / "in", output, identity))
        rows = [(r.source.rsplit("/", 1)[1], r.status) for r in reports]
        assert rows == [
            ("a.png", status),
            ("c.png", "failed"),
            ("d.gif", status),
            ("b.JPG", status),
        ]
    written = {str(p.relative_to(output)) for p in output.rglob("*.*")}
    assert written == {"a.png", "d.gif.png", "deep/er/b.JPG"}


def test_dry_run_and_progress(photo, tmp_path):
    """A dry run reports the plan, a run each file and network call."""
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(photo[:20, :30]).save(tmp_path / "in" / name)
    output, calls = tmp_path / "out", []

    def start(**options):
        calls.clear()
        reports = deblur_files(
            tmp_path / "in",
            output,
            Deblurrer(identity, ensemble=True),
            progress=lambda *call: calls.append(call),
            **options,
        )
        return [report.status for report in reports]

    assert start(dry_run=True) == ["planned", "planned"]
    assert not output.exists()
    assert calls == [(0, 2, 0, 0), (1, 2, 0, 0), (2, 2, 0, 0)]
    assert start() == ["done", "done"]
    runs = [[(i, 2, run, 8) for run in range(1, 9)] for i in range(2)]
    assert calls == [
        *((0, 2, 0, 0), *runs[0], (1, 2, 0, 0), *runs[1], (2, 2, 0, 0))
    ]
    assert start(dry_run=True) == ["failed", "failed"]
    assert start(dry_run=True, skip_existing=True) == ["skipped", "skipped"]
