"""Files and folders that take their place once they are completely written."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_TOKEN_BYTES = 8

# Characters of a stem, of up to 4 bytes each, in the names of other files.
_LONGEST_STEM = 40
_DIGEST_LENGTH = 16


@contextlib.contextmanager
def written_beside(
    path: str | os.PathLike, replace: bool = True
) -> Iterator[Path]:
    """A path beside a file or folder that takes its place when all is written.

    Whoever is killed, or fails, leaves the file as it was. Several may write
    the same file, on several machines, too; the last one's stays. A folder that
    exists already is moved aside first, so that for a moment there is none.

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
    partial = path.with_name(partial_name(path.name))
    aside = partial.with_name(f"{partial.name}.old")
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
            with contextlib.suppress(OSError):  # it would hide the first one
                _remove(leftover)


def remove_partials(path: str | os.PathLike) -> None:
    """Removes what killed processes have left beside a file.

    Args:
        path: the file; no other process may be writing it.
    """
    path = Path(path)
    mark = "TOKEN"
    name = re.escape(_hidden_name(path.name, f".{mark}"))
    name = name.replace(mark, f"[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
    for other in path.parent.glob(".*"):  # none if there is no folder
        if re.fullmatch(name, other.name):
            _remove(other)


def partial_name(name: str) -> str:
    """A name beside a file, of its suffix, that nobody else makes.

    Not by the number of the process: containers that share a folder have the
    same ones.

    Args:
        name: of the file.
    """
    return _hidden_name(name, f".{secrets.token_hex(_TOKEN_BYTES)}")


def short_stem(name: str) -> str:
    """A short stem for the names of other files beside a file.

    Args:
        name: of the file.

    Returns:
        Its name without the suffix; of a long one the beginning and a digest,
        since a name may have 255 bytes.
    """
    stem = Path(name).stem
    if len(stem) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:_DIGEST_LENGTH]
    return f"{stem[: _LONGEST_STEM - _DIGEST_LENGTH]}{digest}"


def _hidden_name(name, mark):
    return f".{short_stem(name)}{mark}{Path(name).suffix}"


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
