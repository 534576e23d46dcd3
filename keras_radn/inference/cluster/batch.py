"""Deblurring on many machines, by Ray Data."""

import contextlib
import copy
import json
import logging
import math
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_radn.files import remove_partials
from keras_radn.files.object_stores import Location, is_uri
from keras_radn.inference.batch import BatchProgress, run_job
from keras_radn.inference.cluster.manifest import Manifest
from keras_radn.inference.cluster.planning import plan_remote_jobs
from keras_radn.inference.deblurrer import Deblurrer, Network
from keras_radn.inference.model_file import read_model
from keras_radn.inference.planning import Job
from keras_radn.inference.report import Report
from keras_radn.ops import backend

# Ray has to keep track of each block of files.
_MOST_BLOCKS = 10_000

# On this machine; models and names of files are all that is in it.
_OBJECT_STORE_BYTES = 2**29


def deblur_on_ray(
    inputs: str | os.PathLike | Iterable[str | os.PathLike],
    output: str | os.PathLike,
    model: Deblurrer | Network | None = None,
    *,
    workers: int | None = None,
    manifest: str | os.PathLike | None = None,
    quality: int | None = None,
    force: bool = False,
    skip_existing: bool = False,
    dry_run: bool = False,
    progress: BatchProgress | None = None,
) -> Iterator[Report]:
    """Deblurs files on the machines of a Ray cluster.

    Each worker has a model of its own and takes one file after another. Files
    may be in object stores; local paths must mean the same files on all
    machines, and this package must be installed on them. A worker that dies is
    replaced and its file done again, up to four times.

    What became of each file is in the manifest. The same call goes on where an
    earlier one ended, however it ended: files that are done and have not
    changed since are left out.

    Ray is started on this machine unless it is running (`ray.init`) or the
    environment variable `RAY_ADDRESS` names a cluster.

    Args:
        inputs: files, folders and, if local, patterns; see `plan_jobs`. URIs
            such as `s3://bucket/folder`, of all that pyarrow reaches.
        output: a folder, local or a URI.
        model: see `deblur`; a preset is sent as its name, a network as a file,
            any other function as Ray pickles it.
        workers: how many; by default one for each GPU, or for each machine if
            there are none. They share the processors.
        manifest: where to keep it, local or a URI; by default
            `manifest.jsonl` in the output.
        quality: of lossy formats; see `PageWriter`.
        force: whether existing files are replaced, also those of the
            manifest.
        skip_existing: whether files whose target is there are left out.
        dry_run: whether it is only reported what would be done.
        progress: see `deblur_files`; called after each file.

    Yields:
        Per file a report, in the order in which they are done.

    Raises:
        ImportError: if Ray is not installed.
        ValueError: at once, if the inputs and the output do not fit; later, if
            the cluster is too small for the workers.
        OSError: if the output or the manifest cannot be written.

    Example:

    ```python
    from keras_radn import inference

    for report in inference.deblur_on_ray("s3://in/photos", "s3://out/sharp"):
        print(report.source, report.status, report.error or "")
    ```
    """
    jobs = plan_remote_jobs(inputs, output)
    record = Manifest.of(output, manifest)
    if dry_run:
        reports = (record.check(job, force, skip_existing) for job in jobs)
    else:
        reports = _reports(
            jobs,
            record,
            Deblurrer.of(model),
            workers,
            quality,
            force=force,
            skip_existing=skip_existing,
        )
    return _counted(reports, len(jobs), progress or (lambda *_: None))


def _counted(reports, count, progress):
    with contextlib.closing(reports):  # so that the manifest is written
        progress(0, count, 0, 0)
        for done, report in enumerate(reports, start=1):
            progress(done, count, 0, 0)
            yield report


def _reports(
    jobs, record, deblurrer, workers, quality, *, force, skip_existing
):
    ray = _import_ray()
    waiting = {}
    try:
        for job in jobs:
            report = record.check(job, force, skip_existing)
            if report.status == "planned":
                waiting[job.source] = job
            if report.status != "skipped":
                record.update(job, report)
            if report.status != "planned":
                yield report
        record.write()  # before the work is done, not after
        if not waiting:
            return
        with _running(ray):
            options = {
                "deblurrer": ray.put(_packed(deblurrer)),  # once for all
                "quality": quality,
                "most_pixels": Image.MAX_IMAGE_PIXELS,
            }
            for report in _results(
                ray, list(waiting.values()), workers, options
            ):
                record.update(waiting.pop(report.source), report)
                yield report
    finally:
        record.write()
    if waiting:
        raise RuntimeError(
            f"Ray lost {len(waiting)} files, of them {min(waiting)}; the same "
            "call goes on with them."
        )


def _packed(deblurrer):
    """A `Deblurrer` with the bytes of a `.keras` file for a Keras model.

    Machines may share no files, and Keras's own pickles would want the loss
    and the optimizer of a compiled model.
    """
    packed = copy.copy(deblurrer)
    if isinstance(packed.model, keras.Model):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            packed.model.save(path)
            packed.model = path.read_bytes()
    return packed


