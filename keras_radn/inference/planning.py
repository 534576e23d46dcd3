"""Which files a batch reads and where it writes."""

import glob
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from keras_radn import videos

# Suffixes of the pictures that are taken from a folder.
PICTURE_SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2"),
        *(".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif"),
        *(".tiff", ".webp"),
    )
)

# Suffixes of all files that are taken from a folder.
FILE_SUFFIXES = PICTURE_SUFFIXES | videos.SUFFIXES

# Read but not written: `a.gif` becomes `a.gif.png`, beside that of an `a.png`.
# Matroska holds all kinds of sound.
_ONLY_READ = {".gif": ".png"} | dict.fromkeys(
    videos.SUFFIXES.difference(videos.OUTPUT_SUFFIXES), ".mkv"
)


@dataclass(frozen=True)
class Job:
    """A file to deblur.

    Attributes:
        source: what to read.
        target: what to write.
        folder: the folder below which folders may be made for the target;
            None if that of the target has to be there.
        compare: where a picture of before and after goes; None for none.
        problem: why the source cannot be read, found in planning; None if
            nothing was found.
    """

    source: Path
    target: Path
    folder: Path | None = None
    compare: Path | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _Found:
    path: Path
    relative: Path
    problem: str | None = None


def plan_jobs(
    inputs: Iterable[str | os.PathLike],
    output: str | os.PathLike,
    *,
    compare: bool = False,
    suffixes: Collection[str] = FILE_SUFFIXES,
) -> list[Job]:
    """Finds the files of a batch and their targets.

    A folder is searched with all its folders, which are mirrored in the
    output: a single one's files come directly into it, those of one among
    several inputs into a folder of its name. Hidden files, links to folders,
    files with other suffixes and the output itself are left out. Patterns such
    as `photos/**/*.jpg`, for shells that do not expand them, are mirrored from
    their first folder without wildcards on.

    Args:
        inputs: files, folders and patterns.
        output: a folder, or for one input file a file with an image suffix. A
            folder with a dot in its name has to exist or to end in a slash.
        compare: whether pictures of before and after are written, too, as
            `NAME.compare.jpg`.
        suffixes: lower-case, of the files that are taken from folders.

    Returns:
        Jobs, in the order of the inputs; those of a folder sorted. An input
        that is not there is a job with a problem.

    Raises:
        ValueError: if the output is one file for several inputs, or two
            inputs or outputs would be the same file.
    """
    inputs = [os.fspath(path) for path in inputs]
    # `Path` drops the slash.
    ends_in_slash = os.fspath(output).endswith((os.sep, os.altsep or os.sep))
    output = Path(output)
    is_folder = ends_in_slash or output.is_dir()
    found = {}
    for text in inputs:
        for item in _find(text, len(inputs) > 1, output, suffixes):
            found.setdefault(item.path, item)
    found = list(found.values())
    single = len(inputs) == 1 and not _is_many(inputs[0])
    if single and output.suffix and not is_folder:
        jobs = [Job(found[0].path, output, problem=found[0].problem)]
    else:
        if output.suffix.lower() in suffixes and not is_folder:
            raise ValueError(
                f"{output}: is one file for several inputs or a folder; give a "
                "folder."
            )
        jobs = [
            Job(
                item.path,
                output_name(output / item.relative),
                folder=output,
                problem=item.problem,
            )
            for item in found
        ]
    if compare:
        jobs = [_with_compare(job) for job in jobs]
    _check_clashes(jobs)
    return jobs


def _is_pattern(text):
    return glob.has_magic(text) and not os.path.lexists(text)


def _is_many(text):
    return _is_pattern(text) or os.path.isdir(text)


def _find(text, several, output, suffixes):
    path = Path(text)
    if _is_pattern(text):
        yield from _expand(text, output, suffixes)
    elif os.path.isdir(text):
        prefix = Path(path.resolve().name) if several else Path()
        empty = True
        for item in _walk(path, output, suffixes):
            empty = False
            relative = prefix / item.path.relative_to(path)
            yield _Found(item.path, relative, item.problem)
        if empty:
            problem = "there are no pictures in this folder."
            yield _Found(path, Path(path.resolve().name), problem)
    else:
        yield _Found(path, Path(path.name))


def _expand(pattern, output, suffixes):
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:fixed])
    empty = True
    for match in sorted(map(Path, glob.iglob(pattern, recursive=True))):
        if match.is_dir():
            items = _walk(match, output, suffixes)
        elif match.suffix.lower() in suffixes and not _is_below(match, output):
            items = [_Found(match, match)]
        else:
            continue
        for item in items:
            empty = False
            relative = item.path.relative_to(base)
            yield _Found(item.path, relative, item.problem)
    if empty:
        problem = "no pictures match this pattern."
        yield _Found(Path(pattern), Path(parts[-1]), problem)


def _walk(folder, output, suffixes) -> Iterator[_Found]:
    failed = []
    for root, folders, names in os.walk(folder, onerror=failed.append):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and not _is_same(Path(root, name), output)
        )
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix.lower() in suffixes and not name.startswith("."):
                yield _Found(path, path)
        while failed:
            yield _unreadable(failed.pop())
    while failed:
        yield _unreadable(failed.pop())


def _unreadable(error):
    problem = f"the folder cannot be read: {error.strerror}."
    return _Found(Path(error.filename), Path(), problem)


def _is_same(path, other):
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _is_below(path, folder):
    return any(_is_same(parent, folder) for parent in path.parents)


def is_video(job: Job) -> bool:
    """Whether the source is a video, by its suffix."""
    return job.source.suffix.lower() in videos.SUFFIXES


def output_name(path: PurePath) -> PurePath:
    """A path with a suffix that can be written added to another one."""
    return path.with_name(path.name + _ONLY_READ.get(path.suffix.lower(), ""))


def _with_compare(job):
    target = job.target
    if is_video(job):
        return job
    compare = target.with_name(f"{target.name}.compare.jpg")
    return Job(job.source, target, job.folder, compare, job.problem)


def _check_clashes(jobs):
    jobs = [job for job in jobs if job.problem is None]
    sources = {identity for job in jobs if (identity := _identity(job.source))}
    written = set()
    for job in jobs:
        for target in filter(None, (job.target, job.compare)):
            if target in written:
                raise ValueError(
                    f"{target}: would be written by two inputs of the same "
                    "name; deblur them into different folders."
                )
            written.add(target)
            if _identity(target) in sources:
                raise ValueError(
                    f"{target}: is one of the inputs, which are never "
                    "overwritten; choose another output."
                )


def _identity(path):
    """What two names of one file have in common."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
