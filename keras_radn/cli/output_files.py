from pathlib import Path


def require_folders(*paths: Path | None) -> None:
    """Refuses files, before the work, whose folders are not there.

    Raises:
        FileNotFoundError: if the folder of one of them is missing.
    """
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no such folder.")
