import contextlib
import logging
import os
from pathlib import Path

from keras_radn.serving.model_config import ModelConfig

_logger = logging.getLogger("keras_radn.serving")
MAX_VERSION = 2**63 - 1  # of the protocols' fields


def candidates(model: ModelConfig) -> tuple[dict[int, Path], int]:
    """The versions that the policy allows, and how many of them it wants."""
    folders = _version_folders(Path(model.base_path))
    policy = model.model_version_policy
    kind = policy.WhichOneof("policy_choice") or "latest"
    if kind == "latest":
        return folders, policy.latest.num_versions or 1
    if kind == "specific":
        allowed = policy.specific.versions
        folders = {n: path for n, path in folders.items() if n in allowed}
    return folders, len(folders)


def aspired(model: ModelConfig) -> list[int]:
    """The versions that the policy chooses if they can be loaded."""
    folders, wanted = candidates(model)
    return sorted(folders, reverse=True)[:wanted]


def _version_folders(base_path):
    try:
        return {
            int(path.name): path
            for path in base_path.iterdir()
            if path.name.isascii()
            and path.name.isdigit()
            and int(path.name) <= MAX_VERSION
            and path.is_dir()
            # A folder without it is not there yet.
            and any(path.glob("saved_model.pb*"))
        }
    except OSError as error:
        _logger.error("%s: %s", base_path, error.strerror)
        return {}


def fingerprint(path: Path) -> tuple[tuple[str, int, int], ...]:
    """What differs once a file of a folder has changed."""
    files = []
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder) / name
            with contextlib.suppress(FileNotFoundError):
                stat = file.stat()
                files.append((str(file), stat.st_size, stat.st_mtime_ns))
    return tuple(sorted(files))
