"""The picture of before and after when the target cannot be written."""

import pytest
from PIL import Image

from keras_radn.inference import Deblurrer, deblur_files
from keras_radn.inference import picture as module
from keras_radn.inference.batch import check_job, run_job
from keras_radn.inference.planning import Job, plan_jobs
from keras_radn.pictures.writing import PageWriter


@pytest.fixture
def job(photo, tmp_path):
    Image.fromarray(photo[:20, :30]).save(tmp_path / "in.png")
    source, target = tmp_path / "in.png", tmp_path / "out.jpg"
    (job,) = plan_jobs([source], target, compare=True)
    return job


def names(job):
    return {path.name for path in job.source.parent.iterdir()}


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_none_without_target(error, job, monkeypatch):
    existed = []

    class Failing(PageWriter):
        def add(self, picture):
            existed.append(job.compare.exists())
            raise error("no")

    monkeypatch.setattr(module, "PageWriter", Failing)
    if error is KeyboardInterrupt:
        with pytest.raises(error):
            run_job(job, Deblurrer(lambda x: x))
    else:
        assert run_job(job, Deblurrer(lambda x: x)).status == "failed"
    assert existed == [True]
    assert names(job) == {"in.png"}


def test_that_of_others_stays(job):
    """A file that appears during the work survives the failure."""

    def network(images):
        job.compare.write_text("precious")
        return images

    assert run_job(job, Deblurrer(network)).status == "failed"
    assert job.compare.read_text() == "precious"
    assert names(job) == {"in.png", job.compare.name}


def test_left_by_killed_work(job):
    job.compare.write_text("left")
    assert check_job(job).status == "failed"
    assert check_job(job, skip_existing=True).status == "planned"
    (report,) = deblur_files(
        job.source, job.target, lambda x: x, compare=True, skip_existing=True
    )
    assert report.status == "done"
    with Image.open(job.compare) as image:
        assert image.size == (68, 20)


@pytest.mark.parametrize("suffix", [".jpg", ".ppm"])
def test_alpha_is_refused_before_the_work(suffix, photo, tmp_path):
    image = Image.fromarray(photo[:20, :30])
    image.putalpha(99)
    image.save(tmp_path / "a.png")
    calls = []
    target, compare = tmp_path / f"b{suffix}", tmp_path / "c.jpg"
    job = Job(tmp_path / "a.png", target, compare=compare)
    report = run_job(job, Deblurrer(calls.append))
    assert "no alpha channel; write a .png instead" in report.error
    assert calls == []
    assert names(job) == {"a.png"}
