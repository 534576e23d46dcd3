import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

from keras_radn.cli import (
    ablate,
    benchmark,
    build_ops,
    deblur,
    demo,
    evaluate,
    export,
    info,
    models,
    serve,
    train,
    visualize,
)
from keras_radn.cli.messages import unfailing_output


@unfailing_output()
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: words of the command; `None` takes those of the process.

    Returns:
        Exit status: 0 if all went well, 1 if something failed, 2 for a wrong
        command line, 130 if interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="keras-radn",
        description="Removes motion blur from photographs.",
    )
    parser.add_argument(
        "--version", action="version", version=version("keras-radn")
    )
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    for command in (
        deblur,
        info,
        models,
        train,
        evaluate,
        ablate,
        export,
        serve,
        demo,
        benchmark,
        build_ops,
        visualize,
    ):
        command.add_parser(commands)
    options = parser.parse_args(arguments)
    # Its warnings are for developers.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        return options.run(options)
    # What the package raises for bad input is one clear sentence.
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"keras-radn: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("keras-radn: interrupted", file=sys.stderr)
        return 130
