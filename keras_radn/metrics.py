"""Metrics of the default recipe."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_radn")
class PSNR(keras.metrics.Mean):
    """Mean over images of the peak signal-to-noise ratio, in dB.

    Images `(..., height, width, channels)` are expected in [0, 1]; predictions
    are clipped to that range. For
    images rounded to 8 bits see `keras_radn.training.evaluate_pairs`.

    Args:
        name: name of the metric.
        dtype: dtype of the computation.

    Example:

    ```python
    psnr = keras_radn.metrics.PSNR()
    psnr.update_state(images, 0.9 * images)  # (batch, height, width, 3)
    print(f"{psnr.result():.2f} dB")
    ```
    """

    def __init__(self, name: str = "psnr", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        error = ops.square(
            ops.cast(y_true, self.dtype)
            - ops.clip(ops.cast(y_pred, self.dtype), 0, 1)
        )
        mse = ops.mean(error, axis=(-3, -2, -1))
        # 100 dB for equal images, not infinity.
        psnr = -10 * ops.log10(ops.maximum(mse, 1e-10))
        if psnr.ndim > 1:  # of clips
            psnr = ops.mean(psnr, axis=tuple(range(1, psnr.ndim)))
        if sample_weight is not None:
            # A weight for each image or each pixel, as losses take them.
            weight = ops.convert_to_tensor(sample_weight, self.dtype)
            if weight.ndim > 1:
                weight = ops.mean(weight, axis=tuple(range(1, weight.ndim)))
            sample_weight = weight
        super().update_state(psnr, sample_weight=sample_weight)
