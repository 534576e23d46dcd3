"""Calls the command in the process of the tests."""

import numpy as np
from PIL import Image

from keras_radn.cli.main import main


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def run(capsys, *arguments):
    """Returns the exit status and the lines of stdout and stderr."""
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err.splitlines()
