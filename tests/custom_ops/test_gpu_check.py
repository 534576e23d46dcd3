"""`gpu_check`: its source on the host, and the program without a GPU."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

OPS = Path(__file__).parents[2] / "custom_ops"
KERNELS = OPS / "src" / "cuda" / "kernels.cu.cc"
FLAGS = (
    *("-std=c++17", "-O1", "-fno-strict-aliasing", "-Wall", "-Wextra"),
    *("-Werror", "-Wno-unknown-pragmas", "-fsanitize=undefined"),
    "-fno-sanitize-recover=all",
    *(f"-I{OPS / 'tests' / 'cuda_on_host'}", f"-I{OPS / 'src'}"),
)


def run(*command, **environment):
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def compiled(source, folder):
    target = folder / f"{source.name}.o"
    done = run("g++", *FLAGS, "-x", "c++", "-c", source, "-o", target)
    assert done.returncode == 0, done.stderr
    return target


def linked(objects, folder):
    program = folder / "gpu_check"
    done = run("g++", "-fsanitize=undefined", *objects, "-o", program)
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Compiles everything but the kernels with the stand-ins for CUDA."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("objects")
    sources = sorted((OPS / "gpu_check").glob("*.cc"))
    return [compiled(source, folder) for source in sources]


@pytest.fixture(scope="module")
def on_host(objects, tmp_path_factory):
    folder = tmp_path_factory.mktemp("on_host")
    return linked([*objects, compiled(KERNELS, folder)], folder)


@pytest.mark.slow
def test_kernels_hold_on_the_host(on_host):
    done = run(on_host, "--small", "--configurations", "500")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith("no GPU, but the host (compute capability 9.0)")
    assert second == "500 configurations, 0 differ"
    rows = re.findall(
        r"^\| 5x6, 16 to 8 \| (\w+) \| (\w+) \|", done.stdout, re.M
    )
    assert rows == [
        (dtype, direction)
        for dtype in ("float32", "float16", "bfloat16")
        for direction in ("forward", "backward")
    ]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("has_low ? 1.0f - fraction", "has_low ? fraction", "forward"),
        ("low + 1 < end", "low < end", "beside the tensor|forward"),
        ("finite && low >= -1", "low >= -1", "forward"),
        ("gridDim.x * int64_t{blockDim.x}", "1 << 30", "forward"),
        ("channel += team * kLanes", "channel += 64 * kLanes", "of the map"),
        ("index, by_mask", "index, scale * by_mask", "of the mask"),
        (
            "__float2bfloat16_rn(value)",
            "__float2bfloat16_rn(value * 1.01f)",
            "to bfloat16",
        ),
        ("if (work == 0) return nullptr;", "", "invalid configuration"),
        ("n < count;", "n <= count;", "beside the tensor|error"),
    ],
    ids=str,
)
def test_wrong_kernels_are_found(objects, tmp_path, right, wrong, found):
    text = KERNELS.read_text()
    assert right in text
    source = tmp_path / KERNELS.name
    source.write_text(text.replace(right, wrong))
    check = linked([*objects, compiled(source, tmp_path)], tmp_path)
    done = run(check, "--small")
    assert done.returncode != 0
    assert re.search(found, done.stdout + done.stderr)


@pytest.mark.nightly
def test_a_failure_names_what_reproduces_it(objects, tmp_path):
    source = tmp_path / KERNELS.name
    text = KERNELS.read_text()
    right, wrong = "sample_index, scale * by_y", "sample_index, by_y"
    assert right in text
    source.write_text(text.replace(right, wrong))
    check = linked([*objects, compiled(source, tmp_path)], tmp_path)
    failures = re.findall(
        r"^--small --only (\d+) (\(.*\)): (.*)$",
        run(check, "--small").stdout,
        re.M,
    )
    assert failures
    number, configuration, difference = failures[-1]
    again = run(check, "--small", "--only", number)
    assert again.returncode == 1
    assert configuration in again.stdout
    assert difference in again.stdout
    assert "1 configurations, 1 differ" in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"CUDA_ON_HOST_DRIVER": "0"}, "there is no NVIDIA driver"),
        (
            {"CUDA_ON_HOST_DRIVER": "12040"},
            "the driver supports CUDA 12.4, and this program was built with "
            "CUDA 13.0",
        ),
        ({"CUDA_ON_HOST_DEVICES": "0"}, "the driver finds no GPU"),
    ],
)
def test_nothing_to_run_on(on_host, environment, sentence):
    done = run(on_host, **environment)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"gpu_check: {sentence}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["--fast"], ["--only"], ["--only", "x"], ["--only", "-1"]]
)
def test_wrong_options(on_host, words):
    done = run(on_host, *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Received: " in done.stderr


@pytest.mark.nightly
def test_builds_without_tensorflow_and_python(tmp_path):
    """Without a GPU the program says so in one sentence."""
    if shutil.which("nvcc") is None or shutil.which("cmake") is None:
        pytest.skip("needs nvcc and CMake")
    done = run(
        *("cmake", "-S", OPS / "gpu_check", "-B", tmp_path),
        "-DKERAS_RADN_CUDA_ARCHITECTURES=90",
    )
    assert done.returncode == 0, done.stderr
    assert "Python" not in (tmp_path / "CMakeCache.txt").read_text()
    done = run("cmake", "--build", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # Hidden from the program, should there be one.
    done = run(tmp_path / "gpu_check", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert re.match("gpu_check: (there is no NVIDIA driver|the driver )", line)


def test_error_without_nvcc(tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("needs CMake")
    done = run(
        *("cmake", "-S", OPS / "gpu_check", "-B", tmp_path / "build"),
        f"-DCUDAToolkit_ROOT={tmp_path}",
    )
    assert done.returncode != 0
    assert "gpu_check needs nvcc, but no CUDA toolkit was found" in " ".join(
        done.stderr.split()
    )
