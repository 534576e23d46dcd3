"""Logs of training runs."""

import numpy as np
import pytest


def read_log(run):
    return np.genfromtxt(run / "log.csv", delimiter=",", names=True)


# The log of an interrupted run is closed by the garbage collector.
interrupts = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
