import keras
from keras import layers


class SharedLayers:
    """The convolutions of a network that it applies at several scales.

    The first call with a name makes a layer, further ones use its weights.

    Args:
        kernel_size: of the convolutions, unless they say another.
        dtype: dtype policy of the layers, unless they say another.
    """

    def __init__(self, kernel_size: int, dtype):
        self._layers = {}
        self._kernel_size = kernel_size
        self._dtype = dtype

    def conv(
        self, x: keras.KerasTensor, filters: int, name: str, **kwargs
    ) -> keras.KerasTensor:
        """A convolution; `kwargs` are further arguments of `Conv2D`."""
        return self._layer(
            layers.Conv2D,
            filters,
            name,
            **{"kernel_size": self._kernel_size, **kwargs},
        )(x)

    def double(
        self, x: keras.KerasTensor, filters: int, name: str, **kwargs
    ) -> keras.KerasTensor:
        """A 4x4 deconvolution to twice the resolution."""
        return self._layer(
            layers.Conv2DTranspose,
            filters,
            name,
            kernel_size=4,
            strides=2,
            **kwargs,
        )(x)

    def residual_block(
        self, x: keras.KerasTensor, name: str
    ) -> keras.KerasTensor:
        """Two convolutions, ReLU between them, and the identity."""
        filters = x.shape[-1]
        y = self.conv(x, filters, f"{name}.conv1", activation="relu")
        y = self.conv(y, filters, f"{name}.conv2")
        return layers.Add(dtype=self._dtype)([x, y])

    def _layer(self, kind, filters, name, **kwargs):
        if name not in self._layers:
            arguments = {"padding": "same", "dtype": self._dtype, **kwargs}
            self._layers[name] = kind(filters, name=name, **arguments)
        return self._layers[name]
