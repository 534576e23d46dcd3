"""What PyTorch does in its own way; see `common`."""

import functools
import importlib.util
import math
from collections.abc import Callable

import torch

from keras_radn.ops import torchvision_op
from keras_radn.ops.backend import common
from keras_radn.ops.backend.common import *  # noqa: F403
from keras_radn.ops.implementation import requested

# Elements, 1 GiB: torchvision's operation writes the samples of all channels to
# memory, where gathering is done a chunk of rows or of few filters at a time.
_MAX_COLUMNS = 2**28

FAILURES = (ValueError, TypeError, RuntimeError)


def information() -> dict[str, str]:
    gpus = (
        f"GPU {i} {torch.cuda.get_device_name(i)}"
        for i in range(torch.cuda.device_count())
    )
    return {
        "PyTorch": torch.__version__,
        "devices": ", ".join(["CPU", *gpus]),
        "deformable op": (
            "torchvision" if _uses_torchvision("auto") else "gather"
        ),
    }


def _uses_torchvision(implementation):
    return (
        requested(implementation)[0] != "gather"
        and torch.cuda.is_available()
        and _has_torchvision()
    )


@functools.cache  # asked for at every call of a layer
def _has_torchvision():
    return importlib.util.find_spec("torchvision") is not None


def compiled_convolution(
    implementation: str,
    inputs: torch.Tensor,
    kernel: torch.Tensor,
    offset: torch.Tensor,
) -> Callable | None:
    common.compiled_convolution(implementation, inputs, kernel, offset)
    columns = math.prod([*offset.shape[:3], *kernel.shape[:2], inputs.shape[3]])
    fits = inputs.is_cuda and columns <= _MAX_COLUMNS
    if fits and _uses_torchvision(implementation):
        return torchvision_op.deformable_conv2d
    return None


def cuda_support() -> tuple[str, str | None, int, str]:
    return (
        f"PyTorch {torch.__version__}",
        torch.version.cuda,
        torch.cuda.device_count(),
        "install PyTorch for CUDA, as pytorch.org says",
    )


def limit_threads(count: int) -> None:
    torch.set_num_threads(count)


def is_out_of_memory(error: Exception) -> bool:
    # PyTorch has a class for a full GPU, but none for full main memory.
    full = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return full or "can't allocate memory" in str(error)
