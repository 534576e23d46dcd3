import typing

import keras
import numpy as np
from keras import layers

from keras_radn import hooks
from keras_radn.layers import CropLike
from keras_radn.layers.roles import mark_decoding
from keras_radn.losses import Charbonnier
from keras_radn.metrics import PSNR
from keras_radn.ops import backend


class DeblurringModel(backend.Model):
    """What all networks of the package share: the recipe and loading.

    A network maps blurred images `(batch, height, width, 3)` in [0, 1], of
    any height and width from 1 up, to sharp ones of the same size. The output
    may leave [0, 1] a little and is clipped only when it becomes a picture.

    `fit` and `evaluate` work at once: unless the model was compiled before,
    they compile it with the paper's recipe.
    """

    # What presets leave out.
    defaults: typing.ClassVar[dict] = {}
    _optimizer_was_built = True  # unless `from_config` was told otherwise

    @classmethod
    def from_preset(
        cls, preset: str, load_weights: bool = True, **kwargs
    ) -> "DeblurringModel":
        """Builds a named variant, a row of the paper's tables.

        Args:
            preset: a key of the class's `presets`.
            load_weights: whether to load the weights of the preset, as
                keras-hub does: its packaged weights, or its
                `encoder_weights`. A preset that has neither starts with
                random weights, as all do with `load_weights=False`.
            **kwargs: arguments of the class that replace the preset's;
                `pretrained` and `encoder_weights` name other weights.

        Returns:
            A new model.

        Raises:
            ValueError: if the preset is unknown, or its weights do not fit the
                arguments.
            TypeError: if the class has no such argument.

        Example:

        ```python
        model = keras_radn.RADN.from_preset("radn4", load_weights=False)
        ```
        """
        if preset not in cls.presets:
            raise ValueError(
                f"`preset` must be one of {tuple(cls.presets)}. "
                f"Received: {preset!r}"
            )
        entry = cls.presets[preset]
        config = dict(entry["config"])
        named = kwargs.get("encoder_weights") is not None
        if load_weights and "weights" in entry and not named:
            kwargs.setdefault("pretrained", True)
        if not load_weights or kwargs.get("pretrained") not in (None, False):
            config.pop("encoder_weights", None)
        return cls(**{**cls.defaults, **config, **kwargs})

    @property
    def input_spec(self):
        # Keras's own lets images of one channel pass, of which broadcasting
        # makes three.
        shape = (None, *self.inputs[0].shape[1:])
        return [keras.InputSpec(shape=shape, name=self.inputs[0].name)]

    def _assert_compile_called(self, method_name=None):
        # Not in `__init__`: a compiled network would bring its metrics into
        # every layer that it is made a part of, and into other recipes.
        if not self.compiled:
            with backend.compile_scope(self):
                self.compile(**paper_recipe())
        super()._assert_compile_called(method_name)

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "image_shape": self.image_shape,
            **self.architecture(),
            "frozen": [
                path
                for path, layer in _layers_by_path(self).items()
                if not layer.trainable
            ],
            # Not in the compile configuration, which clones of Keras read too.
            "optimizer_built": self.compiled and self.optimizer.built,
        }

    def compile_from_config(self, config):
        # Keras would build the optimizer of a model that was saved before any
        # training, and then warn that the file has no state for it.
        config = dict(config)
        # In older files the flag is here.
        if config.pop("optimizer_built", self._optimizer_was_built):
            super().compile_from_config(config)
        else:
            self.compile(**keras.saving.deserialize_keras_object(config))

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # A functional model's own from_config returns a plain keras.Model.
        config = dict(config)
        frozen = config.pop("frozen", ())
        optimizer_was_built = config.pop("optimizer_built", True)
        model = cls(**config)
        model._optimizer_was_built = optimizer_was_built
        for path, layer in _layers_by_path(model).items():
            if path in frozen:
                layer.trainable = False
        return model


def variables_by_path(model: keras.Model) -> dict[str, keras.Variable]:
    """The variables of a model by their paths.

    Args:
        model: a functional model, wherever it was built: the scope of the
            layer or model in whose `build` that was is left out of the paths.
    """
    scope = _scope(model)
    return {v.path.removeprefix(scope): v for v in model.variables}


def _layers_by_path(model):
    scope = _scope(model)
    return {
        layer.path.removeprefix(scope): layer
        for layer in hooks.flatten_layers(model, include_self=False)
        if layer.path
    }


def _scope(model):
    last = model.layers[-1]
    return (last.path or last.name).removesuffix(last.name)


def paper_recipe() -> dict:
    """Arguments of `compile` for the paper's training.

    Adam with a learning rate of 1e-4 (section "Experimental Setup"). The
    paper does not name its loss; ours is `keras_radn.losses.Charbonnier`.

    Returns:
        A dictionary with `optimizer`, `loss` and `metrics`.
    """
    return {
        "optimizer": keras.optimizers.Adam(1e-4),
        "loss": Charbonnier(),
        "metrics": [PSNR()],
    }


def image_dtype(policy: keras.DTypePolicy) -> str:
    """Dtype of a network's images: float32, or float64 for a float64 policy.

    The global residual of a half-precision network is added in float32, so
    that the image itself does not lose precision.
    """
    return "float64" if policy.compute_dtype == "float64" else "float32"


def check_image_shape(shape: tuple[int | None, int | None, int]) -> None:
    """Refuses what is not the shape of a network's images.

    Args:
        shape: to be `(height, width, 3)`; `None` where any size is accepted.

    Raises:
        ValueError: if it is not.
    """
    if (
        np.shape(shape) != (3,)
        or shape[2] != 3
        or any(side is not None and side < 1 for side in shape[:2])
    ):
        raise ValueError(
            "`image_shape` must be (height, width, 3), with None where any "
            f"size is accepted. Received: {shape!r}"
        )


def check_length(name: str, values: tuple[int, ...], length: int) -> None:
    """Refuses an argument that has not one entry for each part of a network.

    Args:
        name: of the argument.
        values: the argument.
        length: how many entries it must have.

    Raises:
        ValueError: if it has another number of entries.
    """
    if np.shape(values) != (length,):
        raise ValueError(
            f"`{name}` must have {length} entries. Received: {values!r}"
        )


def apply_reconstruction(
    x: keras.KerasTensor, images: keras.KerasTensor
) -> keras.KerasTensor:
    """The last 3x3 convolution and the global residual.

    Args:
        x: features `(batch, padded_height, padded_width, channels)`.
        images: the network's input, `(batch, height, width, 3)`.

    Returns:
        The network's output, in the shape and dtype of `images`.
    """
    conv = layers.Conv2D(
        3,
        3,
        padding="same",
        kernel_initializer="zeros",  # the network starts as the identity
        dtype=images.dtype,
        name="reconstruction",
    )
    x = conv(x)
    mark_decoding(conv)
    x = CropLike(dtype=images.dtype, name="crop")([x, images])
    return layers.Add(dtype=images.dtype, name="deblurred")([images, x])
