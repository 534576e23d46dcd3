import math
import re

import keras
import numpy as np
from keras import ops

from keras_radn.hooks import optimizer_state
from keras_radn.layers.roles import decodes, steers
from keras_radn.ops import backend
from keras_radn.optimizers.newton_schulz import iterate, orthogonalized


class _NetworkOptimizer:
    """What both optimizers add to Keras's.

    `global_clipnorm` bounds the gradient of the joint batch. Keras clips each
    replica's part before it adds them up, so that the step depends on how many
    replicas there are. Here the parts are added first, as on one device with
    the whole batch; the price is a second exchange of the gradient.

    What decides where features are taken from has a learning rate of its own:
    the estimate of the offsets and the similarities of the attention, whose
    weights their layers mark (`keras_radn.layers.roles`). An
    offset sums thousands of features, so that steps which suit the other
    weights move it by pixels, until the kernels sample far outside of what
    they should see. Before `steering_start` it does not change at all: a
    module that has not learnt anything yet is noise, and the gradient moves
    its samples out of the image to be rid of it.
    """

    def __init__(
        self,
        *args,
        steering_lr_ratio: float = 1.0,
        steering_start: int = 0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.steering_lr_ratio = steering_lr_ratio
        self.steering_start = steering_start
        self._adam_step = None

    def build(self, variables):
        super().build(variables)
        self._steering = frozenset(
            index for index, weight in enumerate(variables) if steers(weight)
        )

    def apply(self, grads, trainable_variables=None):
        grads = backend.jointly_clipped(grads, self.global_clipnorm)
        self._adam_step = backend.adam_step(
            self.iterations + 1, *self._adam_rates()
        )
        return super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        if self._get_variable_index(variable) in self._steering:
            started = self.iterations >= self.steering_start
            ratio = self.steering_lr_ratio * ops.cast(
                started, learning_rate.dtype
            )
            learning_rate = learning_rate * ratio
        super().update_step(gradient, variable, learning_rate)

    def _clip_gradients(self, grads):
        only_global = self.global_clipnorm and not (
            self.clipnorm or self.clipvalue
        )
        if only_global and backend.moves_together(grads, grads):
            clip = backend.optimizer_steps.clip_by_global_norm
            return clip(grads, self.global_clipnorm)
        return super()._clip_gradients(grads)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        together = backend.moves_together(trainable_variables, grads)
        together = together and not getattr(self, "amsgrad", False)
        move = self._move_together if together else super()._backend_update_step
        move(grads, trainable_variables, learning_rate)

    def _adam_together(
        self, moved, momentums, velocities, learning_rate, ratio=1.0
    ):
        """A step of Adam for some variables.

        Args:
            moved: pairs of a variable and its gradient.
            momentums: of all variables.
            velocities: of all variables.
            learning_rate: of the optimizer.
            ratio: of the learning rate to that.
        """
        indices = [self._get_variable_index(variable) for variable, _ in moved]
        if not indices:
            return
        steering = np.isin(indices, list(self._steering))
        ratios = np.where(steering, ratio * self.steering_lr_ratio, ratio)
        started = ops.cast(self.iterations >= self.steering_start, "float32")
        backend.optimizer_steps.adam(
            [variable for variable, _ in moved],
            [momentums[i] for i in indices],
            [velocities[i] for i in indices],
            [gradient for _, gradient in moved],
            learning_rate
            * (
                np.where(steering, 0, ratios).astype("float32")
                + started * np.where(steering, ratios, 0).astype("float32")
            ),
            self.iterations + 1,
            *self._adam_rates(),
        )

    def _update_model_variables_moving_average(self, trainable_variables):
        if not self.use_ema:
            return
        # The first step's weights are the first average.
        is_first = ops.cast(ops.equal(self.iterations, 0), "float32")
        share = ops.maximum(1 - self.ema_momentum, is_first)
        averages = optimizer_state(self, "_model_variables_moving_average")
        if not backend.move_averages(averages, trainable_variables, share):
            super()._update_model_variables_moving_average(trainable_variables)

    def get_config(self):
        return {
            **super().get_config(),
            "steering_lr_ratio": self.steering_lr_ratio,
            "steering_start": self.steering_start,
        }


class _FusedAdam(keras.optimizers.Adam):
    """Adam in one operation for each variable, where the backend has one."""

    def update_step(self, gradient, variable, learning_rate):
        if self._adam_step is None or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        moments = [
            optimizer_state(self, name)[index]
            for name in ("_momentums", "_velocities")
        ]
        self._adam_step(variable, *moments, gradient, learning_rate)


@keras.saving.register_keras_serializable("keras_radn")
class JointClipAdam(_NetworkOptimizer, _FusedAdam):
    """Adam that clips the joint gradient and can steer slowly.

    Args:
        *args: arguments of `keras.optimizers.Adam`.
        steering_lr_ratio: learning rate of the offsets' and the attention's
            estimates, relative to that of the other weights.
        steering_start: step before which these do not change.
        **kwargs: arguments of `keras.optimizers.Adam`.

    Example:

    ```python
    model = keras_radn.RADN(encoder_weights=None)
    model.compile(
        keras_radn.optimizers.JointClipAdam(
            1e-4, global_clipnorm=1.0, steering_lr_ratio=0.01
        ),
        loss=keras_radn.losses.Charbonnier(),
    )
    ```
    """

    def _adam_rates(self):
        return self.beta_1, self.beta_2, self.epsilon

    def _move_together(self, grads, trainable_variables, learning_rate):
        self._adam_together(
            list(zip(trainable_variables, grads, strict=True)),
            optimizer_state(self, "_momentums"),
            optimizer_state(self, "_velocities"),
            learning_rate,
        )


@keras.saving.register_keras_serializable("keras_radn")
class ConvMuon(_NetworkOptimizer, keras.optimizers.Muon):
    """Muon for networks of convolutions.

    Keras's Muon orthogonalises the steps of matrices and leaves all else to
    Adam. Here the kernels of convolutions are matrices, too: a row for each
    tap and input channel, a column for each filter. Left to Adam are vectors,
    embeddings (unless `exclude_embeddings=False`), the last convolution of
    this package's networks, and what `steering_lr_ratio` is for.

    Args:
        learning_rate: of the kernels; the root mean square of a step is 0.2
            times as large.
        adam_lr_ratio: learning rate of the rest, relative to that.
        steering_lr_ratio: learning rate of the offsets' and the attention's
            estimates, relative to that of the other Adam steps.
        steering_start: step before which these do not change.
        **kwargs: arguments of `keras.optimizers.Muon`; there is no weight
            decay unless they ask for it. `exclude_layers` are expressions:
            weights whose path contains one are left to Adam, too.

    Example:

    ```python
    model = keras_radn.RADN(encoder_weights=None)
    model.compile(
        keras_radn.optimizers.ConvMuon(1e-3, steering_lr_ratio=0.1),
        loss="mean_squared_error",
    )
    ```

    Reference: Liu et al., Muon is Scalable for LLM Training, 2025.
    """

    # Indices, directions and rates of kernels, in a step that moves all of them
    # at its end. Keras would take variables for the optimizer's own.
    _waiting = None

    def __init__(
        self,
        learning_rate=1e-3,
        adam_lr_ratio: float = 0.5,
        steering_lr_ratio: float = 1.0,
        steering_start: int = 0,
        adam_weight_decay: float = 0.0,
        weight_decay: float | None = None,
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            adam_lr_ratio=adam_lr_ratio,
            steering_lr_ratio=steering_lr_ratio,
            steering_start=steering_start,
            adam_weight_decay=adam_weight_decay,
            weight_decay=weight_decay,
            **kwargs,
        )

    def _should_use_adamw(self, variable):
        if len(variable.shape) < 2 or steers(variable) or decodes(variable):
            return True
        if self.exclude_embeddings and "embedding" in variable.path.lower():
            return True
        return any(re.search(x, variable.path) for x in self.exclude_layers)

    def _adam_rates(self):
        return self.adam_beta_1, self.adam_beta_2, self.epsilon

    def _apply_weight_decay(self, variables):
        # Keras subtracts a decay of zero, too.
        decays = (self.weight_decay, self.adam_weight_decay)
        super()._apply_weight_decay(
            [v for v in variables if decays[self._should_use_adamw(v)]]
        )

    def _adamw_update_step(self, gradient, variable, learning_rate, m, v):
        if self._adam_step is None:
            super()._adamw_update_step(gradient, variable, learning_rate, m, v)
        else:
            self._adam_step(variable, m, v, gradient, learning_rate)

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        direction = ops.add(gradient, self.momentum * m) if self.nesterov else m
        matrix = ops.reshape(direction, (-1, direction.shape[-1]))
        if self._waiting is None:
            self._move(variable, self._orthogonal(matrix), lr)
        else:
            index = self._get_variable_index(variable)
            self._waiting.append((index, matrix, lr))

    def _move_together(self, grads, trainable_variables, learning_rate):
        kernels, others = [], []
        for variable, gradient in zip(trainable_variables, grads, strict=True):
            index = self._get_variable_index(variable)
            is_kernel = self.adam_velocities[index] is None
            (kernels if is_kernel else others).append((variable, gradient))
        self._adam_together(
            others,
            self.momentums,
            self.adam_velocities,
            learning_rate,
            self.adam_lr_ratio,
        )
        if kernels:
            variables, gradients = zip(*kernels, strict=True)
            indices = map(self._get_variable_index, variables)
            backend.optimizer_steps.muon(
                variables,
                [self.momentums[index] for index in indices],
                gradients,
                learning_rate,
                self.momentum,
                self.nesterov,
                self._coefficients,
                self.ns_steps,
                self.rms_rate,
            )

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if not backend.KERNELS_TOGETHER:
            super()._backend_update_step(
                grads, trainable_variables, learning_rate
            )
            return
        self._waiting = []
        super()._backend_update_step(grads, trainable_variables, learning_rate)
        waiting, self._waiting = self._waiting, None
        updates = orthogonalized(
            [matrix for _, matrix, _ in waiting],
            self._coefficients,
            self.ns_steps,
        )
        weights = {self._get_variable_index(v): v for v in trainable_variables}
        for (index, _, rate), update in zip(waiting, updates, strict=True):
            self._move(weights[index], update, rate)

    @property
    def _coefficients(self):
        return self.muon_a, self.muon_b, self.muon_c

    def _orthogonal(self, matrix):
        wide = matrix.shape[0] < matrix.shape[1]
        if wide:
            matrix = ops.transpose(matrix)
        matrix = iterate(matrix, self._coefficients, self.ns_steps)
        return ops.transpose(matrix) if wide else matrix

    def _move(self, kernel, update, rate):
        """A step along an orthogonal matrix."""
        step = rate * ops.reshape(update, kernel.shape)
        if self.rms_rate is not None:
            # Keras would look at the sides of the taps.
            *rows, columns = kernel.shape
            longest = max(math.prod(rows), columns)
            step = step * (longest**0.5 * self.rms_rate)
        self.assign_sub(kernel, step)
