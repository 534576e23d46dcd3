import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_beside(
    path: str | os.PathLike, replace: bool = True
) -> Iterator[Path]:
    """A path beside a file or folder that takes its place when all is written.

    Whoever is killed, or fails, leaves the file as it was. Two processes may
    write the same file; the last one's stays. A folder that exists already is
    moved aside first, so that for a moment there is none.

    Args:
        path: the file or folder.
        replace: whether what is there by then is replaced.

    Yields:
        A path in the same folder with the same suffix, where a file or folder
        can be made.

    Raises:
        FileExistsError: at the end, if there is something and not `replace`.

    Example:

    ```python
    with written_beside("table.csv") as partial:
        partial.write_text(text)
    ```
    """
    path = Path(path)
    partial = path.with_name(_partial_name(path, str(os.getpid())))
    aside = partial.with_suffix(".old")
    try:
        yield partial
        if not replace:
            _rename_to_new(partial, path)
        else:
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
    except OSError:  # a folder, or a file system without links
        if os.path.lexists(target):
            raise FileExistsError(
                errno.EEXIST, os.strerror(errno.EEXIST), str(target)
            ) from None
        source.rename(target)
