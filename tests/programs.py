"""Programs that some tests need."""

import os
import shutil

import pytest


def require(name: str, reason: str) -> str:
    """Returns a program's path; a test without it fails in CI, else skips."""
    path = shutil.which(name)
    if path is None:
        message = f"{reason}: apt-get install {name}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
