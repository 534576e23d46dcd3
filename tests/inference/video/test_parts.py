"""Videos in parts, and work that goes on where it was interrupted."""

import itertools
from fractions import Fraction

import av
import keras
import numpy as np
import pytest

from keras_radn import Deblurrer, inference_model
from keras_radn.inference.video import plan as video_plan
from keras_radn.inference.video import process as video
from keras_radn.inference.video.parts import decode_times
from keras_radn.inference.video.process import deblur_video
from tests.inference.video.clips import (
    identity,
    moving,
    packets,
    read_frames,
    same_frames,
    seconds,
    write_clip,
)


def scaling(factor):
    """Builds a Keras model that multiplies its input."""
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, keras.layers.Rescaling(factor)(inputs))


def test_frames_are_the_same_in_each_run(tmp_path, photo, monkeypatch):
    """x264 gives the same frames as its C code, on every processor.

    With some processor instructions, the result would depend on the run.
    """
    clip = write_clip(tmp_path / "a.mkv", moving(photo, 40, (160, 128)))
    deblur_video(clip, tmp_path / "b.mp4", identity)
    options = video_plan.H264.options
    text = f"{options['x264-params']}:asm=0"
    monkeypatch.setitem(options, "x264-params", text)
    deblur_video(clip, tmp_path / "c.mp4", identity)
    same_frames(tmp_path / "b.mp4", tmp_path / "c.mp4")


@pytest.mark.slow
def test_an_inference_form_goes_on(clip, tmp_path, monkeypatch, tiny_radn):
    """The form is rebuilt for each run and recognized by its answers."""
    monkeypatch.setattr(video, "PART_FRAMES", 2)
    model = tiny_radn()

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    def parts_kept(form, target):
        """Returns whether the first part still exists at the first frame."""
        seen = []
        part = tmp_path / f".{target.name}.parts/000000.nut"
        deblur_video(
            clip, target, form, progress=lambda *_: seen.append(part.exists())
        )
        return seen[0]

    for name, expected in (("same", True), ("other", False)):
        target = tmp_path / f"{name}.mp4"
        with pytest.raises(KeyboardInterrupt):
            deblur_video(
                clip, target, inference_model(model), progress=interrupt
            )
        if name == "other":
            bias = model.get_layer("reconstruction").bias
            bias.assign(bias + 1e-3)
        assert parts_kept(inference_model(model), target) == expected


def test_goes_on_where_it_was_interrupted(
    clip, tmp_path, monkeypatch, lossless
):
    monkeypatch.setattr(video, "PART_FRAMES", 2)
    model, calls = scaling(0.5), []

    def counting(*arguments):
        calls.append(1)
        return deblur_frame(*arguments)

    deblur_frame = Deblurrer.__call__
    monkeypatch.setattr(Deblurrer, "__call__", counting)
    whole, target = tmp_path / "whole.mp4", tmp_path / "b.mp4"
    deblur_video(clip, whole, model)
    assert len(calls) == 5

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    def interrupted(*arguments, **named):
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            deblur_video(*arguments, progress=interrupt, **named)

    interrupted(clip, target, model)
    assert not target.exists()
    parts = tmp_path / ".b.mp4.parts"
    assert {p.name for p in parts.iterdir()} == {"settings.json", "000000.nut"}
    calls.clear()
    deblur_video(clip, target, model)
    assert len(calls) == 3
    for kind in ("video", "audio"):
        times = [
            [time for time, _ in packets(path, kind)]
            for path in (target, whole)
        ]
        assert times[0] == times[1]
    same_frames(whole, target)
    assert not parts.exists()

    # Another network, or other arguments: from the start.
    interrupted(clip, target, model, force=True)
    calls.clear()
    deblur_video(clip, target, scaling(0.25), force=True)
    assert len(calls) == 5
    interrupted(clip, target, model, force=True)
    calls.clear()
    deblur_video(clip, target, Deblurrer(model, tile=64, overlap=0), force=True)
    assert len(calls) == 5
    interrupted(clip, target, model, force=True)
    calls.clear()
    deblur_video(clip, target, Deblurrer(model, multi_scale=True), force=True)
    assert len(calls) == 5


def test_decode_times(rng):
    """Groups of pictures are in an encoder's order, at irregular times."""
    shown = np.cumsum(rng.integers(1, 5000, 40)).tolist()
    order = [*(0, 4, 2, 1, 3), *(5, 9, 7, 6, 8), *(10, 13, 12, 11)]
    times = [shown[i] for i in order]
    decoded = decode_times(times)
    assert all(a < b for a, b in itertools.pairwise(decoded))
    assert all(d <= t for d, t in zip(decoded, times, strict=True))
    assert decode_times(shown) == shown
    assert decode_times([7]) == [7]


def test_parts_make_one_stream(clip, tmp_path, monkeypatch):
    """Each part has B-frames of its own, at a variable frame rate."""
    monkeypatch.setattr(video, "PART_FRAMES", 8)
    photo = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    pictures = [np.roll(photo, i // 3, axis=1) for i in range(20)]
    steps = np.tile([100, 9000, 3000, 1], 5)
    times = (np.cumsum(steps) - 100).tolist()
    path = write_clip(tmp_path / "a.mp4", pictures, times=times)
    target = tmp_path / "b.mp4"
    deblur_video(path, target, identity)
    assert seconds(read_frames(target)) == [Fraction(t, 90000) for t in times]
    with av.open(target) as container:
        decoded = [p.dts for p in container.demux(video=0) if p.size]
        assert all(a < b for a, b in itertools.pairwise(decoded))
