"""The arguments of all commands, and the installed command."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_radn.cli.main import command_parser, main
from keras_radn.datasets import motion_blur
from tests.cli.command import pixels


def commands():
    """Returns the parser of each command by its name."""
    return command_parser()._subparsers._group_actions[0].choices


def numbers_with_bounds():
    """Returns each option whose type has bounds, with its command."""
    return [
        (name, action.option_strings[0])
        for name, command in commands().items()
        for action in command._actions
        if getattr(action.type, "__name__", "") == "number"
    ]


@pytest.mark.parametrize("value", ["-1", "nan"])
@pytest.mark.parametrize(("command", "option"), numbers_with_bounds())
def test_numbers_out_of_their_bounds(command, option, value, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, f"{option}={value}"])
    assert exit_.value.code == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert f"argument {option}: " in error
    assert value in error


def test_each_number_has_bounds():
    """No option is parsed as a number without bounds."""
    for command in commands().values():
        for action in command._actions:
            assert action.choices or action.type not in (int, float)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sharpen"],
        ["deblur", "a.png"],
        ["evaluate", "a", "--preset", "lite", "--model", "a.keras"],
    ],
)
def test_wrong_command_line(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: keras-radn" in capsys.readouterr().err


@pytest.mark.slow
def test_installed_command(photo, tmp_path):
    """It uses the packaged weights and writes nothing to stderr."""
    command = Path(sys.executable).with_name("keras-radn")
    picture, target = tmp_path / "photo.png", tmp_path / "sharp.png"
    # What is sharp may stay as it is.
    blurred = motion_blur(photo[64:128, 64:160] / 255, 8, 0.5)
    Image.fromarray(np.rint(255 * blurred).astype("uint8")).save(picture)
    done = subprocess.run(
        [command, "deblur", picture, "-o", target],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{target}\n", "")
    before, after = pixels(picture), pixels(target)
    assert after.shape == before.shape
    assert not np.array_equal(before, after)

    failed = subprocess.run(
        [command, "evaluate", "a", "--csv", "no/a.csv"],
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "no such folder" in failed.stderr
