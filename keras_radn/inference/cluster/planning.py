"""Which files a cluster reads and where it writes."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from keras_radn.files.object_stores import Location, Stat, is_uri
from keras_radn.inference.planning import (
    FILE_SUFFIXES,
    Writing,
    find_clashes,
    output_name,
    plan_jobs,
)


@dataclass(frozen=True)
class RemoteJob:
    """A file to deblur, whose paths may be URIs.

    Attributes:
        source: what to read.
        target: what to write.
        stat: of the source; None if it is not there.
        exists: whether the target is there before the work.
        problem: why the source cannot be deblurred; None if nothing was found.
    """

    source: str
    target: str
    stat: Stat | None = None
    exists: bool = False
    problem: str | None = None


def plan_remote_jobs(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    output: str | os.PathLike,
) -> list[RemoteJob]:
    """Plans jobs as `plan_jobs` does, for paths and URIs.

    Args:
        inputs: files, folders and, if nothing is a URI, patterns.
        output: a folder.

    Returns:
        Jobs, in the order of the inputs; those of a folder sorted. An input
        that is not there, or whose target is that of another one, is a job with
        a problem. Local paths are absolute.

    Raises:
        ImportError: if pyarrow is not installed.
        ValueError: if the output is a file, an input folder has no pictures,
            or an input is its own output.
        OSError: if a store cannot be reached.
    """
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    inputs, output = [os.fspath(path) for path in inputs], Location(output)
    if PurePosixPath(output.name).suffix.lower() in FILE_SUFFIXES:
        raise ValueError(
            f"{output.uri}: is a file; on a cluster the output is a folder."
        )
    if not any(map(is_uri, [*inputs, output.uri])):
        return [
            RemoteJob(
                os.path.abspath(job.source),
                os.path.abspath(job.target),
                _local_stat(job.source),
                os.path.lexists(job.target),
                job.problem,
            )
            for job in plan_jobs(inputs, output.uri)
        ]
    existing = output.files() if output.is_folder() else {}
    found = {}
    for text in inputs:
        for source, relative, stat in _find(text, len(inputs) > 1, output):
            found.setdefault(source.identity, (source, relative, stat))
    jobs, writings = [], []
    for source, relative, stat in found.values():
        name = output_name(relative)
        target = output / name
        problem = None if stat else "there is no such file."
        jobs.append(
            RemoteJob(source.uri, target.uri, stat, name in existing, problem)
        )
        writings.append(
            Writing(
                source.uri,
                source.identity,
                {target.identity: target.uri},
                name == relative,
            )
        )
    problems = find_clashes(writings)
    return [
        replace(job, problem=job.problem or problem)
        for job, problem in zip(jobs, problems, strict=True)
    ]


def _find(text, several, output):
    """Location, path relative to the output, and `Stat` of files."""
    location = Location(text)
    name = PurePosixPath(location.name)
    stat = location.stat()
    if stat is not None or not location.is_folder():
        yield location, name, stat
        return
    empty = True
    for path, stat in location.files().items():
        source = location / path
        # What an earlier run wrote is not an input.
        own = source.identity.startswith(output.identity.rstrip("/") + "/")
        if path.suffix.lower() in FILE_SUFFIXES and not own:
            empty = False
            yield source, name / path if several else path, stat
    if empty:
        raise ValueError(f"{text}: there are no pictures in it.")


def _local_stat(path):
    try:
        stat = path.stat()
    except OSError:
        return None
    return Stat(stat.st_size, stat.st_mtime_ns)
