import argparse
import contextlib
import json
import logging
import math
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from keras_radn.cli.messages import printable, say
from keras_radn.cli.model_file import (
    add_ensemble_arguments,
    add_model_arguments,
    load_model,
    load_network,
)
from keras_radn.cli.numbers import (
    Number,
    add_numbers,
    check_numbers,
    integer,
    tile_side,
)
from keras_radn.cli.signals import on_sigterm
from keras_radn.files import written_beside
from keras_radn.inference import Deblurrer, Report
from keras_radn.inference.cluster import deblur_jobs_on_ray
from keras_radn.inference.deblur import DEFAULT_PRESET
from keras_radn.inference.files import check_job, run_job
from keras_radn.inference.manifest import Manifest
from keras_radn.inference.planning import plan_jobs
from keras_radn.inference.remote_planning import plan_remote_jobs
from keras_radn.models.inference_form import DTYPES

_NUMBERS = (
    Number(
        "max-megapixels",
        float,
        None,
        0.001,
        math.inf,
        "refuse files that claim to be larger (default: "
        f"{2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f})",
    ),
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn deblur`."""
    parser = commands.add_parser(
        "deblur",
        help="deblur photographs and videos",
        description="Deblurs image and video files. A file that fails does not "
        "keep the others from being done; the exit status is then 1.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="image or video file, folder (with all its folders) or 'pattern'",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a folder, or for one input a file with the suffix of a format; "
        "a new folder with a dot in its name has to end in a slash",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--force", action="store_true", help="replace existing files"
    )
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out inputs whose output is there",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--dtype",
        choices=("auto", *DTYPES),
        default="auto",
        help="what is computed in; auto: bfloat16, which is faster and looks "
        "the same, if the processor has instructions for it",
    )
    add_ensemble_arguments(parser)
    parser.add_argument(
        "--compare",
        action="store_true",
        help="write NAME.compare.jpg with before and after, too",
    )
    parser.add_argument(
        "--quality",
        type=integer(1, 100),
        metavar="1-100",
        help="of JPEG, WebP, HEIC and AVIF (default: that of a JPEG source "
        "but at least 90; 95 for others)",
    )
    parser.add_argument(
        "--tile",
        type=tile_side,
        default="auto",
        metavar="PIXELS",
        help="longest side of a tile; 'auto' (the default): what the memory "
        "allows, up to 2 megapixels; 'off': the whole image",
    )
    parser.add_argument(
        "--overlap",
        type=integer(0),
        metavar="PIXELS",
        help="over which tiles are cross-faded (default: 96, at most a third "
        "of a tile)",
    )
    add_numbers(parser, _NUMBERS)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what would be written",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write a report, too"
    )
    cluster = parser.add_argument_group(
        "many machines",
        "With --ray, inputs and output may be URIs such as s3://bucket/folder, "
        "and the same command goes on where an earlier one ended.",
    )
    cluster.add_argument(
        "--ray",
        action="store_true",
        help="spread the files over the Ray cluster of the environment "
        "variable RAY_ADDRESS, or over processes of this machine",
    )
    cluster.add_argument(
        "--workers",
        type=integer(1),
        metavar="N",
        help="each with a model of its own (default: one for each GPU, or for "
        "each machine)",
    )
    cluster.add_argument(
        "--manifest",
        metavar="FILE",
        help="what became of each file (default: manifest.jsonl in OUT)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn deblur`; see `main` for the exit status."""
    check_numbers(options, _NUMBERS)
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise FileNotFoundError(f"{options.json}: there is no such folder.")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    jobs = _plan(options)
    reports = []
    # As Ctrl-C: no half file is left.
    as_interrupted = on_sigterm(signal.default_int_handler)
    with as_interrupted, _limit(options.max_megapixels):
        try:
            for report in _reports(jobs, options):
                reports.append(report)
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
    if options.json is not None:
        with written_beside(options.json) as partial:
            rows = [asdict(report) for report in reports]
            partial.write_text(json.dumps(rows, indent=2) + "\n")
    failed = sum(report.status == "failed" for report in reports)
    if failed and len(jobs) > 1:
        say(f"{failed} of {len(jobs)} files failed")
    if interrupted:
        done = sum(report.status == "done" for report in reports)
        say(
            f"interrupted: {done} of {len(jobs)} files are done, the others "
            "untouched; the same command"
            f"{'' if options.ray else ' with --skip-existing'} goes on"
        )
        return 130
    return int(failed > 0)


def _plan(options):
    if not options.ray:
        for name in ("workers", "manifest"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name} is for work with --ray.")
        return plan_jobs(
            options.inputs, options.output, compare=options.compare
        )
    if options.compare:
        raise ValueError("--compare is not available with --ray.")
    return plan_remote_jobs(options.inputs, options.output)


def _reports(jobs, options) -> Iterator[Report]:
    """Does the work, and says what is done."""
    if options.ray:
        yield from _ray_reports(jobs, options)
        return
    checks = [check_job(j, options.force, options.skip_existing) for j in jobs]
    if options.dry_run:
        for report in checks:
            _show(report)
            yield report
        return
    deblurrer = None
    with _progress(len(jobs)) as (advance, tiles):
        for job, report in zip(jobs, checks, strict=True):
            if report.status == "planned":
                # Not before: without work no model is needed.
                deblurrer = deblurrer or Deblurrer(
                    load_network(options),
                    ensemble=options.ensemble,
                    multi_scale=options.multi_scale,
                    tile=options.tile,
                    overlap=options.overlap,
                )
                report = run_job(
                    job,
                    deblurrer,
                    options.quality,
                    options.force,
                    options.skip_existing,
                    tiles,
                )
            advance()
            _show(report)
            yield report


def _ray_reports(jobs, options):
    record = Manifest.of(options.output, options.manifest)
    choice = options.force, options.skip_existing
    # The default network is wherever the package is.
    is_default = options.model is None and options.preset == DEFAULT_PRESET
    if options.dry_run:
        reports = (record.check(job, *choice) for job in jobs)
    else:
        reports = deblur_jobs_on_ray(
            jobs,
            record,
            None if is_default else load_model(options),
            workers=options.workers,
            quality=options.quality,
            force=options.force,
            skip_existing=options.skip_existing,
            dtype=options.dtype,
            ensemble=options.ensemble,
            multi_scale=options.multi_scale,
            tile=options.tile,
            overlap=options.overlap,
        )
    with _progress(len(jobs)) as (advance, _):
        for report in reports:
            advance()
            _show(report)
            yield report


def _show(report):
    for note in report.notes:
        say(f"note: {report.source}: {note}")
    if report.error is not None:
        say(f"error: {report.error}")
    elif report.status == "skipped":
        say(f"skipped: {report.target} exists already")
    elif report.status == "planned":
        print(printable(f"{report.source} -> {report.target}"))
    else:
        print(printable(report.target))


@contextlib.contextmanager
def _progress(count) -> Iterator[tuple[Callable, Callable]]:
    """A bar for the files, one for tiles of a picture or frames of a video."""
    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        # Names of files may go into a pipe while the bar is on the screen.
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        files = progress.add_task("Deblurring", total=count)
        tiles = progress.add_task("This file", total=None, visible=False)

        def show_tiles(done, total):
            progress.update(
                tiles, completed=done, total=total, visible=1 < total > done
            )

        yield lambda: progress.advance(files), show_tiles


@contextlib.contextmanager
def _limit(megapixels):
    """Pillow's own guard against small files that claim to be huge."""
    before = Image.MAX_IMAGE_PIXELS
    if megapixels is not None:
        Image.MAX_IMAGE_PIXELS = megapixels * 1e6 / 2  # an error at twice this
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
