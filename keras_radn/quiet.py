import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def without_messages() -> Iterator[None]:
    """Within it nothing is written to stderr, not even by C++.

    Should it end by an exception, all that was written is shown.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow without its informational messages on stderr.

    The first of them are written by C++ whatever `TF_CPP_MIN_LOG_LEVEL` says.
    """
    with without_messages():
        import tensorflow as tf

        # The last of the messages come with the first device.
        tf.config.list_physical_devices()
