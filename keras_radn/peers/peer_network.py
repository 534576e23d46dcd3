import os
from collections.abc import Callable

import keras

from keras_radn.layers import CropLike, PadToMultiple
from keras_radn.models.deblurring_model import (
    DeblurringModel,
    check_image_shape,
    image_dtype,
)
from keras_radn.models.packaged_weights import load_pretrained

ImageShape = tuple[int | None, int | None, int]

ANY_SIZE: ImageShape = (None, None, 3)


class PeerNetwork(DeblurringModel):
    """What the competitors of the paper's Table 1 share.

    Images of any size are padded at the bottom and right to a multiple that
    the network needs, and its answer is cropped.

    Args:
        network: builds the network: a function of the padded images, symbolic
            `(batch, height, width, 3)` in [0, 1], and of the dtype policy, to
            sharp images of the same shape.
        multiple: of which height and width are made.
        architecture: the arguments of the subclass that fix all shapes.
        image_shape: `(height, width, 3)`; `None` where any size is accepted.
        pretrained: path or address of a weights file, for example one that
            `keras-radn convert` wrote, or `None` for random weights.
        dtype: dtype or dtype policy of the computation; images stay float32
            in half precision.
        name: of the model.
        trainable: whether the weights are trained.

    Raises:
        ValueError: if `image_shape` or the weights do not fit.
        FileNotFoundError: if there is no such weights file.
    """

    def __init__(
        self,
        network: Callable,
        multiple: int,
        architecture: dict,
        image_shape: ImageShape,
        pretrained: str | os.PathLike | None,
        dtype,
        name: str | None,
        trainable: bool,
    ):
        check_image_shape(image_shape)
        if pretrained is True:
            raise ValueError(
                f"There are no packaged weights of {type(self).__name__}; pass "
                "the path of a file that `keras-radn convert` or a training "
                "wrote. Received: pretrained=True"
            )
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        dtype = image_dtype(policy)
        images = keras.Input(image_shape, name="images", dtype=dtype)
        # Names that Keras gives to operations on tensors are taken: not "pad".
        padded = PadToMultiple(multiple, dtype=dtype, name="padded")(images)
        sharp = network(padded, policy)
        outputs = CropLike(dtype=dtype, name="deblurred")([sharp, images])
        super().__init__(images, outputs, name=name, trainable=trainable)
        self.dtype_policy = policy
        self.image_shape = tuple(image_shape)
        self._architecture = architecture
        if pretrained is not None and pretrained is not False:
            load_pretrained(self, pretrained)

    def architecture(self) -> dict:
        """The arguments that fix the shapes of all weights."""
        return dict(self._architecture)
