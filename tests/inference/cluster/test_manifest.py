import json

import pytest

from keras_radn.files.object_stores import Location, Stat
from keras_radn.inference import Report
from keras_radn.inference.cluster.manifest import Manifest
from keras_radn.inference.cluster.planning import RemoteJob

JOB = RemoteJob("in/1.png", "out/1.png", Stat(10, 20))
THERE = RemoteJob("in/1.png", "out/1.png", Stat(10, 20), exists=True)
CHANGED = RemoteJob("in/1.png", "out/1.png", Stat(10, 21), exists=True)
ELSEWHERE = RemoteJob("in/1.png", "other/1.png", Stat(10, 20), exists=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "manifest.jsonl"


def manifest(path):
    return Manifest(Location(path))


def enter(path, status, job=JOB):
    record = manifest(path)
    record.update(job, Report(job.source, job.target, status))
    record.write()
    return manifest(path)


def status(record, job, **choice):
    return record.check(job, **choice).status


def test_a_new_manifest_knows_nothing(path):
    record = manifest(path)
    assert status(record, JOB) == "planned"
    assert status(record, THERE) == "failed"
    assert "out/1.png: exists already" in record.check(THERE).error
    assert status(record, THERE, force=True) == "planned"
    assert status(record, THERE, skip_existing=True) == "skipped"
    missing = RemoteJob("in/2.png", "out/2.png", problem="there is no file.")
    assert status(record, missing, force=True) == "failed"
    assert record.check(missing).error == "in/2.png: there is no file."


def test_what_is_done_is_not_done_again(path):
    record = enter(path, "done")
    assert status(record, THERE) == "skipped"
    assert status(record, JOB) == "planned"  # the target was removed
    assert status(record, CHANGED) == "planned"
    assert status(record, ELSEWHERE) == "failed"
    assert status(record, THERE, force=True) == "planned"


def test_a_target_of_its_own_is_replaced(path):
    """The driver died after a worker had written the target."""
    record = enter(path, "planned")
    assert status(record, THERE) == "planned"
    assert status(record, THERE, skip_existing=True) == "planned"
    record.update(JOB, Report(JOB.source, JOB.target, "failed", "no"))
    assert status(record, THERE) == "planned"


def test_a_target_of_others_is_never_its_own(path):
    record = enter(path, "failed", THERE)
    assert status(record, THERE) == "failed"


def test_one_row_for_each_source(path):
    record = manifest(path)
    for name in ("planned", "failed", "done"):
        record.update(JOB, Report(JOB.source, JOB.target, name, notes=["ä"]))
    other = RemoteJob("in/\udcff.png", "out/\udcff.png", Stat(1, 2))
    record.update(other, Report(other.source, other.target, "done"))
    record.write()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["source"] for row in rows] == [JOB.source, other.source]
    assert rows[0]["status"] == "done"
    assert rows[0]["notes"] == ["ä"]
    assert manifest(path).is_begun(other)


@pytest.mark.parametrize("text", ["no json", "[1]\n", '{"a": 1}\n', "\xff"])
def test_no_manifest(path, text):
    path.write_text(text, "latin-1")
    with pytest.raises(ValueError, match=r"manifest\.jsonl: is not a manifest"):
        manifest(path)
    assert path.read_text("latin-1") == text


def test_its_place(tmp_path):
    Manifest.of(tmp_path / "out").write()
    assert (tmp_path / "out" / "manifest.jsonl").exists()
    Manifest.of(tmp_path / "out", tmp_path / "m.jsonl").write()
    assert (tmp_path / "m.jsonl").exists()
