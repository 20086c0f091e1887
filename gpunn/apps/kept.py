"""Results of a run that is not complete, kept in files so that it can go on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn.distribution.launch import is_writer, size

NAME = "unfinished"  # of the folder
_ABOUT = "settings.json"


class KeptResults:
    """A folder with results, and the settings that they depend on.

    Args:
        out: the folder of the run; the results are in a folder of it.
        settings: what the results depend on, by the name that a message gives it.
        resume: whether earlier results are used; otherwise they are deleted.

    Raises:
        FileNotFoundError: if there is nothing to resume.
        ValueError: if the results are of other settings; the message names these.
    """

    def __init__(self, out: str, settings: Mapping[str, Any], resume: bool) -> None:
        self.folder = os.path.join(out, NAME)
        about = os.path.join(self.folder, _ABOUT)
        wanted = json.loads(json.dumps(settings))
        if resume:
            self._check(about, wanted)
        if resume or not is_writer():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        with open(about, "w", encoding="utf-8") as file:
            json.dump(wanted, file)

    def _check(self, about: str, wanted: dict[str, Any]) -> None:
        try:
            with open(about, encoding="utf-8") as file:
                there = json.load(file)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"There is nothing to resume: {self.folder} does not exist. The run is complete, "
                f"or was stopped before its first result."
            ) from None
        except ValueError:
            raise ValueError(f"Cannot read {about}: it is damaged. Start a new run.") from None
        other = [name for name, value in wanted.items() if there.get(name) != value]
        if other:
            raise ValueError(
                f"{self.folder} is of another run: it differs in {', '.join(other)}. Start a new "
                f"run, or resume with the same table and options."
            )

    def _path(self, key: str) -> str:
        return os.path.join(self.folder, hashlib.sha256(key.encode()).hexdigest()[:32] + ".npy")

    def get(self, key: str) -> np.ndarray | None:
        """Return the result of this name; None if there is none, and among several ranks, which
        have to do the same."""
        if size() > 1:
            return None
        try:
            found: np.ndarray = np.load(self._path(key), allow_pickle=False)
        except (OSError, ValueError, EOFError):  # ValueError: of a file that was cut off
            return None
        return found

    def put(self, key: str, result: np.ndarray) -> None:
        """Keep a result of the only rank; a reader sees all of it or nothing."""
        if size() > 1:
            return
        path = self._path(key)
        with open(path + ".new", "wb") as file:
            np.save(file, result, allow_pickle=False)
        os.replace(path + ".new", path)

    def delete(self) -> None:
        if is_writer():
            shutil.rmtree(self.folder, ignore_errors=True)


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return a string that is the same for equal arrays of numbers or strings, by name.

    >>> digest({"a": np.array([1.0, 2.0])}) == digest({"a": np.array([1.0, 2.5])})
    False
    """
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(f"{name} {array.shape}".encode())
        if array.dtype.kind in "biuf":
            found.update(np.ascontiguousarray(array).tobytes())
        else:
            found.update("\0".join(map(str, array.ravel().tolist())).encode())
    return found.hexdigest()
