"""``tf.summary``: figures and pictures for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpunn import ops
from gpunn.callbacks.tensorboard import open_writer
from gpunn.compat.tensorflow import missing

__all__ = ["create_file_writer", "image", "scalar"]
_active: ContextVar[tuple[Any, int | None]] = ContextVar("summary", default=(None, None))


class SummaryWriter:
    """A writer of event files in a folder, as `create_file_writer` returns it.

    Raises:
        ImportError: without tensorboardX.
    """

    def __init__(self, logdir: str | os.PathLike[str]) -> None:
        self._writer = open_writer(os.fspath(logdir), "TensorBoard")
        self.flush, self.close = self._writer.flush, self._writer.close

    @contextmanager
    def as_default(self, step: int | None = None) -> Iterator[Any]:
        """Return a ``with`` block in which `scalar` and `image` write here, by default at ``step``.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with create_file_writer(folder).as_default():
        ...         scalar("loss", 0.5, step=1)
        True
        """
        before = _active.set((self._writer, step))
        try:
            yield self
        finally:
            _active.reset(before)
            self.flush()


create_file_writer = SummaryWriter


def scalar(name: str, data: Any, step: Any = None, description: str | None = None) -> bool:
    """Write a number; return whether there is a default writer."""
    return _write("scalar", name, float(np.asarray(ops.convert_to_numpy(data))), step)


def image(
    name: str, data: Any, step: Any = None, max_outputs: int = 3, description: str | None = None
) -> bool:
    """Write the first pictures of a batch (pictures, height, width, channels), floats from 0 to 1
    or integers from 0 to 255; return whether there is a default writer. It takes Pillow.
    """
    pictures = np.asarray(ops.convert_to_numpy(data))
    if pictures.ndim != 4:
        raise ValueError(f"image takes (pictures, height, width, channels); got {pictures.shape}.")
    if pictures.dtype.kind == "f":
        pictures = 255 * np.nan_to_num(pictures)
    for k, picture in enumerate(pictures[:max_outputs].clip(0, 255).astype(np.uint8)):
        _write("image", f"{name}/{k}" if k else name, picture, step, dataformats="HWC")
    return _active.get()[0] is not None


def _write(kind: str, name: str, values: Any, step: Any, **options: Any) -> bool:
    """Write with the default writer; return whether there is one."""
    writer, given = _active.get()
    if writer is not None:
        if (at := given if step is None else step) is None:
            raise ValueError(f"{name}: pass step here, or to as_default.")
        getattr(writer, f"add_{kind}")(name, values, int(at), **options)
    return writer is not None


def __getattr__(name: str) -> Any:
    raise AttributeError(missing(f"summary.{name}"))
