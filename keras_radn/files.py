import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_beside(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside a file or folder that takes its place when all is written.

    Whoever is killed, or fails, leaves the file as it was. Two processes may
    write the same file; the last one's stays. A folder that exists already is
    moved aside first, so that for a moment there is none.

    Args:
        path: the file or folder.

    Yields:
        A path in the same folder with the same suffix, where a file or folder
        can be made.

    Example:

    ```python
    with written_beside("table.csv") as partial:
        partial.write_text(text)
    ```
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    aside = partial.with_suffix(".old")
    try:
        yield partial
        if partial.is_dir() and path.is_dir():
            path.rename(aside)
        partial.replace(path)
    finally:
        if aside.exists() and not path.exists():
            aside.rename(path)
        for leftover in (partial, aside):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)
