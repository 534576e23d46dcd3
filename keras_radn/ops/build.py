"""Builds the compiled library again, for the TensorFlow that is installed."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tensorflow as tf

from keras_radn.files import written_beside
from keras_radn.ops import library


def build(cuda: str = "auto") -> Path:
    """Compiles `custom_ops/` and puts the library where the loader finds it.

    An earlier library is replaced only when the new one is complete; processes
    that run keep the earlier one.

    Args:
        cuda: `"auto"` builds the CUDA kernels if there is a CUDA toolkit,
            `"on"` fails without one, `"off"` leaves them out.

    Returns:
        The path of the library.

    Raises:
        FileNotFoundError: if CMake, a C++ compiler or the sources are missing.
        OSError: if the folder cannot be written.
        ChildProcessError: if the build fails; the message has the end of its
            log.
    """
    folder = library.folder()
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"The library belongs in {folder}, which cannot be written. Run "
            "the command as the owner of that folder, or in a virtual "
            "environment of your own."
        )
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / "installed"
        _cmake(
            "-S",
            str(_sources()),
            "-B",
            f"{scratch}/build",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DKERAS_RADN_CUDA={cuda.upper()}",
            f"-DCMAKE_INSTALL_PREFIX={built}",
        )
        # For generators of several configurations; others take no notice.
        release = ("--config", "Release")
        _cmake("--build", f"{scratch}/build", "--parallel", *release)
        _cmake("--install", f"{scratch}/build", "--strip", *release)
        name = library.name(tf.__version__)
        new = built / "keras_radn" / "ops" / name
        if not new.exists():
            raise FileNotFoundError(
                "No C++ compiler was found. Install one (for example "
                "`apt install g++`), or name it in the environment variable "
                "CXX."
            )
        path = folder / name
        _put(new, path)
    return path


def _put(new, path):
    # Whoever loads in between, or after a build that was killed there, finds
    # one of the two libraries and a checksum of it.
    digests = library.checksums(new)
    both = [*digests, *library.checksums(path)]
    _write_checksums(path, both)
    with written_beside(path) as partial:
        shutil.copyfile(new, partial)
    _write_checksums(path, digests)


def _write_checksums(path, digests):
    with written_beside(library.checksum_file(path)) as partial:
        partial.write_text("\n".join(digests) + "\n")


def _sources():
    package = Path(__file__).parents[1]
    # In the source tree, and where an installation keeps a copy.
    for folder in (
        package.parent / "custom_ops",
        library.folder().parent / "custom_ops",
    ):
        if (folder / "CMakeLists.txt").is_file():
            return folder
    raise FileNotFoundError(
        "The sources of the library (custom_ops/) are not installed. Install "
        "keras-radn again."
    )


def _cmake(*arguments):
    cmake = shutil.which("cmake") or shutil.which(
        "cmake", path=Path(sys.executable).parent
    )
    if cmake is None:
        raise FileNotFoundError(
            "CMake was not found. Install it with `pip install cmake`."
        )
    done = subprocess.run(
        [cmake, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        log = "\n".join(done.stdout.strip().splitlines()[-20:])
        raise ChildProcessError(f"The library could not be built:\n{log}")
