"""What `keras-radn info` says about GPUs, for made-up drivers."""

import ctypes
import dataclasses
import shutil
import subprocess

import pytest

from keras_radn import gpu
from keras_radn.cli.main import main
from keras_radn.gpu import Backend, Driver, Kernels

HOPPER = ("NVIDIA H200", (9, 0))
DRIVER = Driver((13, 0), [HOPPER])
BACKEND = Backend("TensorFlow 2.21.0", (12, 5), 1, "`pip install it`")
KERNELS = Kernels((13, 0), [(7, 5), (8, 0), (8, 6), (9, 0)])


class Library:
    """A driver's library, whose functions fill in their arguments."""

    def __init__(self, version, gpus=(), status=0):
        self.version, self.gpus, self.status = version, gpus, status

    def cuDriverGetVersion(self, number):  # noqa: N802
        number._obj.value = self.version
        return 0

    def cuInit(self, flags):  # noqa: N802
        assert flags == 0
        return self.status

    def cuGetErrorString(self, status, text):  # noqa: N802
        text._obj.value = b"no CUDA-capable device is detected"
        return 0

    def cuDeviceGetCount(self, number):  # noqa: N802
        number._obj.value = len(self.gpus)
        return 0

    def cuDeviceGetName(self, buffer, length, index):  # noqa: N802
        name = self.gpus[index][0].encode()
        assert length > len(name)
        buffer.value = name
        return 0

    def cuDeviceGetAttribute(self, number, attribute, index):  # noqa: N802
        # As in CUDA's cuda.h.
        number._obj.value = self.gpus[index][1][{75: 0, 76: 1}[attribute]]
        return 0


def no_library(name):
    assert name == "libcuda.so.1"
    raise OSError(f"{name}: cannot open shared object file")


def test_driver_answers():
    library = Library(12040, [HOPPER, ("NVIDIA L4", (8, 9))])
    assert gpu.read_driver(lambda name: library) == Driver(
        (12, 4), [HOPPER, ("NVIDIA L4", (8, 9))]
    )


@pytest.mark.parametrize(
    ("load", "text"),
    [
        (no_library, "none; no NVIDIA driver was found (libcuda.so.1)"),
        (
            lambda name: Library(13000, status=100),
            "none; the driver finds no GPU (error 100, no CUDA-capable device "
            "is detected); look whether nvidia-smi shows it",
        ),
        (lambda name: Library(13000), "none; the driver finds no GPU"),
    ],
)
def test_no_gpu(load, text):
    assert gpu.describe(gpu.read_driver(load), None, None).startswith(text)


def test_nothing_is_missing():
    assert gpu.describe(DRIVER, BACKEND, KERNELS) == (
        "NVIDIA H200 (compute capability 9.0); driver for CUDA 13.0; nothing "
        "is missing"
    )
    # Other backends have no compiled op.
    assert gpu.describe(DRIVER, BACKEND, None).endswith("nothing is missing")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"backend": {"cuda": None, "gpus": 0}},
            "TensorFlow 2.21.0 is built without CUDA: `pip install it`",
        ),
        (
            {"backend": {"cuda": (13, 0)}, "driver": {"cuda": (12, 4)},
             "kernels": {"cuda": (12, 8)}},
            "TensorFlow 2.21.0 is built for CUDA 13.0, which is newer than the "
            "driver: install a newer driver, or the backend for CUDA 12",
        ),
        (
            {"backend": {"gpus": 0}},
            "TensorFlow 2.21.0 sees no GPU, probably for want of CUDA's "
            "libraries: `pip install it`, and look whether "
            "CUDA_VISIBLE_DEVICES hides it",
        ),
        (
            {"kernels": {"cuda": None, "targets": ()}},
            "the compiled op has no CUDA kernels: put nvcc (CUDA 12 or newer) "
            "on PATH and run `keras-radn build-ops --cuda on`",
        ),
        (
            {"driver": {"cuda": (12, 4)}},
            "the compiled op is built with CUDA 13.0, which is newer than the "
            "driver: install a newer driver, or run `keras-radn build-ops "
            "--cuda on` with CUDA 12",
        ),
        (
            {"driver": {"gpus": [("Tesla V100", (7, 0))]}},
            "the compiled op has machine code from compute capability 7.5 on, "
            "and not for Tesla V100: run `keras-radn build-ops --cuda on` with "
            "a CUDA toolkit that knows this GPU",
        ),
    ],
)  # fmt: skip
def test_what_is_missing(changes, text):
    answers = [
        dataclasses.replace(answer, **changes.get(name, {}))
        for name, answer in (
            ("driver", DRIVER), ("backend", BACKEND), ("kernels", KERNELS)
        )
    ]  # fmt: skip
    assert gpu.describe(*answers).split("; ")[2:] == [text]


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        ((7, 0), False),
        ((7, 5), True),
        ((8, 0), True),
        ((8, 9), True),  # by the code for 8.6
        ((9, 0), True),
        ((12, 0), True),  # by PTX
    ],
)
def test_which_gpus_run_the_kernels(capability, runs):
    assert KERNELS.run_on(capability) is runs


def test_one_target():
    kernels = Kernels((13, 0), [(9, 0)])
    assert not kernels.run_on((8, 9))
    assert kernels.run_on((10, 0))


def test_this_backend():
    backend = gpu.read_backend()
    assert backend.name.startswith("TensorFlow 2.")
    assert backend.gpus >= 0


def test_info_shows_it(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "read_driver", lambda: Driver((13, 0), [HOPPER]))
    monkeypatch.setattr(
        gpu, "read_backend", lambda: dataclasses.replace(BACKEND, gpus=0)
    )
    assert main(["info"]) == 0
    [line] = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("GPU:")
    ]
    assert "NVIDIA H200 (compute capability 9.0); driver for CUDA 13" in line
    assert "TensorFlow 2.21.0 sees no GPU" in line


@pytest.mark.parametrize(
    ("text", "kernels"),
    [
        (None, Kernels()),
        ("13000 750,800,1210", Kernels((13, 0), [(7, 5), (8, 0), (12, 1)])),
    ],
)
def test_what_the_library_says(text, kernels, monkeypatch):
    class State:
        ops, cuda = object(), text

    monkeypatch.setattr("keras_radn.ops.library.load", State)
    assert gpu.read_kernels() == kernels


def test_a_real_function_can_be_asked(tmp_path):
    """ctypes has rules that the made-up library does not check."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    source = tmp_path / "cuda.c"
    source.write_text("""
#include <string.h>
int cuDriverGetVersion(int* version) { *version = 12040; return 0; }
int cuInit(unsigned flags) { return flags; }
int cuDeviceGetCount(int* count) { *count = 1; return 0; }
int cuDeviceGetName(char* name, int size, int device) {
  strncpy(name, "NVIDIA H200", size);
  return device;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 75 ? 9 : 0;
  return device;
}
""")
    path = tmp_path / "cuda.so"
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", path], check=True)
    answer = gpu.read_driver(lambda name: ctypes.CDLL(str(path)))
    assert answer == Driver((12, 4), [HOPPER])
