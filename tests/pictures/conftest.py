import pytest
from PIL import Image

from keras_radn.inference import Deblurrer
from keras_radn.inference.batch import run_job
from keras_radn.inference.planning import Job


@pytest.fixture
def image(photo):
    return Image.fromarray(photo[:32, :48])


@pytest.fixture
def convert(tmp_path):
    """Deblurs bytes by the identity; returns the target and its notes."""

    def run(data, suffix):
        source, target = tmp_path / "in", tmp_path / f"out{suffix}"
        source.write_bytes(data)
        report = run_job(
            Job(source, target), Deblurrer(lambda x: x), force=True
        )
        assert report.status == "done", report.error
        return target, report.notes

    return run
