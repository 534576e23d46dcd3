"""What the tests of a GPU ask of the backend."""

import os
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np

BACKEND = keras.backend.backend()


def gpus() -> list:
    """Returns the GPUs that the backend sees."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.config.list_physical_devices("GPU")
    if BACKEND == "jax":
        import jax

        return [device for device in jax.devices() if device.platform == "gpu"]
    import torch

    return list(range(torch.cuda.device_count()))


def compute_exactly() -> None:
    """Turns TF32 off, whose products of float32 have 10 bits."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif BACKEND == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    else:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def kind_of(tensor) -> str:
    """Returns where a tensor is: `"gpu"` or `"cpu"`."""
    if BACKEND == "tensorflow":
        return tensor.device.split(":")[-2].lower()
    if BACKEND == "jax":
        [device] = tensor.devices()
        return device.platform
    return {"cuda": "gpu"}.get(tensor.device.type, tensor.device.type)


def gradients(call: Callable, arrays: list[np.ndarray], dtypes: list[str]):
    """Returns a call's output and the gradients of its sum of squares."""
    tensors = [
        keras.ops.convert_to_tensor(array, dtype)
        for array, dtype in zip(arrays, dtypes, strict=True)
    ]

    def loss(*tensors):
        outputs = call(*tensors)
        wide = keras.ops.cast(outputs, "float32")
        return keras.ops.sum(wide**2), outputs

    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            total, outputs = loss(*tensors)
        return [outputs, *tape.gradient(total, tensors)]
    if BACKEND == "jax":
        import jax

        every = tuple(range(len(tensors)))
        function = jax.value_and_grad(loss, every, has_aux=True)
        (_, outputs), found = function(*tensors)
        return [outputs, *found]
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    total, outputs = loss(*tensors)
    total.backward()
    return [outputs, *(tensor.grad for tensor in tensors)]


def peak_bytes(call: Callable[[], object]) -> int:
    """Returns the most GPU memory that a call takes."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        experimental = tf.config.experimental
        experimental.reset_memory_stats("GPU:0")
        before = experimental.get_memory_info("GPU:0")["current"]
        call()
        return experimental.get_memory_info("GPU:0")["peak"] - before
    if BACKEND == "jax":
        import jax

        # Since the process began: the first large call must be this one.
        before = jax.devices()[0].memory_stats()["peak_bytes_in_use"]
        jax.block_until_ready(call())
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"] - before
    import torch

    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def on_cpu(program: str, *arguments: object) -> None:
    """Runs a program in a process that sees no GPU."""
    hidden = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, **hidden},
        check=True,
    )
