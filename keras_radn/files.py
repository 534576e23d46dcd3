import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_beside(
    path: str | os.PathLike, replace: bool = True
) -> Iterator[Path]:
    """A path beside a file that takes its place when all is written.

    Whoever is killed, or fails, leaves the file as it was. Two processes may
    write the same file; the last one's stays.

    Args:
        path: the file.
        replace: whether a file that is there by then is replaced.

    Yields:
        A path in the same folder with the same suffix.

    Raises:
        FileExistsError: at the end, if there is a file and not `replace`.

    Example:

    ```python
    with written_beside("table.csv") as partial:
        partial.write_text(text)
    ```
    """
    path = Path(path)
    partial = path.with_name(_partial_name(path, str(os.getpid())))
    try:
        yield partial
        if replace:
            partial.replace(path)
        else:
            _rename_to_new(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(path: str | os.PathLike) -> None:
    """Removes what killed processes have left beside a file.

    Args:
        path: the file; no other process may be writing it.
    """
    path = Path(path)
    mark = "PROCESS"
    name = re.escape(_partial_name(path, mark)).replace(mark, r"\d+")
    for other in path.parent.glob(".*"):  # none if there is no folder
        if re.fullmatch(name, other.name):
            other.unlink(missing_ok=True)


def _partial_name(path, process):
    # A name may have 255 bytes; the suffix is not the long part.
    return f".{path.stem[:40]}.{process}{path.suffix}"


def _rename_to_new(source, target):
    try:
        os.link(source, target)  # unlike a rename it replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(
                errno.EEXIST, os.strerror(errno.EEXIST), str(target)
            ) from None
        source.rename(target)