def _unpacked(packed):
    deblurrer = copy.copy(packed)
    if isinstance(deblurrer.model, bytes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            path.write_bytes(deblurrer.model)
            deblurrer.model = read_model(path)
    return deblurrer


def _import_ray():
    # Read when Ray is imported or started: no messages on details of Ray Data's
    # own actors, none on stdout on workers that died (the reports say it), no
    # statistics sent, and no ports to the outside, which have no passwords,
    # where no cluster is asked for.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault(
        "RAY_DEDUP_LOGS_SKIP_REGEX", "worker died|retries remaining"
    )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(
            "Many machines need Ray: pip install 'keras-radn[ray]'."
        ) from error
    return ray


@contextlib.contextmanager
def _running(ray):
    """Starts Ray if it does not run, and then shuts it down afterwards."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        quiet |= {
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    ray.init(**quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _results(ray, jobs, workers, options):
    """Reports from the workers, as they come."""
    workers, cpus, gpus = _shares(ray, workers)
    with warnings.catch_warnings():
        # Ray's own use of its settings.
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ledger = ray.remote(num_cpus=0)(Ledger).remote()
    # As JSON: names that are not UTF-8 are not strings for Arrow.
    items = [{"job": json.dumps([job.source, job.target])} for job in jobs]
    results = ray.data.from_items(
        items, override_num_blocks=min(len(items), _MOST_BLOCKS)
    ).map_batches(
        Worker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=workers, max_tasks_in_flight_per_actor=1
        ),
        num_cpus=cpus,
        num_gpus=gpus,
        fn_constructor_kwargs={"ledger": ledger, "threads": cpus, **options},
    )
    for row in results.iter_rows():
        yield Report(**json.loads(row["report"]))


def _shares(ray, workers):
    """How many workers, and processors and GPUs of each."""
    nodes = [
        node["Resources"]
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    ]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    processors = sum(int(node["CPU"]) for node in nodes)
    if workers is None:
        workers = min(gpus, processors) or len(nodes)
    if workers > processors:
        raise ValueError(
            f"{workers} workers need a processor each; the cluster has "
            f"{processors}. Use fewer."
        )
    least = min(int(node["CPU"]) for node in nodes)
    cpus = max(1, least // math.ceil(workers / len(nodes)))
    return workers, cpus, 1 if 0 < workers <= gpus else None


class Ledger:
    """A Ray actor that knows which files were begun and done.

    Ray repeats all that was on its way to a worker that died.
    """

    def __init__(self):
        self._begun = Counter()
        self._reports = {}

    def begin(self, source: str) -> tuple[int, str | None]:
        """How often a file was begun, and its report if it is done."""
        self._begun[source] += 1
        return self._begun[source], self._reports.get(source)

    def end(self, source: str, report: str) -> None:
        """Keeps the report of a file."""
        self._reports[source] = report


class Worker:
    """A Ray actor with a model, which deblurs one file after another."""

    # A file whose worker died as often is given up: it may be the reason.
    most_attempts = 4

    def __init__(self, ledger, threads, deblurrer, quality, most_pixels):
        import ray

        Image.MAX_IMAGE_PIXELS = most_pixels
        backend.limit_threads(threads)
        self._ledger, self._quality = ledger, quality
        self._deblurrer = _unpacked(ray.get(deblurrer))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        """Deblurs files.

        Args:
            batch: in `job`, source and target of each as JSON.

        Returns:
            In `report`, a `Report` as JSON for each.
        """
        jobs = map(json.loads, batch["job"])
        return {"report": [self._work(*job) for job in jobs]}

    def _work(self, source, target):
        import ray

        attempt, report = ray.get(self._ledger.begin.remote(source))
        if report is not None:
            return report
        if attempt > self.most_attempts:
            result = Report(
                source,
                target,
                "failed",
                f"{source}: the workers that deblurred it died, "
                f"{self.most_attempts} times; there may be too little memory.",
            )
        else:
            try:
                result = self.deblur(source, target, attempt)
            except Exception as error:  # of any kind of file system
                text = f"{source}: {' '.join(str(error).split())}"
                result = Report(source, target, "failed", text)
            if attempt > 1:
                result.notes.append(
                    f"Workers died before; this was attempt {attempt}."
                )
        report = json.dumps(asdict(result))
        ray.get(self._ledger.end.remote(source, report))
        return report

    def deblur(self, source: str, target: str, attempt: int) -> Report:
        """Deblurs a file.

        Args:
            source: path or URI.
            target: path or URI.
            attempt: 1, or more if workers died of it.

        Raises:
            OSError: if a URI cannot be read or written.
        """
        if not is_uri(source) and not is_uri(target):
            if attempt > 1:
                remove_partials(target)
            folder = Path(target).parent
            return self._run(Job(Path(source), Path(target), folder=folder))
        with tempfile.TemporaryDirectory() as folder:
            local = Job(
                Path(folder, "in", Location(source).name),
                Path(folder, "out", Location(target).name),
            )
            local.source.parent.mkdir()
            local.target.parent.mkdir()
            Location(source).download(local.source)
            report = self._run(local)
            if report.status == "done":
                Location(target).upload(local.target)
        if report.error is not None:
            report.error = report.error.replace(
                str(local.source), source
            ).replace(str(local.target), target)
        report.source, report.target = source, target
        return report

    def _run(self, job):
        # Whether to replace was decided before; the file may be of the worker
        # that died.
        return run_job(job, self._deblurrer, self._quality, force=True)
