"""What the driver, the backend and the compiled op say about the GPUs."""

import ctypes
import dataclasses
from collections.abc import Callable, Sequence

from keras_radn.ops import backend

_NO_DRIVER = (
    "no NVIDIA driver was found (libcuda.so.1); if there is a GPU, install its "
    "driver"
)
# Attributes of cuDeviceGetAttribute: the parts of the compute capability.
_MAJOR, _MINOR = 75, 76

Version = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Driver:
    """What the driver answers.

    Attributes:
        cuda: the newest CUDA that it supports, or `None` if it does not load.
        gpus: name and compute capability of each GPU.
        problem: why there are none, as a part of a sentence, or `None`.
    """

    cuda: Version | None = None
    gpus: Sequence[tuple[str, Version]] = ()
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Backend:
    """What the backend of Keras says of itself.

    Attributes:
        name: as people write it, with its version.
        cuda: for which it was built, as far as it says so, or `None`.
        gpus: how many it sees.
        install: the command that installs it for GPUs.
    """

    name: str
    cuda: Version | None
    gpus: int
    install: str


@dataclasses.dataclass(frozen=True)
class Kernels:
    """The CUDA kernels of the compiled op.

    Attributes:
        cuda: the toolkit that built them, or `None` if there are none.
        targets: compute capabilities with machine code; GPUs that are newer
            than all of them run the PTX of the last one.
    """

    cuda: Version | None = None
    targets: Sequence[Version] = ()

    def run_on(self, capability: Version) -> bool:
        """Whether a GPU of this compute capability can run the kernels."""
        return capability >= max(self.targets) or any(
            target[0] == capability[0] and target <= capability
            for target in self.targets
        )


def report() -> str:
    """The GPUs, and what is missing to use them: text for people."""
    driver = read_driver()
    if not driver.gpus:  # then nobody else need be asked
        return describe(driver, None, None)
    return describe(driver, read_backend(), read_kernels())


def describe(
    driver: Driver, backend: Backend | None, kernels: Kernels | None
) -> str:
    """The text of `report`.

    Args:
        driver: what it answered.
        backend: likewise; not looked at if the driver knows no GPU.
        kernels: likewise; `None` if the backend has no compiled op.

    Returns:
        Sentences without a last full stop.
    """
    if not driver.gpus:
        return f"none; {driver.problem}"
    names = ", ".join(
        f"{name} (compute capability {_text(capability)})"
        for name, capability in driver.gpus
    )
    problems = _of_backend(driver, backend)
    if kernels is not None:
        problems += _of_kernels(driver, kernels)
    supports = f"driver for CUDA {_text(driver.cuda)}"
    return "; ".join([names, supports, *(problems or ["nothing is missing"])])


def _of_backend(driver, backend):
    if backend.cuda is None and not backend.gpus:
        return [f"{backend.name} is built without CUDA: {backend.install}"]
    if backend.cuda is not None and backend.cuda[0] > driver.cuda[0]:
        return [
            f"{backend.name} is built for CUDA {_text(backend.cuda)}, which is "
            "newer than the driver: install a newer driver, or the backend "
            f"for CUDA {driver.cuda[0]}"
        ]
    if not backend.gpus:
        return [
            f"{backend.name} sees no GPU, probably for want of CUDA's "
            f"libraries: {backend.install}, and look whether "
            "CUDA_VISIBLE_DEVICES hides it"
        ]
    return []


def _of_kernels(driver, kernels):
    if kernels.cuda is None:
        return [
            "the compiled op has no CUDA kernels: put nvcc (CUDA 12 or newer) "
            "on PATH and run `keras-radn build-ops --cuda on`"
        ]
    if kernels.cuda[0] > driver.cuda[0]:
        return [
            f"the compiled op is built with CUDA {_text(kernels.cuda)}, which "
            "is newer than the driver: install a newer driver, or run "
            f"`keras-radn build-ops --cuda on` with CUDA {driver.cuda[0]}"
        ]
    unknown = [name for name, has in driver.gpus if not kernels.run_on(has)]
    if unknown:
        oldest = _text(min(kernels.targets))
        return [
            "the compiled op has machine code from compute capability "
            f"{oldest} on, and not for {', '.join(unknown)}: run `keras-radn "
            "build-ops --cuda on` with a CUDA toolkit that knows this GPU"
        ]
    return []


def read_driver(
    load: Callable[[str], ctypes.CDLL] = ctypes.CDLL,
) -> Driver:
    """Asks the driver, by its library alone.

    Args:
        load: what loads a shared library by its name; raises OSError.
    """
    try:
        cuda = load("libcuda.so.1")
    except OSError:
        return Driver(problem=_NO_DRIVER)
    number = ctypes.c_int()

    def ask(function, *arguments):
        status = function(ctypes.byref(number), *arguments)
        return number.value if status == 0 else 0

    version = _version(ask(cuda.cuDriverGetVersion))
    status = cuda.cuInit(0)
    if status != 0:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(status, ctypes.byref(text))
        reason = (text.value or b"unknown").decode(errors="replace")
        return Driver(
            version,
            problem=f"the driver finds no GPU (error {status}, {reason}); look "
            "whether nvidia-smi shows it and whether CUDA_VISIBLE_DEVICES "
            "hides it",
        )
    gpus = []
    for index in range(ask(cuda.cuDeviceGetCount)):
        name = ctypes.create_string_buffer(256)
        cuda.cuDeviceGetName(name, len(name), index)
        capability = tuple(
            ask(cuda.cuDeviceGetAttribute, attribute, index)
            for attribute in (_MAJOR, _MINOR)
        )
        gpus.append((name.value.decode(errors="replace"), capability))
    problem = None if gpus else "the driver finds no GPU"
    return Driver(version, gpus, problem)


def read_backend() -> Backend:
    """Asks the backend of Keras."""
    name, cuda, gpus, install = backend.cuda_support()
    return Backend(name, cuda and _parsed(cuda), gpus, install)


def read_kernels() -> Kernels | None:
    """Asks the compiled op; `None` if it does not load or is not in use."""
    state = backend.compiled_library()
    if state is None or state.ops is None:
        return None
    text = state.cuda
    if text is None:
        return Kernels()
    toolkit, *targets = text.replace(",", " ").split()
    return Kernels(
        _version(int(toolkit)),
        # 900 is 9.0, and 1210 is 12.1.
        [divmod(int(target) // 10, 10) for target in targets],
    )


def _parsed(text):
    major, _, rest = text.partition(".")
    return int(major), int(rest.partition(".")[0] or 0)


def _version(number):
    """The version that a number of CUDA stands for: 12040 is 12.4."""
    return number // 1000, number % 1000 // 10


def _text(version):
    return ".".join(map(str, version))
