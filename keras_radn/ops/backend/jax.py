"""What JAX does in its own way; see `common`."""

import importlib.metadata
from collections.abc import Callable

import jax
import jax.numpy as jnp
import keras
from jax.errors import JaxRuntimeError

from keras_radn.ops.backend.common import *  # noqa: F403

# Hundreds of products of small matrices are slow to be compiled.
KERNELS_TOGETHER = True


def information() -> dict[str, str]:
    return {
        "JAX": jax.__version__,
        "devices": ", ".join(map(str, jax.devices())),
        "deformable op": "gather",
    }


def cuda_support() -> tuple[str, str | None, int, str]:
    # A package for each version of CUDA.
    built = [cuda for cuda in ("12", "13") if _has_plugin(cuda)]
    return (
        f"JAX {jax.__version__}",
        built[-1] if built else None,
        sum(device.platform == "gpu" for device in jax.devices()),
        "`pip install jax[cuda12]` or `jax[cuda13]`",
    )


def _has_plugin(cuda):
    try:
        importlib.metadata.version(f"jax-cuda{cuda}-plugin")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def take_rows(values: jax.Array, index: jax.Array) -> jax.Array:
    def take(rows, index):
        return rows.at[index].get(mode="promise_in_bounds")

    # Gradients of a pixel are added up, and GPUs do so faster in float32.
    wide = jnp.promote_types(values.dtype, "float32")
    return jax.vmap(take)(values.astype(wide), index)


def training_call(model: keras.Model) -> Callable:
    @jax.jit
    def call(weights, state, images):
        return model.stateless_call(weights, state, images, training=True)[1]

    def run(images):
        weights = [v.value for v in model.trainable_variables]
        state = [v.value for v in model.non_trainable_variables]
        state = call(weights, state, images)
        for variable, value in zip(
            model.non_trainable_variables, state, strict=True
        ):
            variable.assign(value)

    return run


def read_state(model: keras.Model) -> None:
    model.jax_state_sync()


def is_out_of_memory(error: Exception) -> bool:
    full = isinstance(error, JaxRuntimeError)
    full = full and "RESOURCE_EXHAUSTED" in str(error)
    return full or isinstance(error, MemoryError)
