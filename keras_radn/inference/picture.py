"""Deblurring a picture file."""

from itertools import chain

from keras_radn.inference.deblurrer import Deblurrer, Progress
from keras_radn.inference.planning import Job
from keras_radn.inference.report import Report
from keras_radn.pictures.comparison import before_and_after
from keras_radn.pictures.reading import read_pages
from keras_radn.pictures.writing import PageWriter, save_pages


def process_picture(
    job: Job,
    report: Report,
    deblurrer: Deblurrer,
    quality: int | None = None,
    *,
    force: bool = False,
    replace_compare: bool = False,
    progress: Progress | None = None,
) -> None:
    """Deblurs the pages of a picture file.

    Args:
        job: one that was accepted.
        report: its report, which is filled in as far as the work goes.
        deblurrer: the network.
        quality: see `PageWriter`.
        force: whether an existing target is replaced.
        replace_compare: whether a picture of before and after is.
        progress: see `deblur`; for each page from the start.

    Raises:
        ValueError: if the file cannot be read, or the target not hold it.
        OSError: if the target cannot be written.
    """
    pages = read_pages(job.source)
    first, second = next(pages), next(pages, None)
    report.height, report.width = first.pixels.shape[:2]

    written = []
    try:
        with PageWriter(job.target, quality, force) as writer:
            writer.check(first, several=second is not None)
            job.make_folder()
            for page in chain([first], [second] if second else [], pages):
                report.notes += (n for n in page.notes if n not in report.notes)
                sharp = page.with_pixels(deblurrer(page.pixels, progress))
                if job.compare is not None and report.pages == 0:
                    # Before the target, which says that all is done.
                    both = before_and_after(page, sharp)
                    save_pages([both], job.compare, force=replace_compare)
                    written.append(job.compare)
                writer.add(sharp)
                report.pages += 1
    except BaseException:  # Ctrl-C, too
        for path in written:
            path.unlink(missing_ok=True)
        raise
    report.notes += writer.notes
    report.status = "done"
