import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from keras_radn.cli.model_file import add_model_argument, load_model
from keras_radn.inference import deblur_file
from keras_radn.inference.deblur import MAX_PIXELS


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn deblur`."""
    parser = commands.add_parser(
        "deblur",
        help="deblur photographs",
        description="Deblurs image files. A file that fails does not keep "
        "the others from being done; the exit status is then 1.",
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help="image file")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a folder, or for one input a file with an image suffix",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace existing files"
    )
    add_model_argument(parser)
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="the mean over 8 orientations (Final+): a little better, 8 times "
        "slower",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_PIXELS / 1e6,
        metavar="N",
        help="refuse larger images before they fill the memory "
        "(default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn deblur`; see `main` for the exit status."""
    targets = _targets([Path(path) for path in options.inputs], options.output)
    model = None
    if any(source.is_file() for source, _ in targets):  # else fail at once
        model = load_model(options.model)
    console = Console(stderr=True)
    failed = 0
    progress = Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        # Names of files may go into a pipe while the bar is on the screen.
        redirect_stdout=sys.stdout.isatty(),
    )
    with progress:
        for source, target in progress.track(targets, description="Deblurring"):
            try:
                deblur_file(
                    source,
                    target,
                    model,
                    force=options.force,
                    max_pixels=round(options.max_megapixels * 1e6),
                    ensemble=options.ensemble,
                )
                print(target)
            except (ValueError, OSError) as error:
                failed += 1
                print(f"keras-radn: error: {error}", file=sys.stderr)
    if failed and len(targets) > 1:
        print(
            f"keras-radn: {failed} of {len(targets)} files failed",
            file=sys.stderr,
        )
    return int(failed > 0)


def _targets(sources, output):
    output = Path(output)
    if output.suffix and not output.is_dir():
        if len(sources) > 1:
            raise ValueError(
                f"{output}: is one file for {len(sources)} inputs; give a "
                "folder."
            )
        return [(sources[0], output)]
    targets = [output / source.name for source in sources]
    for target in targets:
        if targets.count(target) > 1:
            raise ValueError(
                f"{target}: would be written by two inputs of the same name; "
                "deblur them into different folders."
            )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{output}: the folder cannot be made: {error.strerror}."
        ) from error
    return list(zip(sources, targets, strict=True))
