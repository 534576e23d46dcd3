"""Deblurring a batch of files, with a report on each of them."""

import functools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator

from keras_radn.inference.deblurrer import Deblurrer, Network, Progress
from keras_radn.inference.picture import process_picture
from keras_radn.inference.planning import Job, check_target, is_video, plan_jobs
from keras_radn.inference.report import Report
from keras_radn.inference.video.process import check_output, process_video
from keras_radn.pictures.writing import output_format

# Files done, all files, and runs done and all runs for the file at hand.
BatchProgress = Callable[[int, int, int, int], None]


def deblur_files(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    output: str | os.PathLike,
    model: Deblurrer | Network | None = None,
    *,
    quality: int | None = None,
    compare: bool = False,
    force: bool = False,
    skip_existing: bool = False,
    dry_run: bool = False,
    progress: BatchProgress | None = None,
) -> Iterator[Report]:
    """Deblurs picture and video files; one that fails does not stop the others.

    Args:
        inputs: files, folders and patterns; see `plan_jobs`.
        output: a folder, or for one input file a file with an image suffix.
        model: see `deblur`.
        quality: of lossy formats; see `PageWriter`.
        compare: whether pictures of before and after are written, too.
        force: whether existing files are replaced.
        skip_existing: whether files whose target is there are left out; a
            picture of before and after without its target is replaced.
        dry_run: whether it is only reported what would be done.
        progress: called as `progress(files_done, files, done, total)` at the
            start, after each file (`done` and `total` are 0 then), and after
            each run of the network for a picture, or each frame of a video.

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
    deblurrer = Deblurrer.of(model)

    tell = progress or (lambda *_: None)

    def reports():
        tell(0, len(jobs), 0, 0)
        for number, job in enumerate(jobs):
            if dry_run:
                report = check_job(job, force, skip_existing)
            else:
                report = run_job(
                    job,
                    deblurrer,
                    quality,
                    force=force,
                    skip_existing=skip_existing,
                    progress=functools.partial(tell, number, len(jobs)),
                )
            tell(number + 1, len(jobs), 0, 0)
            yield report

    return reports()


def run_job(
    job: Job,
    deblurrer: Deblurrer,
    quality: int | None = None,
    *,
    force: bool = False,
    skip_existing: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Deblurs a file and reports what became of it, whatever that is.

    Args:
        job: the file, from `plan_jobs`.
        deblurrer: the network.
        quality: see `PageWriter`.
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
        # Keras on PyTorch gives one whenever a tensor becomes an array.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            if is_video(job):
                job.make_folder()
                report = process_video(
                    job.source, job.target, deblurrer, force, progress
                )
            else:
                process_picture(
                    job,
                    report,
                    deblurrer,
                    quality,
                    force=force,
                    replace_compare=force or skip_existing,
                    progress=progress,
                )
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
    """Checks a job before any work.

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
        check_format = check_output if is_video(job) else output_format
        # A picture of before and after alone is what killed work has left.
        replaced = {job.target: force, job.compare: force or skip_existing}
        for target in filter(None, (job.target, job.compare)):
            check_format(target)
            check_target(target, replaced[target], job.folder is not None)
    except (ValueError, OSError, ImportError) as error:
        report.status, report.error = "failed", _sentence(job, error)
    return report


def _sentence(job, error):
    """A sentence on an error that names the file."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        text = "there is not enough memory to read or write it."
    elif not isinstance(error, ValueError | OSError | ImportError):
        text = f"unexpected {type(error).__name__}: {text}"
    names = str(job.source), str(job.target), str(job.compare)
    return text if text.startswith(names) else f"{job.source}: {text}"
