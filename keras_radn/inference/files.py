"""Deblurring files: one, or a batch of which every file is accounted for."""

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import keras
import numpy as np
from PIL import Image

from keras_radn.inference.deblur import Deblurrer, Progress
from keras_radn.inference.pictures import Metadata, Picture
from keras_radn.inference.planning import Job, is_video, plan_jobs
from keras_radn.inference.reading import read_pages
from keras_radn.inference.video import check_output, process_video
from keras_radn.inference.writing import (
    check_alpha,
    output_format,
    save_pages,
)

# Pixels between before and after, and the longest side that JPEG holds.
_GAP = 8
_LONGEST_SIDE = 65_500


@dataclass
class Report:
    """What became of a file.

    Attributes:
        source: the file that was read.
        target: the file that was or would be written.
        status: `"done"`, `"skipped"` (the target was there), `"failed"`, or
            `"planned"` in a dry run.
        error: why it failed, a sentence; None if it did not.
        notes: sentences on what was changed beside the blur.
        width: of the picture in pixels, of the first page.
        height: of the picture in pixels, of the first page.
        pages: how many, or how many frames of a video.
        seconds: for all, from reading to writing.
    """

    source: str
    target: str
    status: str
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    width: int | None = None
    height: int | None = None
    pages: int = 0
    seconds: float = 0.0


def deblur_files(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    output: str | os.PathLike,
    model: keras.Model | Callable | None = None,
    *,
    ensemble: bool = False,
    multi_scale: bool = False,
    tile: int | str | None = "auto",
    overlap: int | None = None,
    quality: int | None = None,
    compare: bool = False,
    force: bool = False,
    skip_existing: bool = False,
) -> Iterator[Report]:
    """Deblurs picture files; one that fails does not keep the others.

    Args:
        inputs: files, folders and patterns; see `plan_jobs`.
        output: a folder, or for one input file a file with an image suffix.
        model: see `deblur`.
        ensemble: see `deblur`.
        multi_scale: see `deblur`.
        tile: see `deblur`.
        overlap: see `deblur`.
        quality: of lossy formats; see `save_pages`.
        compare: whether pictures of before and after are written, too.
        force: whether existing files are replaced.
        skip_existing: whether files whose target is there are left out; a
            picture of before and after without its target is replaced.

    Yields:
        Per file a report, when it is done. The next one is begun when it is
        asked for.

    Raises:
        ValueError: at once, if the inputs and the output do not fit.

    Example:

    ```python
    for report in keras_radn.deblur_files("photos/", "deblurred/"):
        print(report.source, report.status, report.error or "")
    ```
    """
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    jobs = plan_jobs(inputs, output, compare=compare)
    deblurrer = Deblurrer(
        model,
        ensemble=ensemble,
        multi_scale=multi_scale,
        tile=tile,
        overlap=overlap,
    )
    return (
        run_job(job, deblurrer, quality, force, skip_existing) for job in jobs
    )


