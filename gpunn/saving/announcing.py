"""Notices about a file that was written."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gpunn.common.atomic_files import Path
from gpunn.common.names import listed, warn
from gpunn.common.snapshots import first_time

KERAS_ENDINGS = (".keras", ".h5")  # .weights.h5 among them
_BY_FIT = {
    f"trained_on/{name}" for name in ("range", "prepared", "scale", "unsure_below", "validated_on")
}
LISTED = 3  # maximum entries in the line about the data


def announce_format(path: Path, why: str = "") -> None:
    """Warn once about a file whose suffix suggests that Keras can read it, and say why it cannot,
    if it is known."""
    ending = os.path.splitext(os.fspath(path))[1]
    if ending not in KERAS_ENDINGS or not first_time("a name that is one of Keras's"):
        return
    warn(
        f"{os.fspath(path)} is in gpunn's own format, a safetensors file, although {ending} is "
        f"a suffix of Keras's files: gpunn reads it, Keras does not. Use the suffix .gpunn.{why}"
    )


def announce_data_held(path: Path, described: Mapping[str, str]) -> None:
    """Print a line with the data values that a file contains, from `Model.data_held`.

    It is printed once for the same values, so that checkpoints do not repeat it, and not for what
    `fit` stores by itself, such as the range.
    """
    if set(described) <= _BY_FIT or not first_time(f"values held: {dict(described)}"):
        return
    shown = listed([f"{place} ({values})" for place, values in described.items()], LISTED)
    print(
        f"gpunn: {os.fspath(path)} holds values of the data: {shown}. model.data_held() lists them."
    )
