import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_beside(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside a file that takes its place when all is written.

    Whoever is killed, or fails, leaves the file as it was. Two processes may
    write the same file; the last one's stays.

    Args:
        path: the file.

    Yields:
        A path in the same folder with the same suffix.

    Example:

    ```python
    with written_beside("table.csv") as partial:
        partial.write_text(text)
    ```
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
