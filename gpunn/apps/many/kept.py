"""Finished trials of a search, kept in a folder so that it can go on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpunn.callbacks import Callback
from gpunn.common.atomic_files import atomic_write
from gpunn.common.nested import is_group
from gpunn.feeding.frames import each_column, is_frame
from gpunn.models import Model, load_model
from gpunn.saving.lock import FolderLock

from .points import text_of
from .trials import NUMBERED, Plan, Result, Trial, digest_of

FORMAT = 1
_ABOUT = "search.json"


class Kept:
    """A folder with a file of the model and one of figures for each finished trial.

    Args:
        folder: created if it does not exist.
        plan: what all trials share; those in the folder must have been of the same.

    Raises:
        ValueError: if the folder is of another search, or damaged.
        RuntimeError: if another search uses it now.
    """

    def __init__(self, folder: str | os.PathLike[str], plan: Plan) -> None:
        self.folder, self._plan = os.fspath(folder), plan
        self._lock = FolderLock(os.path.join(self.folder, "lock"))
        if not self._lock.take():
            raise RuntimeError(f"Another search uses the folder {self.folder}: give each its own.")
        try:
            self._check()
        except BaseException:
            self._lock.release()
            raise

    def _check(self) -> None:
        about, wanted = os.path.join(self.folder, _ABOUT), {"format": FORMAT, **_about(self._plan)}
        os.makedirs(os.path.join(self.folder, "trials"), exist_ok=True)
        try:
            with open(about, encoding="utf-8") as file:
                there = json.load(file)
        except FileNotFoundError:
            atomic_write(about, [json.dumps(wanted, indent=1).encode()])
            return
        except (ValueError, RecursionError):
            there = None
        if not isinstance(there, dict):
            raise ValueError(f"Cannot read {about}: it is damaged. Use another folder.")
        other = [name for name, value in wanted.items() if there.get(name) != value]
        if other:
            raise ValueError(
                f"{self.folder} is of another search: it differs in {', '.join(other)}. Use "
                f"another folder, or search with the same data and arguments."
            )

    def release(self) -> None:
        """Let other searches use the folder."""
        self._lock.release()

    def _paths(self, trial: Trial) -> tuple[str, str]:
        key = text_of([trial.point, trial.seed, trial.fold, trial.epochs])
        name = os.path.join(self.folder, "trials", hashlib.sha256(key.encode()).hexdigest()[:24])
        return f"{name}.gpunn", f"{name}.json"

    def put(self, result: Result) -> None:
        """Write the files of a result; that of the figures says that both are there."""
        model, figures = self._paths(result.trial)
        if result.model is None:
            return  # it was lost, and is tried again
        result.model.save(model, announce=False)
        document = {
            "point": result.trial.point, "seed": result.trial.seed, "fold": result.trial.fold,
            "epochs": result.trial.epochs, "score": result.score, "higher": result.higher,
            "error": result.error, "history": result.history, "first": result.first,
        }  # fmt: skip
        atomic_write(figures, [json.dumps(document, default=float).encode()])

    def get(self, trial: Trial) -> Result | None:
        """Return the result of a trial, whose model is read at its first use; None if there is
        none, or a damaged one: the trial is repeated.

        Raises:
            ValueError: if ``build`` makes another model for this point than it did then.
        """
        model, figures = self._paths(trial)
        try:
            with open(figures, encoding="utf-8") as file:
                there = json.load(file)
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        if not (_is_whole(there) and os.path.isfile(model)):
            return None
        first, _ = self._plan.made(trial)
        if there["first"] != digest_of(first):
            raise ValueError(
                f"{self.folder} is of another search: build makes another model for {trial.point} "
                f"than it did then. Use another folder."
            )
        return Result(
            trial, there["score"], there["history"], there["error"], _reading(model, first),
            there["first"], there["higher"],
        )  # fmt: skip


def _is_whole(there: Any) -> bool:
    """Whether these are the figures of a result."""
    kinds = {"first": str, "score": float, "history": dict, "error": str | None, "higher": bool}
    return isinstance(there, dict) and all(
        name in there and isinstance(there[name], kind) for name, kind in kinds.items()
    )


def _reading(path: str, like: Model) -> Callable[[], Model]:
    """Return a function that loads a model whose classes are those of another one."""
    parts = [like, *like._with_layers_inside()]
    classes = {type(part).__name__: type(part) for part in parts}
    own = {name: cls for name, cls in classes.items() if not cls.__module__.startswith("gpunn.")}
    return lambda: load_model(path, custom_objects=own)


def _about(plan: Plan) -> dict[str, Any]:
    """Return what the results of all trials depend on, by the name that a message gives it."""
    return {
        "x": digest(plan.x),
        "y": digest(plan.y),
        "sample_weight": digest(plan.sample_weight),
        "folds": digest([part for fold in plan.folds for part in fold]),
        "callbacks": digest(_described(plan.callbacks)),
        "arguments of fit": {name: digest(value) for name, value in plan.arguments.items()},
        "class_weight": digest(plan.class_weight),
        "monitor": [plan.monitor, plan.mode],
        "floatx": plan.floatx,
    }


def _described(callbacks: Any) -> Any:
    if isinstance(callbacks, (list, tuple)):
        return [_described(entry) for entry in callbacks]
    if isinstance(callbacks, Callback):
        return [type(callbacks).__name__, {n: repr(v) for n, v in vars(callbacks).items()}]
    return getattr(callbacks, "__qualname__", repr(callbacks))


def digest(value: Any) -> str:
    """Return a string that is the same for equal arrays, frames, and groups of them.

    >>> digest([np.ones(2), None]) == digest([np.ones(2), None]) != digest([np.ones(3), None])
    True
    """
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()[:32]


def _feed(found: Any, value: Any) -> None:
    if is_frame(value):
        value = dict(each_column(value))
    if isinstance(value, Mapping):
        for name, entry in value.items():
            found.update(f"{name}:".encode())
            _feed(found, entry)
    elif is_group(value) or (isinstance(value, (list, tuple)) and any(v is None for v in value)):
        found.update(f"{len(value)}[".encode())
        for entry in value:
            _feed(found, entry)
    elif hasattr(value, "tocsr"):
        whole = value.tocsr()
        _feed(found, [whole.data, whole.indices, whole.indptr])
    else:
        array = None
        with contextlib.suppress(Exception):
            array = np.asarray(value)
        if array is not None and array.dtype.kind in "biufSUM":
            found.update(f"{array.shape}{array.dtype}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        else:
            text = repr(array.tolist() if array is not None else value)
            found.update(NUMBERED.sub("", text).encode())
