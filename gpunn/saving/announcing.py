"""What is said of a file that was written."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gpunn.common.arguments import warn
from gpunn.common.atomic_files import Path
from gpunn.common.snapshots import first_time

KERAS_ENDINGS = (".keras", ".h5")  # .weights.h5 among them
LISTED = 3  # places in the line about the data


def say_whose_format(path: Path) -> None:
    """Warn once of a file whose name says that Keras can read it. It is written by then."""
    ending = os.path.splitext(os.fspath(path))[1]
    if ending not in KERAS_ENDINGS or not first_time("a name that is one of Keras's"):
        return
    warn(
        f"{os.fspath(path)} is in gpunn's own format, a safetensors file, though names in "
        f"{ending} are those of Keras's files: gpunn reads it, Keras does not. Name it .gpunn."
    )


def say_what_is_held(path: Path, held: Mapping[str, str]) -> None:
    """Print in a line which of the data's values a file holds, as
    `Model.data_held` has it; once for the same values, so that checkpoints do not repeat it.

    The range alone, which `fit` notes of any data, is not worth a line.
    """
    if set(held) <= {"trained_on/range"} or not first_time(f"values held: {dict(held)}"):
        return
    listed = [f"{place} ({said})" for place, said in [*held.items()][:LISTED]]
    more = len(held) - len(listed)
    print(
        f"gpunn: {os.fspath(path)} holds values of the data: {', '.join(listed)}"
        f"{f' and {more} more' if more else ''}. model.data_held() lists them."
    )
