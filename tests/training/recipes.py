from tests.conftest import TINY_RADN

# Every kind of layer once: most of a short training is TensorFlow's tracing.
SMALL_RADN = {**TINY_RADN, "encoder_units": (1, 1, 1), "deform_units": 1}
