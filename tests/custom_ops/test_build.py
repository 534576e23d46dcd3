"""Builds with CMake as users, packagers and CI run them."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import tensorflow as tf

from keras_radn import RADN
from keras_radn.cli.main import main
from keras_radn.files import written_beside
from keras_radn.models.packaged_weights import packaged_presets
from keras_radn.ops import build, library

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "custom_ops"


def run(*command, **environment):
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def preloaded(compiler, *names):
    return " ".join(
        run(compiler, f"-print-file-name={name}").strip() for name in names
    )


def problem_of(folder):
    """Returns what a new process says about the library in a folder."""
    code = (
        "from pathlib import Path\n"
        "from keras_radn.ops import library\n"
        f"library.folder = lambda: Path({str(folder)!r})\n"
        "print(library.load().problem)"
    )
    return run(sys.executable, "-c", code).splitlines()[-1]


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """The folder of a library that was built with sanitizers."""
    folder = tmp_path_factory.mktemp("sanitized")
    run(
        "cmake",
        *("-S", SOURCES, "-B", folder / "build"),
        f"-DPython_EXECUTABLE={sys.executable}",
        *("-DKERAS_RADN_SANITIZE=ON", "-DKERAS_RADN_CUDA=OFF"),
    )
    run("cmake", "--build", folder / "build", "--parallel", "2")
    run("cmake", "--install", folder / "build", "--prefix", folder)
    library_folder = folder / "keras_radn" / "ops"
    content = (library_folder / library.name(tf.__version__)).read_bytes()
    assert b"__asan_report_load" in content
    assert b"__ubsan_handle" in content
    return library_folder


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="preloads libasan")
@pytest.mark.parametrize(("cpu", "cases"), [("best", 1000), ("portable", 300)])
def test_fuzz_under_sanitizers(sanitized, cpu, cases):
    printed = run(
        *(sys.executable, "-m", "tests.ops.fuzz", "--alone", "--cases", cases),
        *("--library", sanitized),
        # The C++ library too, for it must be there before exceptions are.
        LD_PRELOAD=preloaded("g++", "libasan.so", "libstdc++.so.6"),
        ASAN_OPTIONS="detect_leaks=0",  # Python's own
        KERAS_RADN_CPU=cpu if cpu != "best" else "",
    )
    assert f"{cases} cases passed" in printed
    expected = cpu if cpu != "best" else library.load().instruction_set
    assert printed.splitlines().count(expected) == 1


@pytest.mark.nightly
def test_build_ops_writes_what_the_loader_finds(tmp_path, monkeypatch, capsys):
    (tmp_path / "ops").mkdir()
    monkeypatch.setattr(library, "folder", lambda: tmp_path / "ops")
    path = build.build(cuda="off")
    assert path == tmp_path / "ops" / library.name(tf.__version__)
    assert problem_of(path.parent) == "None"
    assert not list(path.parent.glob("*.partial"))


@pytest.mark.parametrize("killed_after", [1, 2, 3])
@pytest.mark.parametrize("earlier", [True, False])
def test_a_build_that_is_killed(earlier, killed_after, tmp_path, monkeypatch):
    """At any time, the library in place has its checksum beside it."""
    new = tmp_path / "new" / library.name(tf.__version__)
    path = tmp_path / "ops" / new.name
    for file in (new, path) if earlier else (new,):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(file.parent.name.encode())
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        library.checksum_file(file).write_text(digest + "\n")
    path.parent.mkdir(exist_ok=True)
    written = []

    @contextlib.contextmanager
    def killed(target):
        if len(written) == killed_after:
            raise KeyboardInterrupt
        with written_beside(target) as partial:
            yield partial
        written.append(target)

    monkeypatch.setattr(build, "written_beside", killed)
    with contextlib.suppress(KeyboardInterrupt):
        build._put(new, path)
    assert len(written) == killed_after
    assert path.exists() or killed_after == 1
    if path.exists():
        assert library._problem_of_file(path) is None
    # The next one cleans up.
    monkeypatch.undo()
    build._put(new, path)
    assert path.read_bytes() == b"new"
    assert library.checksums(path) == library.checksums(new)


@pytest.fixture
def without_compiler(tmp_path, monkeypatch):
    """A PATH with CMake and its generator but without a compiler."""
    for tool in ("cmake", "make", "ninja", "uname", "ldd"):
        if shutil.which(tool):
            (tmp_path / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)


def test_without_compiler_the_package_still_installs(
    without_compiler, tmp_path
):
    printed = run(
        "cmake",
        *("-S", SOURCES, "-B", tmp_path / "build"),
        f"-DPython_EXECUTABLE={sys.executable}",
    )
    assert "no C++ compiler was found" in printed
    assert "keras-radn build-ops" in printed
    prefix = tmp_path / "installed"
    run("cmake", "--install", tmp_path / "build", "--prefix", prefix)
    assert not list(prefix.rglob("*.so"))
    # What `keras-radn build-ops` needs later.
    copy = prefix / "keras_radn" / "custom_ops"
    for path in (*SOURCES.glob("src/**/*.*"), SOURCES / "CMakeLists.txt"):
        assert (copy / path.relative_to(SOURCES)).is_file()


def test_build_ops_without_compiler(
    without_compiler, tmp_path, monkeypatch, capsys
):
    (tmp_path / "ops").mkdir()
    monkeypatch.setattr(library, "folder", lambda: tmp_path / "ops")
    assert main(["build-ops"]) == 1
    assert "No C++ compiler was found" in capsys.readouterr().err
    assert not list((tmp_path / "ops").iterdir())


def test_build_ops_without_cmake(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(library, "folder", lambda: tmp_path)
    assert main(["build-ops"]) == 1
    assert "pip install cmake" in capsys.readouterr().err


def test_build_ops_with_a_broken_source(monkeypatch, tmp_path, capsys):
    broken = tmp_path / "custom_ops"
    broken.mkdir()
    (broken / "CMakeLists.txt").write_text("cmake_minimum_required(wrong)")
    monkeypatch.setattr(build, "_sources", lambda: broken)
    monkeypatch.setattr(library, "folder", lambda: tmp_path)
    assert main(["build-ops"]) == 1
    assert "could not be built" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("generator", ["Ninja", "Ninja Multi-Config"])
@pytest.mark.skipif(not shutil.which("ninja"), reason="needs Ninja")
def test_build_ops_with_the_users_generator(generator, monkeypatch, tmp_path):
    """The build is optimized under multi-config generators, too."""
    name = library.name(tf.__version__)
    sources = tmp_path / "custom_ops"
    sources.mkdir()
    (sources / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.24)\n"
        "project(small LANGUAGES CXX)\n"
        "if(NOT CMAKE_BUILD_TYPE)\n"
        "  set(CMAKE_BUILD_TYPE Release)\n"
        "endif()\n"
        "add_library(small MODULE small.cc)\n"
        "set_target_properties(small PROPERTIES\n"
        f'  OUTPUT_NAME "{name}" PREFIX "" SUFFIX "")\n'
        "install(TARGETS small DESTINATION keras_radn/ops)\n"
    )
    (sources / "small.cc").write_text("#ifndef NDEBUG\n#error\n#endif\n")
    monkeypatch.setenv("CMAKE_GENERATOR", generator)
    monkeypatch.setattr(build, "_sources", lambda: sources)
    monkeypatch.setattr(library, "folder", lambda: tmp_path)
    monkeypatch.setattr(build, "_put", shutil.copyfile)
    assert build.build(cuda="off") == tmp_path / name
    assert (tmp_path / name).is_file()


def test_build_requirements_fit_the_pin():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = [
        requirement.partition(";")[0].strip()
        for requirement in project["build-system"]["requires"]
        if requirement.startswith("tensorflow")
    ]
    runtime = "tensorflow>=2.21,<2.22"
    assert runtime in project["project"]["dependencies"]
    assert set(pins) == {"tensorflow-cpu==2.21.*", "tensorflow==2.21.*"}


@pytest.mark.nightly
def test_wheel_from_sdist(tmp_path):
    """The wheel is built in isolation, as `pip install` of a release does it.

    It has no CUDA kernels; the library of the environment has them.
    """
    # A clean copy: an sdist takes what is in the folder.
    source = tmp_path / "source"
    names = run("git", "-C", ROOT, "ls-files", "-co", "--exclude-standard")
    for name in names.splitlines():
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    run(
        *(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", source),
        SKBUILD_CMAKE_ARGS="-DKERAS_RADN_CUDA=OFF",
    )
    [wheel] = tmp_path.glob("dist/*.whl")
    assert list(tmp_path.glob("dist/*.tar.gz"))
    files = zipfile.ZipFile(wheel).namelist()
    name = f"keras_radn/ops/{library.name(tf.__version__)}"
    assert {name, f"{name}.sha256"} <= set(files)
    assert "keras_radn/custom_ops/CMakeLists.txt" in files
    for preset in packaged_presets(RADN):
        weights = RADN.presets[preset]["weights"]["file"]
        assert f"keras_radn/models/data/{weights}" in files
    assert not any(
        file.startswith("keras_radn/custom_ops/tests") for file in files
    )
    assert "py3-none-" in wheel.name
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    installed = tmp_path / "installed" / "keras_radn" / "ops"
    assert problem_of(installed) == "None"
