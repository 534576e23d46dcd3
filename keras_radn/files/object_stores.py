"""Files in object stores (and anywhere else pyarrow reaches) by their URI."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

from keras_radn.files import partial_name

# An object appears there when all of it was sent; elsewhere a file is written
# beside its place and moved.
_APPEARS_WHOLE = ("s3", "gcs", "abfs")


def is_uri(path: str | os.PathLike) -> bool:
    """Whether it is a URI such as `s3://bucket/folder`, not a local path."""
    return "://" in os.fspath(path)


@dataclass(frozen=True)
class Stat:
    """Size of a file in bytes, and its last change in ns since 1970."""

    size: int | None
    modified: int | None


class Location:
    """A file or folder of a pyarrow file system.

    Credentials and regions are found as by Arrow: in the environment, the
    configuration files of the store's own tools, or the URI's query.

    Args:
        uri: such as `s3://bucket/folder`, `gs://...`, `hdfs://...`,
            `file:///...`, or a local path.

    Raises:
        ImportError: if pyarrow is not installed.
        ValueError: if there is no such kind of file system.
        OSError: if the store cannot be reached.
    """

    def __init__(self, uri: str | os.PathLike):
        try:
            import pyarrow as pa
            from pyarrow import fs
        except ImportError as error:
            raise ImportError(
                "Object stores need pyarrow: pip install 'keras-radn[ray]'."
            ) from error
        self.uri = os.fspath(uri)
        self._pa, self._fs = pa, fs
        try:
            if is_uri(self.uri):
                self._files, self._path = fs.FileSystem.from_uri(self.uri)
            else:
                self._files = fs.LocalFileSystem()
                self._path = os.path.abspath(self.uri)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(f"{self.uri}: {_first_line(error)}") from error

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self._path).name

    @property
    def identity(self) -> str:
        """A text that is the same for all ways to write one path or URI."""
        return f"{self._files.type_name}:{self._path}"

    def __truediv__(self, relative: str | os.PathLike) -> "Location":
        relative = PurePosixPath(relative).as_posix()
        if not is_uri(self.uri):
            return Location(os.path.join(self.uri, relative))
        parts = urlsplit(self.uri)  # the query may hold options
        path = f"{parts.path.rstrip('/')}/{relative}"
        return Location(urlunsplit(parts._replace(path=path)))

    def stat(self) -> Stat | None:
        """The `Stat` of the file, or `None` if there is none."""
        info = self._files.get_file_info(self._path)
        return _stat(info) if info.is_file else None

    def is_folder(self) -> bool:
        """Whether it is a folder, or in an object store has objects below."""
        return (
            self._files.get_file_info(self._path).type
            == self._fs.FileType.Directory
        )

    def files(self) -> dict[PurePosixPath, Stat]:
        """All files below this folder by their relative path, sorted.

        Hidden files, and those in hidden folders, are left out.
        """
        selector = self._fs.FileSelector(self._path, recursive=True)
        found = {
            PurePosixPath(info.path).relative_to(self._path): _stat(info)
            for info in self._files.get_file_info(selector)
            if info.is_file
        }
        return {
            path: found[path]
            for path in sorted(found)
            if not any(part.startswith(".") for part in path.parts)
        }

    def read(self) -> bytes:
        """The content of the file.

        Raises:
            FileNotFoundError: if there is no such file.
            OSError: if it cannot be read.
        """
        with self._files.open_input_stream(self._path) as stream:
            return stream.read()

    def download(self, path: Path) -> None:
        """Copies the file to a local one."""
        with (
            self._files.open_input_stream(self._path) as stream,
            path.open("wb") as target,
        ):
            while chunk := stream.read(2**23):
                target.write(chunk)

    def write(self, data: bytes) -> None:
        """Writes all of the file, which appears at once or not at all."""
        self._put(self._pa.py_buffer(data))

    def upload(self, path: Path) -> None:
        """Writes a local file here, which appears at once or not at all."""
        with self._pa.memory_map(str(path)) as source:
            self._put(source.read_buffer())

    def _put(self, buffer):
        if self._files.type_name in _APPEARS_WHOLE:
            self._write_stream(self._path, buffer)
            return
        path = PurePosixPath(self._path)
        partial = str(path.with_name(partial_name(path.name)))
        self._files.create_dir(str(path.parent), recursive=True)
        try:
            self._write_stream(partial, buffer)
            self._files.move(partial, str(path))
        except BaseException:
            with contextlib.suppress(OSError):  # it would hide the first one
                self._files.delete_file(partial)
            raise

    def _write_stream(self, path, buffer):
        with self._files.open_output_stream(path) as stream:
            stream.write(buffer)


def _stat(info):
    return Stat(info.size, info.mtime_ns)


def _first_line(error):
    return str(error).split("\n")[0]
