"""Gradients on the backend that Keras uses."""

import keras
import numpy as np


def gradients(function, arrays, variables=()):
    """Computes the gradients of the sum of squares of a function's result.

    Args:
        function: takes tensors and returns one tensor.
        arrays: its arguments.
        variables: Keras variables that the function uses.

    Returns:
        The result, and a list of gradients for the arrays and then the
        variables, as float64 arrays; `None` for what has no influence.
    """
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    take = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    result, taken = take[keras.backend.backend()](
        function, tensors, list(variables)
    )
    return float64(result), [None if g is None else float64(g) for g in taken]


def float64(tensor):
    """Converts a tensor to float64, since NumPy has no bfloat16."""
    if keras.backend.standardize_dtype(tensor.dtype) != "float64":
        tensor = keras.ops.cast(tensor, "float32")
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def _loss(result):
    return keras.ops.sum(keras.ops.square(keras.ops.cast(result, "float32")))


def _tensorflow(function, tensors, variables):
    import tensorflow as tf

    values = [variable.value for variable in variables]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(*tensors)
        loss = _loss(result)
    return result, tape.gradient(loss, [*tensors, *values])


def _jax(function, tensors, variables):
    import jax

    def loss(values):
        mapping = list(zip(variables, values[len(tensors) :], strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            result = function(*values[: len(tensors)])
        return _loss(result), result

    values = [*tensors, *(variable.value for variable in variables)]
    taken, result = jax.grad(loss, has_aux=True)(values)
    return result, taken


def _torch(function, tensors, variables):
    import torch

    for tensor in tensors:
        tensor.requires_grad_()
    values = [*tensors, *(variable.value for variable in variables)]
    result = function(*tensors)
    taken = torch.autograd.grad(_loss(result), values, allow_unused=True)
    return result.detach(), taken
