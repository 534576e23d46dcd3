"""Deblurring videos."""

import hashlib
import itertools
import os
from collections import deque
from pathlib import Path

import keras
import numpy as np

from keras_radn.files import short_stem, written_beside
from keras_radn.inference.deblurrer import Deblurrer, Network, Progress
from keras_radn.inference.planning import check_target
from keras_radn.inference.report import Report
from keras_radn.inference.video.parts import (
    Parts,
    decode_times,
    in_order,
    writing,
)
from keras_radn.inference.video.plan import Plan, add_copy, describe, tags
from keras_radn.pictures.videos import OUTPUT_SUFFIXES, import_av, open_video

# Frames of a part, after which an interrupted run can go on. Each begins with
# a key frame, which players like to have every few seconds anyway.
PART_FRAMES = 100


def deblur_video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: Deblurrer | Network | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Deblurs each frame of a video into another file.

    Times of the frames (also of a variable frame rate), their shape and
    orientation, and what says how their colors are meant stay as they are;
    sound, subtitles, chapters and tags are copied. A color that the network
    does not change is not changed but by the encoder.

    Colors become 4:2:0 of 8 bits, or of 10 if the source has more than 8.
    They are encoded as H.264 (10 bits: HEVC) in .mp4, .m4v, .mov and .mkv, as
    VP9 (10 bits: AV1) in .webm, at a constant quality at which the loss is
    not seen.

    While the work is under way, finished parts of 100 frames are in the folder
    `.NAME.parts` beside the target. If it is interrupted, the same call goes
    on after the last of them, with the result that it would have had; if
    source, network or arguments differ, or the network is neither a Keras model
    nor an inference form, it starts again.

    Args:
        source: a video file that FFmpeg can read.
        target: the file to write, .mp4, .m4v, .mov, .mkv or .webm.
        model: see `deblur`.
        force: whether an existing target is replaced.
        progress: called as `progress(done, total)` after each frame; the total
            is an estimate.

    Returns:
        Sentences on what is not as in the source; mostly none.

    Raises:
        FileNotFoundError: if there is no source.
        FileExistsError: if there is a target and not `force`.
        ImportError: if PyAV is not installed.
        ValueError: if the source is not a video, is damaged or interlaced, if
            its frames differ in size, its colors are of a kind that is not
            supported, or the target cannot hold its sound or subtitles.
        OSError: if the target cannot be written.

    Example:

    ```python
    from keras_radn import inference

    inference.deblur_video("clip.mp4", "sharp.mp4")
    ```
    """
    source, target = Path(source), Path(target)
    check_output(target)
    check_target(target, replace=force)
    deblurrer = Deblurrer.of(model)
    return process_video(source, target, deblurrer, force, progress).notes


def process_video(
    source: Path,
    target: Path,
    deblurrer: Deblurrer,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Deblurs a video, as `deblur_video`, into a target that was accepted."""
    av = import_av()
    if not source.exists():
        raise FileNotFoundError(f"{source}: there is no such file.")
    plan = Plan(av, source, target)
    deblurrer = deblurrer.resolved()
    settings = plan.settings() | {
        "target": target.name,
        "part_frames": PART_FRAMES,
        "model": _digest(deblurrer.network),
        "ensemble": deblurrer.ensemble,
        "multi_scale": deblurrer.multi_scale,
        "tile": deblurrer.tile,
        "overlap": deblurrer.overlap,
    }
    name = f".{short_stem(target.name)}{target.suffix}.parts"
    parts = Parts(target.with_name(name), settings)
    try:
        times, duration = _encode(plan, parts, deblurrer, progress)
        _mux(plan, parts, times, duration, force)
    except FileExistsError:
        raise FileExistsError(
            f"{target}: exists by now; the work is kept, use force=True."
        ) from None
    except BaseException:
        if not parts.path(0).exists():  # there is nothing to keep
            parts.remove()
        raise
    parts.remove()
    width, height = plan.size
    return Report(
        str(source),
        str(target),
        "done",
        notes=plan.notes,
        width=width,
        height=height,
        pages=len(times),
    )


def check_output(target: str | os.PathLike) -> None:
    """Raises a ValueError if such videos are not written."""
    if Path(target).suffix.lower() not in OUTPUT_SUFFIXES:
        raise ValueError(
            f"{target}: videos are written as {', '.join(OUTPUT_SUFFIXES)}; a "
            "new folder has to end in a slash."
        )


