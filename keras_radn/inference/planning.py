"""Which files a batch reads and where it writes."""

import glob
import os
from collections.abc import (
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from keras_radn.pictures import videos

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
        problem: why the source cannot be deblurred, found in planning; None
            if nothing was found.
    """

    source: Path
    target: Path
    folder: Path | None = None
    compare: Path | None = None
    problem: str | None = None

    def make_folder(self) -> None:
        """Makes the folder of the target, if it may be made.

        Raises:
            OSError: if it cannot be made.
        """
        if self.folder is None:
            return
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"{self.target}: cannot be written: its folder cannot be made: "
                f"{error.strerror}."
            ) from error


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
        that is not there, or whose target is that of another one, is a job with
        a problem.

    Raises:
        ValueError: if the output is one file for several inputs, or an input.
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
    return _with_clashes(jobs)


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


def check_target(
    target: Path, replace: bool, makes_folder: bool = False
) -> None:
    """Refuses a file that cannot be written, before the work is done.

    Args:
        target: the file.
        replace: whether an existing one is replaced.
        makes_folder: whether its folder is made if it is not there.

    Raises:
        FileExistsError: if there is one that is not replaced.
        OSError: if its folder cannot be written to.
    """
    folder = target.parent
    is_made = makes_folder and not os.path.lexists(folder)
    if not is_made and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise OSError(
            f"{target}: cannot be written: {folder} is not a folder that can "
            "be written to."
        )
    if not replace and os.path.lexists(target):
        raise FileExistsError(
            f"{target}: exists already; choose another output or use "
            "force=True."
        )


def output_name(path: PurePath) -> PurePath:
    """The path, with a suffix added if its own can only be read."""
    return path.with_name(path.name + _ONLY_READ.get(path.suffix.lower(), ""))


def _with_compare(job):
    target = job.target
    if is_video(job):
        return job
    return replace(job, compare=target.with_name(f"{target.name}.compare.jpg"))


def _with_clashes(jobs):
    """The jobs, with a problem in those that clash with another one."""
    checked = [job for job in jobs if job.problem is None]
    problems = find_clashes(
        [
            Writing(
                str(job.source),
                _identity(job.source),
                {
                    _identity(path): str(path)
                    for path in (job.target, job.compare)
                    if path is not None
                },
                job.target.name == job.source.name,
            )
            for job in checked
        ]
    )
    found = dict(zip(checked, problems, strict=True))
    return [replace(job, problem=job.problem or found[job]) for job in jobs]


@dataclass(frozen=True)
class Writing:
    """What a job writes, for `find_clashes`.

    Attributes:
        source: as it is shown.
        identity: of the source, the same for all ways to write its path.
        targets: identities of the files that are written, as they are shown.
        keeps_name: whether the target has the name of the source.
    """

    source: str
    identity: Hashable
    targets: Mapping[Hashable, str]
    keeps_name: bool


def find_clashes(writings: Sequence[Writing]) -> list[str | None]:
    """Why a file cannot be written beside the others of its batch.

    If two would be the same, the one whose source has its name comes first,
    then the one that stands first.

    Args:
        writings: of all jobs of a batch.

    Returns:
        For each a sentence about its source, or None.

    Raises:
        ValueError: if a source is its own target.
    """
    sources = {writing.identity: writing.source for writing in writings}
    problems, written = [None] * len(writings), {}
    order = sorted(
        range(len(writings)), key=lambda i: not writings[i].keeps_name
    )
    for i in order:
        writing = writings[i]
        for identity, target in writing.targets.items():
            if identity == writing.identity:
                raise ValueError(
                    f"{target}: is one of the inputs, which are never "
                    "overwritten; choose another output."
                )
            if identity in sources:
                problems[i] = (
                    f"would be written to {target}, which is one of the "
                    "inputs; choose another output for it."
                )
            elif identity in written:
                problems[i] = (
                    f"would be written to {target}, as {written[identity]} is; "
                    "rename one of them, or deblur it alone, into a file of "
                    "another name."
                )
        if problems[i] is None:
            written |= dict.fromkeys(writing.targets, writing.source)
    return problems


def _identity(path):
    """What two names of one file have in common."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return path
    return status.st_dev, status.st_ino
