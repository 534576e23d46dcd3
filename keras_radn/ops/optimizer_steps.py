"""Steps of optimizers on the compiled library, all variables in one operation.

For the CPU. A network has hundreds of variables, most of them small: a step of
separate operations is thousands of them. Other backends do not import this
module.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_radn.ops import library


def clip_by_global_norm(
    gradients: Sequence[tf.Tensor], norm: float
) -> list[tf.Tensor]:
    """Scales all gradients by one factor.

    Args:
        gradients: float32.
        norm: the largest that the joint norm of the results is; it is NaN
            where that of the gradients is not finite.
    """
    clip = library.load().ops.keras_radn_clip_by_global_norm
    return clip(gradients, norm=norm)


def muon(
    variables: Sequence[keras.Variable],
    momentums: Sequence[keras.Variable],
    gradients: Sequence[tf.Tensor],
    learning_rate: tf.Tensor,
    momentum: float,
    nesterov: bool,
    coefficients: tuple[float, float, float],
    steps: int,
    rms_rate: float | None,
) -> None:
    """Moves kernels by a step of Muon, in place.

    Args:
        variables: float32, of 2 dimensions or more; the last one is that of
            the columns of a matrix.
        momentums: as the variables.
        gradients: as the variables.
        learning_rate: a scalar.
        momentum: the share of the momentum that stays.
        nesterov: whether to look ahead.
        coefficients: of the iteration (`optimizers.newton_schulz`).
        steps: how often it is applied.
        rms_rate: the root mean square of a step, relative to the learning
            rate, or `None` for an orthogonal matrix as it is.
    """
    library.load().ops.keras_radn_muon_step(
        _handles(variables),
        _handles(momentums),
        gradients,
        tf.cast(learning_rate, "float32"),
        momentum=momentum,
        nesterov=nesterov,
        coefficients=coefficients,
        steps=steps,
        rms_rate=-1.0 if rms_rate is None else rms_rate,
    )


def adam(
    variables: Sequence[keras.Variable],
    momentums: Sequence[keras.Variable],
    velocities: Sequence[keras.Variable],
    gradients: Sequence[tf.Tensor],
    learning_rates: tf.Tensor,
    step: tf.Tensor,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """Moves variables by a step of Adam, in place.

    Args:
        variables: float32.
        momentums: as the variables.
        velocities: as the variables.
        gradients: as the variables.
        learning_rates: `(number of variables,)`.
        step: the number of this step, from 1 on.
        beta_1: the share of the momentums that stays.
        beta_2: the share of the velocities that stays.
        epsilon: added to the roots of the velocities.
    """
    library.load().ops.keras_radn_adam_step(
        _handles(variables),
        _handles(momentums),
        _handles(velocities),
        gradients,
        tf.cast(learning_rates, "float32"),
        tf.cast(step, "float32"),
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
    )


def move_averages(
    averages: Sequence[keras.Variable],
    values: Sequence[keras.Variable] | Sequence[tf.Tensor],
    share: tf.Tensor | float,
) -> None:
    """Moves averages towards values by a share of the difference, in place.

    Args:
        averages: float32 variables.
        values: all variables, or all tensors, of the same shapes.
        share: a scalar in [0, 1].
    """
    if not tf.is_tensor(values[0]):
        values = _handles(values)
    library.load().ops.keras_radn_move_averages(
        _handles(averages), values, tf.cast(share, "float32")
    )


def _handles(variables):
    return [
        (v.value if isinstance(v, keras.Variable) else v).handle
        for v in variables
    ]
