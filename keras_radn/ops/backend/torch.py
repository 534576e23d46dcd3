"""What PyTorch does in its own way; see `common`."""

import torch

from keras_radn.ops.backend.common import *  # noqa: F403

FAILURES = (ValueError, TypeError, RuntimeError)


def information() -> dict[str, str]:
    gpus = (
        f"GPU {i} {torch.cuda.get_device_name(i)}"
        for i in range(torch.cuda.device_count())
    )
    return {
        "PyTorch": torch.__version__,
        "devices": ", ".join(["CPU", *gpus]),
        "deformable op": "gather",
    }


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
