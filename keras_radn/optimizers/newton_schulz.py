"""The iteration that makes matrices orthogonal, one or many at a time."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from keras import ops


def orthogonalized(
    matrices: Sequence[Any],
    coefficients: tuple[float, float, float],
    steps: int,
) -> list:
    """Approximates the nearest orthogonal matrices.

    Matrices of nearly the same sides are one batch. Each on its own is hundreds
    of small products, which a compiler takes long for and a GPU is idle in.
    Rows of zeros, which a batch needs, stay zero and change nothing.

    Args:
        matrices: float32 `(rows, columns)` each.
        coefficients: `a`, `b` and `c` of the iteration
            `X (a + b X'X + c (X'X)^2)`.
        steps: how many times it is applied.

    Returns:
        float32, of the same shapes.

    Reference: Jordan et al., Muon: An optimizer for hidden layers in neural
    networks, 2024.
    """
    tall = [
        x if x.shape[0] >= x.shape[1] else ops.transpose(x) for x in matrices
    ]
    batches = defaultdict(list)
    for index, matrix in enumerate(tall):
        rows, columns = matrix.shape
        batches[columns, math.ceil(math.log(rows, 4))].append(index)
    results = [None] * len(tall)
    for indices in batches.values():
        rows = max(tall[i].shape[0] for i in indices)
        batch = ops.stack(
            [
                ops.pad(tall[i], [[0, rows - tall[i].shape[0]], [0, 0]])
                for i in indices
            ]
        )
        batch = iterate(batch, coefficients, steps)
        for place, i in enumerate(indices):
            matrix = batch[place, : tall[i].shape[0]]
            turned = tuple(matrix.shape) != tuple(matrices[i].shape)
            results[i] = ops.transpose(matrix) if turned else matrix
    return results


def iterate(
    x: Any, coefficients: tuple[float, float, float], steps: int
) -> Any:
    """The iteration of a matrix, or of each of a batch of them.

    Keras's, with fewer passes over the matrix: `a` is on the diagonal of the
    small one.

    Args:
        x: `(rows, columns)` or `(batch, rows, columns)`; fewer columns than
            rows are less work.
        coefficients: see `orthogonalized`.
        steps: see `orthogonalized`.

    Returns:
        A tensor of the same shape and dtype.
    """
    a, b, c = coefficients
    dtype = x.dtype
    norms = ops.norm(x, axis=(-2, -1), keepdims=True)
    # Half precision is enough for what is an approximation anyway.
    x = ops.cast(x / (norms + 1e-7), "bfloat16")
    diagonal = a * ops.eye(x.shape[-1], dtype="bfloat16")
    for _ in range(steps):
        gram = ops.swapaxes(x, -2, -1) @ x
        x = x @ (diagonal + b * gram + c * gram @ gram)
    return ops.cast(x, dtype)
