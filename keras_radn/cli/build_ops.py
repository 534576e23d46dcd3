import argparse
import subprocess
import sys


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds `keras-radn build-ops`."""
    parser = commands.add_parser(
        "build-ops",
        help="compile the deformable convolution for the TensorFlow at hand",
        description="Compiles the deformable convolution for the TensorFlow "
        "that is installed, after TensorFlow or the compiler has changed. "
        "Needs CMake and a C++ compiler.",
    )
    parser.add_argument(
        "--cuda",
        choices=("auto", "on", "off"),
        default="auto",
        help="CUDA kernels: if there is a CUDA toolkit (the default), always, "
        "or never",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs `keras-radn build-ops`; see `main` for the exit status."""
    from keras_radn.ops import backend

    backend.require_tensorflow("The compiled deformable convolution")
    from keras_radn.ops import build

    print("Compiling, which takes a minute or so", file=sys.stderr)
    path = build.build(options.cuda)
    # In a new process, for this one may have loaded the earlier library.
    check = "from keras_radn.ops import library; print(library.load().problem)"
    problem = subprocess.run(
        [sys.executable, "-c", check],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout.strip()
    if problem != "None":
        raise OSError(f"{path} was built, but it {problem}.")
    print(path)
    return 0
