"""What `keras-radn visualize` does."""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from keras_radn import visualize
from keras_radn.cli.messages import in_options, say
from keras_radn.cli.network_options import load_model
from keras_radn.cli.tables import markdown_table, write_csv
from keras_radn.files import written_beside
from keras_radn.inference.planning import Job, plan_jobs
from keras_radn.ops import backend
from keras_radn.pictures.pixels import in_depth
from keras_radn.pictures.reading import read_picture

_DPI = 150

# On the picture of a table; all are in the table.
_MOST_THUMBNAILS = 12
_THUMBNAIL_SIDE = 480


def visualize_photographs(options: argparse.Namespace) -> int:
    """Draws or tabulates what the options of the command say.

    Returns:
        1 if something failed, else 0.
    """
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{options.output}: the folder cannot be made: {error.strerror}."
        ) from error
    batch = _Batch(plan_jobs(options.inputs, options.output), options)
    if options.table:
        _tabulate(batch)
    elif options.blur_lengths:
        _correlate(batch, options.blur_lengths)
    else:
        _draw(batch)
    if batch.failed and len(batch.jobs) > 1:
        say(f"{batch.failed} of {len(batch.jobs)} files failed")
    return int(batch.failed > 0)


class _Batch:
    """Photographs, of which those that fail do not keep the others."""

    def __init__(self, jobs: list[Job], options: argparse.Namespace):
        self.jobs = jobs
        self.options = options
        self.failed = 0
        self._model = None

    def inspect(self, image):
        """An `Inspection` of an array."""
        limit = self.options.max_megapixels
        max_pixels = None if limit is None else round(limit * 1e6)
        return visualize.Inspection(self._model, image, max_pixels=max_pixels)

    def map(self, work: Callable[[int, Job, np.ndarray], Any]) -> list:
        """Results of the photographs that did not fail.

        `work` gets the number of the file, the file and its pixels.
        """
        if any(job.source.is_file() for job in self.jobs):  # else fail at once
            self._model = load_model(self.options)
        console = Console(stderr=True)
        jobs = track(
            self.jobs,
            "Looking",
            console=console,
            disable=not console.is_terminal,
        )
        results = []
        for number, job in enumerate(jobs):
            try:
                results.append(self._try(work, number, job))
            except (ValueError, OSError) as error:
                self.failed += 1
                say(f"error: {in_options(error, self.options)}")
        return results

    def _try(self, work, number, job):
        if job.problem is not None:
            raise ValueError(f"{job.source}: {job.problem}")
        pixels = read_picture(job.source).pixels
        try:
            return work(number, job, pixels)
        except ValueError as error:  # which does not know the file
            raise ValueError(f"{job.source}: {error}") from error
        except Exception as error:
            if not backend.is_out_of_memory(error):
                raise
            raise ValueError(
                f"{job.source}: There is not enough memory for the image; "
                "reduce it."
            ) from error

    def name(self, job: Job) -> str:
        """Name of a photograph in tables."""
        return str(job.target.relative_to(self.options.output))


def _draw(batch):
    options = batch.options

    def draw(_, job, pixels):
        inspection = batch.inspect(pixels)
        image, layers = inspection.image, inspection.layers
        points = options.points or [(image.shape[1] // 2, image.shape[0] // 2)]
        chosen = options.layer, options.unit
        difference = residual = None
        figures = {}
        if layers:
            difference = inspection.offset_difference(*chosen)
            figures["sampling"] = visualize.sampling_figure(
                image, points, *inspection.sampling_points(points, *chosen)
            )
        if inspection.has_attention:
            residual = inspection.attention_residual()
            figures["attention"] = visualize.attention_figure(
                image, points, [inspection.attention(p) for p in points]
            )
        figures["maps"] = visualize.map_figure(image, difference, residual)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        for kind, figure in figures.items():
            _save(figure, job.target.with_name(f"{job.target.name}.{kind}.png"))

    batch.map(draw)


def _tabulate(batch):
    def measure(_, job, pixels):
        magnitude = batch.inspect(pixels).offset_magnitude()
        return {"image": batch.name(job), "pixels": magnitude, "job": job}

    rows = sorted(batch.map(measure), key=lambda row: -row["pixels"])
    if not rows:
        return
    columns = {"image": ("image", ""), "pixels": ("mean offset, px", ".3f")}
    print(markdown_table(rows, columns))
    _write_csv(batch.options.output / "offset_magnitudes.csv", rows, columns)
    count = min(len(rows), _MOST_THUMBNAILS)
    shown = [rows[i] for i in np.linspace(0, len(rows) - 1, count).astype(int)]
    figure = visualize.magnitude_figure(
        [_thumbnail(row["job"]) for row in shown],
        [row["pixels"] for row in shown],
        [row["image"] for row in shown],
    )
    _save(figure, batch.options.output / "offset_magnitudes.png")


def _correlate(batch, lengths):
    from keras_radn.datasets import motion_blur

    def measure(number, job, pixels):
        sharp = visualize.as_rgb(pixels)
        magnitudes = [
            batch.inspect(
                motion_blur(sharp, length, np.pi / 4 * number).clip(0, 1)
            ).offset_magnitude()
            for length in lengths
        ]
        return {
            "image": batch.name(job),
            **dict(zip(lengths, magnitudes, strict=True)),
            "rho": visualize.rank_correlation(lengths, magnitudes),
        }

    rows = batch.map(measure)
    if not rows:
        return
    columns = {
        "image": ("image", ""),
        **{length: (f"{length:g} px", ".3f") for length in lengths},
        "rho": ("Spearman's rho", ".3f"),
    }
    print(markdown_table(rows, columns))
    table = {row["image"]: [row[length] for length in lengths] for row in rows}
    pooled = visualize.rank_correlation(
        lengths * len(rows), [m for values in table.values() for m in values]
    )
    print(f"Spearman's rho of all together: {pooled:.3f}")
    _write_csv(batch.options.output / "blur_strength.csv", rows, columns)
    figure = visualize.blur_strength_figure(lengths, table)
    _save(figure, batch.options.output / "blur_strength.png")


def _thumbnail(job):
    pixels = visualize.as_rgb(read_picture(job.source).pixels)
    image = Image.fromarray(in_depth(pixels, "uint8"))
    image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    return np.asarray(image)


def _save(figure, path):
    with written_beside(path) as partial:
        figure.savefig(partial, dpi=_DPI, bbox_inches="tight")
    print(path)


def _write_csv(path, rows, columns):
    write_csv(path, rows, list(columns))
    print(path)
