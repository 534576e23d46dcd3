from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import track

from keras_radn.datasets.patches import PatchSource

_SHOWN = 10


def check_sources(
    sources: Sequence[PatchSource],
    patch_size: int | None,
    progress: bool = True,
) -> None:
    """Reads all that a training will read, before it starts.

    Images are read and forgotten; moments of videos stay in memory, where the
    training finds them.

    Args:
        sources: what to read.
        patch_size: side of the patches in pixels, or `None` if any size will
            do, as for validation on whole images.
        progress: whether to show a progress bar on stderr.

    Raises:
        ValueError: if entries are unreadable, truncated, differ in size from
            their partner or are smaller than patches; names the first ten.

    Example:

    ```python
    from keras_radn import datasets

    datasets.check_sources([datasets.ImagePairs("GOPRO_Large")], patch_size=64)
    ```
    """
    entries = [(s, i) for s in sources for i in range(len(s))]
    console = Console(stderr=True)
    with ThreadPoolExecutor(max_workers=4) as pool:
        reasons = track(
            pool.map(lambda entry: _reason(*entry, patch_size), entries),
            "Checking the data",
            total=len(entries),
            console=console,
            # In a notebook, it would need ipywidgets.
            disable=console.is_jupyter or not progress,
        )
        bad = [reason for reason in reasons if reason]
    if bad:
        more = f"\n... and {len(bad) - _SHOWN} more" if bad[_SHOWN:] else ""
        raise ValueError(
            f"{len(bad)} of {len(entries)} entries of the data cannot be "
            "used; replace or remove these files, or take smaller patches:\n"
            + "\n".join(bad[:_SHOWN])
            + more
        )


def _reason(source, index, patch_size):
    try:
        source.check(index, patch_size)
    except ValueError as error:
        return str(error)
    return None
