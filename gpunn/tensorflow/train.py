"""``tf.train``: the newest file with weights in a folder."""

from __future__ import annotations

import os
from typing import Any

from gpunn.compat.tensorflow import missing

__all__ = ["latest_checkpoint"]


def latest_checkpoint(
    checkpoint_dir: str | os.PathLike[str], latest_filename: str | None = None
) -> str | None:
    """Return the path of the file in a folder that was written last, such as by `ModelCheckpoint`;
    None if there is no file. TensorFlow reads it from an index, so keep only checkpoints there.

    >>> latest_checkpoint("no such folder")
    """
    if not os.path.isdir(checkpoint_dir):
        return None
    files = (os.path.join(checkpoint_dir, name) for name in sorted(os.listdir(checkpoint_dir)))
    return max(filter(os.path.isfile, files), key=lambda f: os.stat(f).st_mtime_ns, default=None)


def __getattr__(name: str) -> Any:
    raise AttributeError(missing(f"train.{name}"))
