"""Region-Adaptive Dense Network for motion deblurring, in Keras 3."""

import importlib.util
import sys

from keras_radn import keras_setup

__getattr__, __dir__, __all__ = keras_setup.attach(__name__, __file__)


class _AfterKeras:
    """Registers the package's classes when Keras is imported, by whomever.

    So `keras.models.load_model` finds them after `import keras_radn`, which
    does not import Keras itself.
    """

    _searching = False

    def find_spec(self, name, path=None, target=None):
        if name != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is not None:
            spec.loader.exec_module = self._then_register(
                spec.loader.exec_module
            )
        return spec

    def _then_register(self, execute):
        def execute_and_register(module):
            execute(module)
            sys.meta_path.remove(self)
            keras_setup.register(module)

        return execute_and_register


if "keras" in sys.modules:
    keras_setup.register(sys.modules["keras"])
else:
    sys.meta_path.insert(0, _AfterKeras())
