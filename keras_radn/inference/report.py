from dataclasses import dataclass, field


@dataclass
class Report:
    """What became of a file.

    Attributes:
        source: the file that was read.
        target: the file that was or would be written.
        status: `"done"`, `"skipped"` (the target was there), `"failed"`, or
            `"planned"` in a dry run.
        error: why it failed, a sentence; None if it did not.
        notes: sentences on what was changed beside the blur.
        width: of the picture in pixels, of the first page.
        height: of the picture in pixels, of the first page.
        pages: how many, or how many frames of a video.
        seconds: for all, from reading to writing.
    """

    source: str
    target: str
    status: str
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    width: int | None = None
    height: int | None = None
    pages: int = 0
    seconds: float = 0.0
