import argparse
import contextlib
import json
import logging
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from keras_radn.cli.messages import (
    CommandLineError,
    in_options,
    printable,
    say,
)
from keras_radn.cli.network_options import (
    add_dtype_argument,
    add_ensemble_arguments,
    add_model_arguments,
    make_deblurrer,
)
from keras_radn.cli.option_types import integer, number, tile_side
from keras_radn.cli.output_files import require_folders
from keras_radn.files import written_beside
from keras_radn.system.interruption import on_sigterm

if TYPE_CHECKING:
    from keras_radn.inference import Report


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn deblur`."""
    parser = commands.add_parser(
        "deblur",
        help="deblur photographs and videos",
        description="Deblurs image and video files. A file that fails does not "
        "keep the others from being done; the exit status is then 1.",
    )
    _add_file_arguments(parser)
    add_model_arguments(parser)
    add_dtype_argument(parser)
    add_ensemble_arguments(parser)
    _add_tile_arguments(parser)
    _add_output_arguments(parser)
    _add_cluster_arguments(parser)
    parser.set_defaults(check=check, run=run)


def _add_file_arguments(parser):
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


def _add_tile_arguments(parser):
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


def _add_output_arguments(parser):
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
        "--max-megapixels",
        type=number(0.001),
        metavar="N",
        help="refuse files that claim to be larger (default: 179)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what would be written",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write a report, too"
    )


def _add_cluster_arguments(parser):
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


def check(options: argparse.Namespace) -> None:
    """Refuses options that do not go together.

    Raises:
        CommandLineError: if they do not.
        FileNotFoundError: if there is no folder for the report.
    """
    from keras_radn.inference.tiling import aligned_tile

    require_folders(options.json)
    try:
        aligned_tile(options.tile, options.overlap)
    except ValueError as error:
        raise CommandLineError(str(error)) from error
    if options.ray and options.compare:
        raise CommandLineError("--compare is not available with --ray.")
    for name in ("workers", "manifest"):
        if getattr(options, name) is not None and not options.ray:
            raise CommandLineError(f"--{name} is for work with --ray.")


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn deblur`; see `main` for the exit status."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    reports, interrupted = [], False
    # Handled as Ctrl-C, so that no half-written file is left.
    as_interrupted = on_sigterm(signal.default_int_handler)
    bars = _Progress(hidden=options.dry_run)
    with as_interrupted, _limit(options.max_megapixels):
        try:
            with bars:
                for report in _deblur(options, bars):
                    if report.error is not None:
                        report.error = in_options(report.error, options)
                    _show(report)
                    reports.append(report)
        except KeyboardInterrupt:
            interrupted = True
    if options.json is not None:
        with written_beside(options.json) as partial:
            rows = [asdict(report) for report in reports]
            partial.write_text(json.dumps(rows, indent=2) + "\n")
    failed = sum(report.status == "failed" for report in reports)
    if failed and bars.files > 1:
        say(f"{failed} of {bars.files} files failed")
    if interrupted:
        done = sum(report.status == "done" for report in reports)
        others = "all files are"
        if bars.files:
            others = f"{done} of {bars.files} files are done, the others"
        say(
            f"interrupted: {others} untouched; the same command"
            f"{'' if options.ray else ' with --skip-existing'} goes on"
        )
        return 130
    return int(failed > 0)


def _deblur(options, progress) -> "Iterator[Report]":
    from keras_radn.inference import deblur_files, deblur_on_ray

    arguments = {
        "quality": options.quality,
        "force": options.force,
        "skip_existing": options.skip_existing,
        "dry_run": options.dry_run,
        "progress": progress,
    }
    if not options.dry_run:
        arguments["model"] = make_deblurrer(options, options.overlap)
    if options.ray:
        arguments |= {"workers": options.workers, "manifest": options.manifest}
        return deblur_on_ray(options.inputs, options.output, **arguments)
    arguments["compare"] = options.compare
    return deblur_files(options.inputs, options.output, **arguments)


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


class _Progress:
    """A bar for the files, one for tiles of a picture or frames of a video.

    Attributes:
        files: how many there are.
    """

    def __init__(self, hidden):
        from rich.console import Console
        from rich.progress import (
            MofNCompleteColumn,
            Progress,
            TimeRemainingColumn,
        )

        self.files = 0
        console = Console(stderr=True)
        self._bars = Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=hidden or not console.is_terminal,
            # Names of files may go into a pipe while the bar is on the screen.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._all = self._bars.add_task("Deblurring", total=None)
        self._one = self._bars.add_task("This file", total=None, visible=False)

    def __enter__(self):
        self._bars.start()
        return self

    def __exit__(self, *_):
        self._bars.stop()

    def __call__(self, files_done, files, done, total):
        self.files = files
        self._bars.update(self._all, completed=files_done, total=files)
        self._bars.update(
            self._one,
            completed=done,
            total=total,
            visible=1 < total > done,
        )


@contextlib.contextmanager
def _limit(megapixels) -> Iterator[None]:
    """Has Pillow refuse files that claim to have more megapixels."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    if megapixels is not None:
        Image.MAX_IMAGE_PIXELS = megapixels * 1e6 / 2  # an error at twice this
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
