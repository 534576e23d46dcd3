"""What is written to stderr."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def without_messages() -> Iterator[None]:
    """Keeps everything off stderr within the block, even from C++.

    Should it end by an exception, all that was written is shown.
    """
    if sys.stderr is None:  # closed (`2>&-`)
        yield
        return
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
