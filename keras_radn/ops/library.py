"""Finds and loads the compiled library, once, when it is first needed.

It is TensorFlow's; other backends do not import this module.
"""

import ctypes
import functools
import hashlib
import importlib.metadata
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import tensorflow as tf

from keras_radn import hooks
from keras_radn.ops import tracing
from keras_radn.ops.implementation import VARIABLE, requested

_PREFIX = "libdeformable_tf"
_CURE = (
    f"`keras-radn build-ops` builds it anew; {VARIABLE}=gather goes on "
    "without it and without this message."
)
_lock = threading.Lock()


@dataclass(frozen=True)
class Library:
    """State of the compiled library.

    Attributes:
        ops: the module of its ops, or `None` if it is not loaded.
        path: the file, or `None` if there is none.
        problem: why it is not loaded, as a part of a sentence, or `None`.
    """

    ops: ModuleType | None = None
    path: Path | None = None
    problem: str | None = None

    @property
    def instruction_set(self) -> str | None:
        """What the CPU kernels use.

        `"amx"`, `"avx512_bf16"`, `"avx512"`, `"avx2"` or `"portable"`; None
        where the library does not load.
        """
        if self.ops is None:
            return None
        return self._text("keras_radn_instruction_set")

    @property
    def cuda(self) -> str | None:
        """What the CUDA kernels were built for, or `None` if there are none.

        The toolkit's version as a number (13000 is 13.0), then ten times each
        compute capability (900 is 9.0).
        """
        if self.ops is None:
            return None
        return self._text("keras_radn_gpu_targets")

    def _text(self, name):
        function = getattr(ctypes.CDLL(str(self.path)), name, None)
        if function is None:
            return None
        function.restype = ctypes.c_char_p
        return function().decode()


def load() -> Library:
    """Loads the library at the first call and tells how it went."""
    with _lock:
        return _load()


def choose(implementation: str = "auto") -> str:
    """Which implementation a call will use.

    Args:
        implementation: `"auto"`, `"native"` or `"gather"`. The environment
            variable `KERAS_RADN_IMPLEMENTATION` comes before it.

    Returns:
        `"native"` or `"gather"`. `"auto"` becomes `"native"` if the library
        loads and the graph that is being built is not for XLA; a library that
        does not load gives a warning, once. What Keras exports is `"gather"`
        in any case: whoever loads it does not have the library.

    Raises:
        ImportError: if `"native"` is asked for and the library does not load.
        ValueError: if the name is not known, or if `"native"` is asked for in
            a graph that XLA compiles.
    """
    forced = tracing.current().implementation
    if forced is not None:
        implementation, source = forced, "implementation"
    else:
        implementation, source = requested(implementation)
    if implementation == "gather" or hooks.exported_by_keras():
        return "gather"
    if in_xla() and implementation == "auto":
        return "gather"
    if in_xla():
        raise ValueError(
            "XLA cannot compile the native deformable convolution. Use "
            'implementation="auto" or "gather", or compile the model with '
            f"jit_compile=False. Received: {source}='native'"
        )
    library = load()
    if library.ops is not None:
        return "native"
    message = f"The compiled deformable convolution {library.problem}. {_CURE}"
    if implementation == "native":
        raise ImportError(message)
    _warn(message)
    return "gather"


def has_cpu_ops() -> bool:
    """Whether the ops that have kernels for the CPU only are to be used."""
    return choose() == "native" and not tf.config.list_physical_devices("GPU")


def in_xla() -> bool:
    """Whether the graph that is being built is one that XLA compiles."""
    return not tf.executing_eagerly() and hooks.in_xla(
        tf.compat.v1.get_default_graph()
    )


def name(tensorflow_version: str) -> str:
    """Name of the library's file for a version of TensorFlow."""
    minor = ".".join(tensorflow_version.split(".")[:2])
    return f"{_PREFIX}{minor}.so"


def folder() -> Path:
    """Where the library belongs: beside this file, where it is installed.

    An editable installation has the library in site-packages and this file in
    the source tree.
    """
    here = Path(__file__).parent
    try:
        distribution = importlib.metadata.distribution("keras-radn")
    except importlib.metadata.PackageNotFoundError:
        return here
    installed = Path(str(distribution.locate_file("keras_radn/ops")))
    return installed if installed.is_dir() else here


@functools.cache
def _load():
    path = folder() / name(tf.__version__)
    problem = _problem_of_file(path)
    if problem is None:
        try:
            return Library(tf.load_op_library(str(path)), path)
        except (tf.errors.OpError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            problem = (
                "does not fit this machine or this build of TensorFlow "
                f"{tf.__version__} ({reason})"
            )
    return Library(None, path if path.exists() else None, problem)


def _problem_of_file(path):
    if not path.exists():
        others = sorted(path.parent.glob(f"{_PREFIX}*.so"))
        if not others:
            return (
                f"was not built (there is no {path}); the package was "
                "probably installed without a C++ compiler"
            )
        versions = [f.stem.removeprefix(_PREFIX) for f in others]
        return (
            f"was built for TensorFlow {', '.join(versions)}, and this is "
            f"TensorFlow {tf.__version__}"
        )
    # A damaged library could crash the process when it is loaded.
    digests = checksums(path)
    if not digests:
        return f"has no readable checksum beside it ({checksum_file(path)})"
    if hashlib.sha256(path.read_bytes()).hexdigest() not in digests:
        return f"is damaged (the SHA-256 of {path} is not what was built)"
    return None


def checksum_file(path: Path) -> Path:
    """Where the SHA-256 of the library is kept."""
    return path.with_name(path.name + ".sha256")


def checksums(path: Path) -> list[str]:
    """The SHA-256 that the library may have.

    Two while it is being replaced, none if its checksum cannot be read.
    """
    try:
        return checksum_file(path).read_text().split()
    except (OSError, UnicodeDecodeError):
        return []


@functools.cache
def _warn(message):
    warnings.warn(message, stacklevel=5)