def run_job(
    job: Job,
    deblurrer: Deblurrer,
    quality: int | None = None,
    force: bool = False,
    skip_existing: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Deblurs a file and reports what became of it, whatever that is.

    Args:
        job: the file, from `plan_jobs`.
        deblurrer: the network.
        quality: see `save_pages`.
        force: see `deblur_files`.
        skip_existing: see `deblur_files`.
        progress: see `deblur`; for each page from the start.

    Returns:
        A report; its status is `"failed"` if the file cannot be read, the
        target not be written, or memory or disk are full.
    """
    start = time.perf_counter()
    report = check_job(job, force, skip_existing)
    if report.status != "planned":
        return report
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _deblur_job(
                job, deblurrer, quality, force, skip_existing, progress, report
            )
            report.status = "done"
        # A batch goes on whatever a damaged file makes a decoder raise.
        except Exception as error:
            report.status, report.error = "failed", _sentence(job, error)
    report.notes.extend(
        text
        for warning in caught
        if (text := str(warning.message)) not in report.notes
    )
    report.seconds = time.perf_counter() - start
    return report


def check_job(
    job: Job, force: bool = False, skip_existing: bool = False
) -> Report:
    """What is known of a job before any work.

    Returns:
        A report whose status is `"planned"`, `"skipped"` or `"failed"`.
    """
    report = Report(str(job.source), str(job.target), "planned")
    try:
        if job.problem is not None:
            raise ValueError(job.problem)
        if skip_existing and os.path.lexists(job.target):
            report.status = "skipped"
            return report
        parent = job.target.parent
        if job.folder is None and not (
            parent.is_dir() and os.access(parent, os.W_OK)
        ):
            raise OSError(
                f"{job.target}: cannot be written: {parent} is no folder that "
                "can be written to."
            )
        # A picture of before and after alone is what killed work has left.
        replaced = {job.target: force, job.compare: force or skip_existing}
        for target in filter(None, (job.target, job.compare)):
            check = check_output if is_video(job) else output_format
            check(target)
            if not replaced[target] and os.path.lexists(target):
                raise FileExistsError(
                    f"{target}: exists already; choose another output or use "
                    "--force."
                )
    except (ValueError, OSError, ImportError) as error:
        report.status, report.error = "failed", _sentence(job, error)
    return report


def _sentence(job, error):
    """One that names the file."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        text = "there is not enough memory to read or write it."
    elif not isinstance(error, ValueError | OSError | ImportError):
        text = f"unexpected {type(error).__name__}: {text}"
    names = str(job.source), str(job.target), str(job.compare)
    return text if text.startswith(names) else f"{job.source}: {text}"


def _deblur_job(
    job, deblurrer, quality, force, skip_existing, progress, report
):
    if is_video(job):
        _make_folder(job)
        video = process_video(
            job.source, job.target, deblurrer, force, progress
        )
        report.width, report.height = video.width, video.height
        report.pages, report.notes = video.frames, video.notes
        return
    pages = read_pages(job.source)
    first, second = next(pages), next(pages, None)
    format_ = output_format(job.target)
    check_alpha(first, format_)
    if second is not None and format_ != "TIFF":
        raise ValueError(
            f"{job.source}: has several pages, which only .tif files hold; "
            "choose such an output."
        )
    if job.folder is not None:
        _make_folder(job)
    report.height, report.width = first.pixels.shape[:2]

    def deblurred():
        for page in chain([first], [second] if second else [], pages):
            report.notes.extend(n for n in page.notes if n not in report.notes)
            sharp = page.with_pixels(deblurrer(page.pixels, progress))
            if job.compare is not None and report.pages == 0:
                # Before the target, which says that all is done.
                both = before_and_after(page, sharp)
                save_pages([both], job.compare, force=force or skip_existing)
                written.append(job.compare)
            report.pages += 1
            yield sharp

    written = []
    try:
        report.notes += save_pages(deblurred(), job.target, quality, force)
    except BaseException:  # Ctrl-C, too
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _make_folder(job):
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{job.target}: cannot be written: its folder cannot be made: "
            f"{error.strerror}."
        ) from error


def before_and_after(before: Picture, after: Picture) -> Picture:
    """Two pictures side by side, wide ones one above the other, in 8 bits.

    Args:
        before: a picture.
        after: one of the same size and dtype.

    Returns:
        A picture without alpha, with a white gap in the middle.
    """
    height, width = before.pixels.shape[:2]
    axis = 0 if width > 2 * height else 1
    arrays = [_as_8_bits(picture.pixels) for picture in (before, after)]
    shape = list(arrays[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    both = np.concatenate([arrays[0], gap, arrays[1]], axis)
    if max(both.shape[:2]) > _LONGEST_SIDE:
        image = Image.fromarray(both)
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        both = np.asarray(image)
    return Picture(
        both, metadata=Metadata(icc_profile=before.metadata.icc_profile)
    )


def _as_8_bits(array):
    if array.dtype == np.uint8:
        return array
    white = 65535 if array.dtype == np.uint16 else 1
    return np.rint(array * np.float32(255 / white)).astype(np.uint8)
