"""Callbacks of many models: copies for each of them, and files of their own."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from typing import Any

from gpunn.callbacks import Callback
from gpunn.callbacks.callback_list import CallbackList
from gpunn.common.signatures import annotations_of

MODEL = re.compile(r"\{model(:[^{}]*)?\}")  # in a path: the number of the model


def callbacks_of(given: Any, numbers: Sequence[int], copied: bool) -> list[list[Callback]]:
    """Return the callbacks of each of some models.

    Args:
        given: See `gpunn.fit_many`.
        numbers: of the models, for functions and file names.
        copied: Whether callbacks for all are copied.

    Raises:
        TypeError: for something else, and for a callback that cannot be copied.
        ValueError: for a list of another length, and if two models would write one file.
    """
    count = len(numbers)
    if callable(given) and not isinstance(given, Callback):
        if isinstance(given, type):
            raise TypeError(f"callbacks: {given.__name__} is a class; call it first.")
        found = [_listed(given(k)) for k in numbers]
    elif isinstance(given, (list, tuple)) and any(_is_list(entry) for entry in given):
        if len(given) != count or not all(_is_list(entry) for entry in given):
            raise ValueError(
                f"callbacks has {len(given)} entries for {count} models: pass callbacks for all, "
                f"a list of them for each model, or a function of the model's number."
            )
        found = [_listed(entry) for entry in given]
    else:
        each = _listed(given)
        found = [[_copied(c) for c in each] if copied else each for _ in numbers]
    found = [
        [_in_own_file(c, k) for c in each] for k, each in zip(numbers, found, strict=True)
    ]
    _check_apart(numbers, found)
    return found


def _check_apart(numbers: Sequence[int], found: Sequence[Sequence[Callback]]) -> None:
    """Refuse a callback of two models, and a file that two models would write."""
    owners: dict[Any, int] = {}
    for k, each in zip(numbers, found, strict=True):
        for callback in each:
            kind = type(callback).__name__
            if (before := owners.setdefault(id(callback), k)) != k:
                raise ValueError(
                    f"callbacks: the models {before} and {k} have the same {kind}; each needs its "
                    f"own."
                )
            for name, path in _paths(callback).items():
                if (before := owners.setdefault(os.path.abspath(path), k)) != k:
                    raise ValueError(
                        f"callbacks: the models {before} and {k} would both write {path!r}. Put "
                        f"{{model}}, which becomes their number, into {name} of {kind}."
                    )


def _in_own_file(callback: Callback, number: int) -> Callback:
    """Return the callback, or a copy whose paths have the number of the model for ``{model}``."""
    own = {
        name: MODEL.sub(lambda found: _formatted(number, found), path)
        for name, path in _paths(callback).items()
        if MODEL.search(path)
    }
    if not own:
        return callback
    made = _copied(callback)
    for name, path in own.items():
        setattr(made, name, path)
    if hasattr(made, "__post_init__"):  # which may derive other paths
        made.__post_init__()
    return made


def _formatted(number: int, found: re.Match[str]) -> str:
    try:
        return format(number, (found[1] or ":")[1:])
    except ValueError as error:
        raise ValueError(
            f"callbacks: {found[0]!r} in a path: {error}. Write {{model}} or {{model:03d}}."
        ) from None


def _is_list(entry: Any) -> bool:
    return entry is None or isinstance(entry, (list, tuple))


def _listed(given: Any) -> list[Callback]:
    """Return callbacks as a flat list, checked as `fit` does."""
    found: list[Callback] = []
    waiting = [given]
    while waiting:
        entry = waiting.pop(0)
        if isinstance(entry, Sequence) and not isinstance(entry, str):
            waiting[:0] = entry
        elif isinstance(entry, CallbackList):
            waiting[:0] = entry.callbacks
        elif isinstance(entry, Callback):
            found.append(entry)
        elif entry is not None:
            CallbackList(entry)  # which raises an error
    return found


def _copied(callback: Callback) -> Callback:
    """Return a copy without the model of an earlier `fit`."""
    kept = {id(value): None for value in (callback.model, callback.params) if value is not None}
    try:
        return copy.deepcopy(callback, memo=kept)
    except Exception as error:
        raise TypeError(
            f"callbacks: {type(callback).__name__} cannot be copied for each model ({error}). "
            f"Pass a function that returns the callbacks of the model with a number: "
            f"callbacks=lambda k: [...]."
        ) from None


def _paths(callback: Callback) -> dict[str, str]:
    """Return the arguments of a callback, or of its bases, that are declared as paths, with their
    values."""
    values = {
        name: getattr(callback, name, None)
        for cls in type(callback).__mro__  # a handwritten constructor has no fields
        for name, kind in annotations_of(cls).items()
        if name in getattr(vars(cls).get("__init__"), "fields", ()) and "PathLike" in str(kind)
    }
    return {name: os.fspath(path) for name, path in values.items() if path is not None}
