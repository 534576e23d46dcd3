"""The form of a network that only deblurs; on TensorFlow."""

import typing

from keras_radn.models.packaged_weights import read_preset
from keras_radn.models.radn import RADN
from keras_radn.ops import backend

if typing.TYPE_CHECKING:
    from keras_radn.models.inference_graph import InferenceModel


def inference_model(
    model: RADN | str, dtype: str | None = None
) -> "InferenceModel":
    """A fast form of a network, for inference only.

    Args:
        model: a `RADN`, whose weights are copied, or the name of a preset with
            packaged weights (`"lite"`). From a name no Keras
            model is built, which saves most of the time until the first
            picture.
        dtype: what is computed in: `"float32"`, `"bfloat16"`, `"auto"` (see
            `fast_dtype`) or `None`, the compute dtype of the model, float32
            for a preset.

    Returns:
        A function of images; see `InferenceModel`.

    Raises:
        ValueError: if the model is not a RADN, the preset has no weights or the
            dtype is another one.
        ImportError: on another backend than TensorFlow.

    Example:

    ```python
    deblur = keras_radn.inference_model("lite", dtype="bfloat16")
    sharp = deblur(blurred).numpy().clip(0, 1)  # (batch, height, width, 3)
    ```
    """
    backend.require_tensorflow("The inference form of a network")
    from keras_radn.models.inference_graph import InferenceModel, parts

    if isinstance(model, str):
        architecture, weights = read_preset(RADN, model)
        dtype = dtype or "float32"
    elif isinstance(model, RADN):
        architecture, weights = parts(model)
        dtype = dtype or model.compute_dtype
    else:
        raise ValueError(
            "There is an inference form of RADN only. Received: "
            f"{type(model).__name__}"
        )
    return InferenceModel(architecture, weights, dtype)
