"""What became of each file of a batch, kept so that a run can go on."""

import json
import time
from dataclasses import asdict
from os import PathLike

from keras_radn.files.object_stores import Location, Stat
from keras_radn.inference.cluster.planning import RemoteJob
from keras_radn.inference.report import Report

# Writing takes at most about a tenth of the time.
_LEAST_SECONDS = 5
_SHARE = 10


class Manifest:
    """A file of JSON lines, one for each source.

    It holds all sources of a run from its start on, so that a target that is
    there when the run goes on is known to be its own. It is written as a whole,
    which object stores want, every few seconds and at the end.

    Args:
        location: of the file; it is read if it is there.

    Raises:
        ValueError: if the file is not a manifest.
    """

    def __init__(self, location: Location):
        self._location = location
        self._rows = {}
        self._written, self._took = time.monotonic(), 0.0
        if location.stat() is None:
            return
        try:
            for line in location.read().decode().splitlines():
                row = json.loads(line)
                self._rows[row["source"]] = row
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{location.uri}: is not a manifest of earlier work; move it "
                "away, or choose another one."
            ) from error

    @classmethod
    def of(
        cls, output: str | PathLike, path: str | PathLike | None = None
    ) -> "Manifest":
        """The manifest of an output folder, or the one at another place."""
        return cls(
            Location(output) / "manifest.jsonl"
            if path is None
            else Location(path)
        )

    def check(
        self, job: RemoteJob, force: bool = False, skip_existing: bool = False
    ) -> Report:
        """Checks a job before any work.

        Returns:
            A report whose status is `"planned"`, `"skipped"` or `"failed"`.
        """
        report = Report(job.source, job.target, "planned")
        begun = self.is_begun(job)
        if job.problem is not None:
            report.status = "failed"
            report.error = f"{job.source}: {job.problem}"
        elif force or not job.exists:
            pass
        elif self.is_done(job) or (skip_existing and not begun):
            report.status = "skipped"
        elif not begun:
            report.status = "failed"
            report.error = (
                f"{job.target}: exists already; choose another output or use "
                "force=True."
            )
        return report

    def is_begun(self, job: RemoteJob) -> bool:
        """Whether a target that is there comes from the work on this job."""
        row = self._rows.get(job.source)
        return bool(row and row["begun"] and row["target"] == job.target)

    def is_done(self, job: RemoteJob) -> bool:
        """Whether the target is there and the source is as it was."""
        row = self._rows.get(job.source)
        return (
            self.is_begun(job)
            and row["status"] == "done"
            and job.exists
            and job.stat is not None
            and row["size"] == job.stat.size
            and row["modified"] == job.stat.modified
        )

    def update(self, job: RemoteJob, report: Report) -> None:
        """Replaces what is known of a job by what became of it."""
        begun = report.status in ("planned", "done") or self.is_begun(job)
        stat = job.stat or Stat(None, None)
        self._rows[job.source] = asdict(report) | {
            "begun": begun,
            "size": stat.size,
            "modified": stat.modified,
        }
        wait = max(_LEAST_SECONDS, _SHARE * self._took)
        if time.monotonic() - self._written > wait:
            self.write()

    def write(self) -> None:
        """Writes the file."""
        start = time.monotonic()
        lines = [json.dumps(row) + "\n" for row in self._rows.values()]
        self._location.write("".join(lines).encode())
        self._written = time.monotonic()
        self._took = self._written - start
