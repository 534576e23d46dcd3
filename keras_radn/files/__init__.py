"""Files that are written whole or not at all, here and in object stores."""

from keras_radn.files.atomic import (
    partial_name,
    remove_partials,
    short_stem,
    written_beside,
)

__all__ = ["partial_name", "remove_partials", "short_stem", "written_beside"]
