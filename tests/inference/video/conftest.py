import pytest

from keras_radn.inference.video import plan as video_plan
from tests.inference.video.clips import moving, write_clip


@pytest.fixture
def clip(tmp_path, photo):
    return write_clip(tmp_path / "clip.mp4", moving(photo, 5), sound="aac")


@pytest.fixture
def lossless(monkeypatch):
    """Makes the encoders of H.264 and HEVC keep every number."""
    monkeypatch.setitem(video_plan.H264.options, "qp", "0")
    monkeypatch.delitem(video_plan.H264.options, "crf")
    monkeypatch.setitem(
        video_plan.HEVC.options, "x265-params", "lossless=1:log-level=none"
    )
