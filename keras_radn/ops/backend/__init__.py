"""What differs between the backends of Keras, and nothing else.

The package is written in `keras.ops`. What these lack, or do more slowly than
a backend's own operations, is here: a module for each backend with the same
names. `common.py` has what two of them share, and says what the names mean.
"""

import keras

from keras_radn import keras_setup

keras_setup.check(keras)

if keras.backend.backend() == "tensorflow":
    from keras_radn.ops.backend.tensorflow import *  # noqa: F403
elif keras.backend.backend() == "jax":
    from keras_radn.ops.backend.jax import *  # noqa: F403
else:
    from keras_radn.ops.backend.torch import *  # noqa: F403