def _digest(model):
    """A digest of a network; another function gets a new one each time."""
    if getattr(model, "is_inference_form", False):
        # It does not tell its weights, but its answer depends on each.
        picture = np.random.default_rng(0).random((1, 64, 64, 3), "float32")
        return hashlib.sha256(model(picture).numpy().tobytes()).hexdigest()
    if not isinstance(model, keras.Model):
        return os.urandom(16).hex()
    digest = hashlib.sha256(model.to_json().encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _encode(plan, parts, edit, progress):
    """Writes the parts that are not there yet.

    Returns:
        The times of all frames, and the duration of the last one.
    """
    times, duration = [], 0

    def counted():
        nonlocal duration
        for frame in _frames(plan):
            times.append(frame.pts)
            duration = frame.duration
            yield frame
            if progress:
                progress(len(times), max(plan.frames, len(times)))

    frames = counted()
    for index in itertools.count():
        part = itertools.islice(frames, PART_FRAMES)
        first = next(part, None)
        if first is None:
            return times, duration
        if parts.path(index).exists():
            deque(part, maxlen=0)
            continue
        with (
            written_beside(parts.path(index)) as partial,
            writing(plan.av, plan.target),
        ):
            _encode_part(plan, partial, itertools.chain([first], part), edit)


def _encode_part(plan, path, frames, edit):
    with plan.av.open(
        path,
        "w",
        format="nut",
        container_options={"avoid_negative_ts": "disabled"},
    ) as container:
        stream = container.add_stream(
            plan.encoder.name,
            plan.rate,
            dict(plan.encoder.options),
            time_base=plan.time_base,
        )
        stream.width, stream.height = plan.out_size
        stream.pix_fmt = plan.editor.format
        plan.set_colors(stream)
        for frame in frames:
            container.mux(
                stream.encode(plan.editor(frame, edit, *plan.out_size))
            )
        container.mux(stream.encode())


def _frames(plan):
    """The decoded frames, each later than the one before."""
    last = None
    with open_video(plan.source) as (container, stream):
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise ValueError(
                    f"{plan.source} is damaged at {frame.time or 0:.2f} s; "
                    "repair it, or cut this place out."
                )
            if frame.interlaced_frame:
                raise ValueError(
                    f"{plan.source} is interlaced; deinterlace it first, for "
                    "example with FFmpeg's filter bwdif."
                )
            if (kind := describe(frame)) != plan.kind:
                raise ValueError(
                    f"{plan.source}: its frames change from {plan.kind} to "
                    f"{kind}; cut it there."
                )
            if frame.pts is None:  # in AVI, which does not reorder
                frame.pts = frame.dts or 0
            if last is not None:
                frame.pts = max(frame.pts, last + 1)
            last = frame.pts
            yield frame


def _mux(plan, parts, times, duration, force):
    """Puts the parts together with all that is copied from the source."""
    av = plan.av
    with (
        written_beside(plan.target, replace=force) as partial,
        open_video(plan.source) as (source, source_stream),
        av.open(parts.path(0)) as part,
        writing(av, plan.target),
        av.open(
            partial, "w", format=plan.format, container_options=plan.options
        ) as container,
    ):
        copies = {}
        copied = plan.copied(source, source_stream)
        for stream in source.streams:
            if stream is source_stream:
                [encoded] = part.streams
                video = container.add_stream_from_template(encoded, opaque=True)
                filtered = plan.video_filter(encoded, video)
                plan.describe_video(video, stream)
            elif stream in copied:
                copies[stream.index] = add_copy(container, stream, plan)
        container.metadata.update(tags(source.metadata))
        container.set_chapters(source.chapters())
        packets = [
            _video_packets(plan, parts, video, filtered, times, duration)
        ]
        if copied:
            packets.append(_copied_packets(source.demux(copied), copies))
        for packet in in_order(*packets):
            container.mux(packet)


def _video_packets(plan, parts, stream, filtered, times, duration):
    shown = [
        round(packet.pts * packet.time_base / plan.time_base)
        for packet in parts.packets(plan.av)
    ]
    if sorted(shown) != times:
        raise RuntimeError(f"{plan.source} changed while it was deblurred.")
    after = dict(itertools.pairwise(times))
    encoded = itertools.chain.from_iterable(
        map(filtered, parts.packets(plan.av))
    )
    for packet, pts, dts in zip(
        encoded, shown, decode_times(shown), strict=True
    ):
        packet.stream = stream
        packet.time_base = plan.time_base
        packet.pts, packet.dts = pts, dts
        packet.duration = after[pts] - pts if pts in after else duration
        yield packet


def _copied_packets(packets, copies):
    for packet in packets:
        if packet.pts is None and packet.dts is None:  # the mark of the end
            continue
        if packet.dts is None:
            packet.dts = packet.pts
        packet.stream = copies[packet.stream.index]
        yield packet
