import os

import pytest

from keras_radn.inference.cluster.planning import plan_remote_jobs
from keras_radn.inference.planning import plan_jobs


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for name in ("b/1.png", "b/clip.avi", "a.gif", "notes.txt", ".x.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def pairs(jobs, strip=""):
    return [
        (str(j.source).removeprefix(strip), str(j.target).removeprefix(strip))
        for j in jobs
    ]


@pytest.mark.parametrize("several", [False, True])
def test_uris_are_planned_as_paths(photos, tmp_path, several):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "2.jpg").touch()
    inputs = [photos, tmp_path / "more"] if several else [photos]
    output = tmp_path / "out"
    local = plan_remote_jobs(inputs, output)
    remote = plan_remote_jobs([p.as_uri() for p in inputs], output.as_uri())
    assert sorted(pairs(remote, "file://")) == sorted(pairs(local))
    assert pairs(local) == pairs(plan_jobs(inputs, output))
    assert len(local) == 3 + several
    for job in local + remote:
        path = job.source.removeprefix("file://")
        assert job.stat.size == os.stat(path).st_size
        assert job.stat.modified == os.stat(path).st_mtime_ns
        assert not job.exists


def test_files_and_what_is_there(photos, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "1.png").touch()
    job, missing = plan_remote_jobs(
        [f"{photos.as_uri()}/b/1.png", f"{photos.as_uri()}/2.png"], output
    )
    assert job.target == str(output / "1.png")
    assert job.exists
    assert job.problem is None
    assert not missing.exists
    assert "no such file" in missing.problem


def test_relative_paths_become_absolute(photos, monkeypatch):
    monkeypatch.chdir(photos)
    [job] = plan_remote_jobs(["b/1.png"], "out")
    assert job.source == str(photos / "b" / "1.png")
    assert job.target == str(photos / "out" / "1.png")


def test_the_output_is_no_input(photos):
    """The results of an earlier run below the input are not read."""
    uri = photos.as_uri()
    jobs = plan_remote_jobs(uri, f"{uri}/b")
    assert pairs(jobs, uri) == [("/a.gif", "/b/a.gif.png")]


def test_an_input_that_is_given_twice(photos, tmp_path):
    uri = f"{photos.as_uri()}/b/1.png"
    (job,) = plan_remote_jobs([uri, uri], tmp_path / "out")
    assert job.problem is None


def test_errors(photos, tmp_path):
    uri = photos.as_uri()
    for inputs, output, message in (
        ([f"{uri}/a.gif"], f"{uri}/out.png", "output is a folder"),
        ([photos / "a.gif"], photos / "out.png", "output is a folder"),
        ([photos / "b" / "1.png"], f"{uri}/b", "one of the inputs"),
    ):
        with pytest.raises(ValueError, match=message):
            plan_remote_jobs(inputs, output)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        plan_remote_jobs((tmp_path / "empty").as_uri(), tmp_path / "out")
