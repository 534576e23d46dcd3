"""The library has CUDA kernels, and loads without a GPU."""

import os
import pathlib
import shutil
import struct
import subprocess
import sys

import pytest

from keras_radn.ops.library import load

OPS = pathlib.Path(__file__).parents[2] / "custom_ops"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake"),
]


def configure(folder, *options, **environment):
    return subprocess.run(
        [
            *("cmake", "-S", OPS, "-B", folder, *options),
            f"-DPython_EXECUTABLE={sys.executable}",
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def library():
    """The installed library, which has CUDA kernels wherever there is nvcc."""
    if shutil.which("nvcc") is None:
        pytest.skip("needs nvcc")
    installed = load()
    assert installed.cuda is not None
    return installed.path


def test_kernels_are_registered(library):
    """The process sees no GPU and may not have a driver."""
    program = """
import sys
import tensorflow as tf
from tensorflow.python.framework import kernels

tf.load_op_library(sys.argv[1])
for name in sys.argv[2:]:
    registered = kernels.get_registered_kernels_for_op("KerasRadn>" + name)
    for kernel in registered.kernel:
        if kernel.device_type == "GPU":
            types = {
                constraint.name: tf.dtypes.as_dtype(
                    constraint.allowed_values.list.type[0]
                ).name
                for constraint in kernel.constraint
            }
            print(name, types["T"], types["Tcoord"], *kernel.host_memory_arg)
"""
    names = [
        f"Deformable{name}"
        for name in ("Sum", "SumGrad", "Columns", "ColumnsGrad")
    ]
    result = subprocess.run(
        [sys.executable, "-c", program, library, *names],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = {
        f"{name} {dtype} float32" + " first_row" * ("Columns" in name)
        for name in names
        for dtype in ("float16", "bfloat16", "float32")
    }
    assert set(result.stdout.splitlines()) == expected


def fat_binary(library):
    """Yields ("elf" or "ptx", compute capability) for all embedded code.

    The container is not documented, but has not changed since CUDA 5: a header
    of 16 bytes for each translation unit, then entries, each with a header that
    holds its own size, the size of its content, the kind and the capability.
    """
    data = library.read_bytes()
    magic, start = b"\x50\xed\x55\xba\x01\x00\x10\x00", 0
    while (start := data.find(magic, start)) >= 0:
        (size,) = struct.unpack_from("<Q", data, start + 8)
        entry = start + 16
        end = start = entry + size
        while entry < end:
            kind, _, header, payload = struct.unpack_from("<HHIQ", data, entry)
            (capability,) = struct.unpack_from("<I", data, entry + 28)
            yield {1: "ptx", 2: "elf"}.get(kind, kind), capability
            entry += header + payload


def test_machine_code(library):
    """There is code for each GPU since Volta, and PTX for later ones."""
    listing = subprocess.run(
        ["nvcc", "--list-gpu-code"], capture_output=True, text=True, check=True
    )
    known = sorted(int(code[3:]) for code in listing.stdout.split())
    expected = [code for code in known if code >= 70]
    embedded = set(fat_binary(library))
    assert {code for kind, code in embedded if kind == "elf"} == set(expected)
    assert {code for kind, code in embedded if kind == "ptx"} == {expected[-1]}


def test_no_cuda_symbols_are_exchanged(library):
    """TensorFlow loads a CUDA runtime of another version."""
    symbols = subprocess.run(
        ["nm", "-D", library], capture_output=True, text=True, check=True
    ).stdout
    assert "cuda" not in symbols.lower()
    needed = subprocess.run(
        ["readelf", "-d", library], capture_output=True, text=True, check=True
    ).stdout
    assert "libtensorflow_framework" in needed
    assert "libcuda" not in needed


def test_error_without_toolkit(tmp_path):
    """Without a toolkit, the build fails only if CUDA was asked for."""
    nowhere = tmp_path / "nowhere"
    environment = {
        "PATH": os.pathsep.join(
            folder
            for folder in os.environ["PATH"].split(os.pathsep)
            if not (pathlib.Path(folder) / "nvcc").exists()
        ),
        "CUDACXX": str(nowhere / "bin" / "nvcc"),
        "CUDAToolkit_ROOT": str(nowhere),
    }
    # The folder of nvcc may have been that of CMake as well.
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("cmake", "make", "ninja"):
        if path := shutil.which(tool):
            (tools / tool).symlink_to(path)
    environment["PATH"] += f"{os.pathsep}{tools}"

    result = configure(tmp_path / "on", "-DKERAS_RADN_CUDA=ON", **environment)
    assert result.returncode != 0
    message = " ".join(result.stderr.split())
    assert (
        "KERAS_RADN_CUDA is ON, but no CUDA toolkit was found. Put nvcc on "
        "PATH, or name the toolkit's folder in CUDAToolkit_ROOT." in message
    )

    result = configure(
        tmp_path / "auto", "-DKERAS_RADN_CUDA=AUTO", **environment
    )
    assert result.returncode == 0, result.stderr
    assert "CPU kernels only, for no CUDA toolkit was found" in result.stdout
