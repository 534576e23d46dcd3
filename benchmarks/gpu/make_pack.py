"""Packs training pictures into a folder of limited size.

    python benchmarks/gpu/make_pack.py -o PACK --megabytes 40 \
        [--stills FOLDER] [--pairs FOLDER ...] [--validation FOLDER]

All become WebP, at the highest quality at which they fit: stills in `stills/`,
real pairs in `pairs/1/blur`, `pairs/1/sharp` and so on, which are folders for
`keras-radn train --stills PACK/stills --pairs PACK/pairs`. Both pictures of a
pair have the same quality. Validation pairs, in `validation/`, are lossless and
go in first.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from keras_radn.datasets import find_pairs
from keras_radn.datasets.image_files import list_images, read_rgb
from keras_radn.files import written_beside

# Below the last one, blocks and blurred textures would be learnt.
QUALITIES = (98, 95, 92, 88, 84, 80)


def main() -> None:
    """Packs what the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, required=True)
    parser.add_argument("--stills", type=Path)
    parser.add_argument("--pairs", type=Path, nargs="*", default=[])
    parser.add_argument("--validation", type=Path)
    options = parser.parse_args()
    try:
        quality, size = make_pack(
            options.output,
            int(options.megabytes * 2**20),
            options.stills,
            options.pairs,
            options.validation,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"make_pack.py: {error}")
    print(f"{options.output}: {size / 2**20:.1f} MiB at quality {quality}")


def make_pack(
    output: Path,
    limit: int,
    stills: Path | None = None,
    pairs: list[Path] = (),
    validation: Path | None = None,
) -> tuple[int, int]:
    """Writes the pack.

    Args:
        output: the folder, which must not be there yet.
        limit: bytes of all files together.
        stills: folder of sharp photographs.
        pairs: folders of real pairs, as `find_pairs` reads them.
        validation: folder of real pairs to validate on.

    Returns:
        The WebP quality, and the size in bytes.

    Raises:
        FileNotFoundError: if there are no images or no pairs.
        FileExistsError: if there is such a folder.
        ValueError: if the pictures do not fit at any quality, or none are
            given.
    """
    if output.exists():
        raise FileExistsError(f"{output} is there already; remove it first.")
    exact = dict(_pairs_of(validation, "validation")) if validation else {}
    lossy = {}
    if stills is not None:
        for path in list_images(stills):
            name = path.relative_to(stills).with_suffix(".webp")
            lossy[f"stills/{name}"] = path
    for number, folder in enumerate(pairs, 1):
        lossy.update(_pairs_of(folder, f"pairs/{number}"))
    if not lossy:
        raise ValueError("There is nothing to pack; give stills or pairs.")
    kept = _encoded(exact, limit, lossless=True)
    if kept is not None:
        rest = limit - sum(map(len, kept.values()))
        best = _best_that_fits(lossy, rest)
        if best is not None:
            quality, files = best
            files.update(kept)
            with written_beside(output) as partial:
                for name, data in files.items():
                    path = partial / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
            return quality, sum(map(len, files.values()))
    raise ValueError(
        f"{len(exact) + len(lossy)} pictures do not fit into "
        f"{limit / 2**20:.1f} MiB, not even at quality {QUALITIES[-1]}. Give "
        "fewer of them, or more megabytes."
    )


def _pairs_of(folder, name) -> Iterator[tuple[str, Path]]:
    for number, (blurred, sharp) in enumerate(find_pairs(folder)):
        yield f"{name}/blur/{number:05}.webp", blurred
        yield f"{name}/sharp/{number:05}.webp", sharp


def _best_that_fits(sources, limit) -> tuple[int, dict[str, bytes]] | None:
    """The highest quality at which the files fit, and the files."""
    best, begin, end = None, 0, len(QUALITIES)
    while begin < end:
        middle = (begin + end) // 2
        files = _encoded(sources, limit, quality=QUALITIES[middle])
        if files is None:
            begin = middle + 1
        else:
            best, end = (QUALITIES[middle], files), middle
    return best


def _encoded(sources, limit, **arguments) -> dict[str, bytes] | None:
    """Encodes the files; returns `None` as soon as they exceed the limit."""
    files, size = {}, 0
    for name, path in sources.items():
        buffer = io.BytesIO()
        # Method 6 takes three times as long for some 3% less.
        Image.fromarray(read_rgb(path)).save(
            buffer, "WEBP", method=4, **arguments
        )
        files[name] = buffer.getvalue()
        size += len(files[name])
        if size > limit:
            return None
    return files


if __name__ == "__main__":
    main()
