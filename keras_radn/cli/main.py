import argparse
import logging
import os
import sys
from collections.abc import Sequence

from keras_radn.cli import (
    ablate,
    benchmark,
    build_ops,
    compare,
    convert,
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
from keras_radn.cli.messages import (
    CommandLineError,
    in_options,
    unfailing_output,
)
from keras_radn.keras_setup import import_keras
from keras_radn.system.interruption import leaving_on_interrupt

_INTERRUPTED = "keras-radn: interrupted"
# Commands that train.
_TRAINING = ("train", "ablate")


@unfailing_output()
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: words of the command; `None` takes those of the process.

    Returns:
        Exit status: 0 if all went well, 1 if something failed, 2 for a wrong
        command line, 130 if interrupted.
    """
    try:
        with leaving_on_interrupt(_INTERRUPTED):
            options = command_parser().parse_args(arguments)
            options.check(options)
            _set_up_tensorflow(options.trains)
            import_keras()
            # Its warnings are for developers.
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
        return options.run(options)
    except CommandLineError as error:
        _say_error(error, options)
        return 2
    # What the package raises for bad input is one clear sentence.
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        _say_error(error, options)
        return 1
    except KeyboardInterrupt:
        print(_INTERRUPTED, file=sys.stderr)
        return 130


def _say_error(error, options):
    text = f"keras-radn: error: {in_options(error, options)}"
    print(text, file=sys.stderr)


def _set_up_tensorflow(trains):
    # The command's user did not ask for its start-up messages.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if trains:
        # TensorFlow leaves oneDNN's convolutions off on processors without
        # AVX-512; a training step then takes 2.3 times as long. On large
        # images some take minutes (128 to 128 channels at 640x360).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def command_parser() -> argparse.ArgumentParser:
    """The parser of the command line, with all commands.

    Each sets `check`, which refuses options that do not go together before
    anything is imported for the work, `trains`, `usage`, and `run`.
    """
    parser = argparse.ArgumentParser(
        prog="keras-radn",
        description="Removes motion blur from photographs.",
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    for module in (
        deblur,
        info,
        models,
        train,
        evaluate,
        ablate,
        compare,
        convert,
        export,
        serve,
        demo,
        benchmark,
        build_ops,
        visualize,
    ):
        module.add_parser(commands)
    for name, command in commands.choices.items():
        command.set_defaults(
            trains=name in _TRAINING, usage=command.format_usage
        )
        if command.get_default("check") is None:
            command.set_defaults(check=lambda options: None)
    return parser


class _Version(argparse.Action):
    """Prints the version, which is looked up only when it is asked for."""

    def __init__(self, option_strings, dest):
        super().__init__(
            option_strings,
            argparse.SUPPRESS,
            nargs=0,
            help="show program's version number and exit",
        )

    def __call__(self, parser, namespace, values, option_string=None):
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(version("keras-radn"))
        except PackageNotFoundError:
            parser.error("keras-radn is not installed: pip install .")
        parser.exit()
