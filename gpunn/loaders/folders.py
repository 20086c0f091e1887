"""Folders with a subfolder of files for each class: listed, labelled, shuffled and divided."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.common.names import counted, first_few
from gpunn.common.random import check_seed, draw_seed
from gpunn.compat.data import Dataset

from .batching import in_batches
from .opening import why_no_file

MODES = ("int", "categorical", "binary", None)
SUBSETS = {
    None: ["training"], "training": ["training"], "validation": ["validation"],
    "both": ["training", "validation"],
}

# Returns why a file cannot be read, or None, for each of these paths.
Check = Callable[[list[str]], list[str | None]]


class FilesDataset(Dataset):
    """Batches that are read from files.

    Attributes:
        class_names: Names of the classes, in the order of their indices; None without labels.
        file_paths: Paths of the files, in the order that ``shuffle=False`` reads them in.
    """

    class_names: list[str] | None
    file_paths: list[str]


@dataclass
class Part:
    """Files with their labels, in the form that the label mode asks for; None without labels."""

    paths: list[str]
    labels: np.ndarray | None
    class_names: list[str] | None
    seed: int | None  # of the order of each pass; None to keep this order

    def dataset(self, read: Callable[[np.ndarray], Any], batch_size: int | None) -> FilesDataset:
        """Return a data set of batches, or of single samples without a ``batch_size``.

        ``read`` returns the samples with these numbers, and the numbers of those that it could
        read.
        """

        def batch(numbers: np.ndarray) -> Any:
            x, kept = read(numbers)
            if not len(kept):
                return None
            return x if self.labels is None else (x, self.labels[kept])

        made = in_batches(FilesDataset, len(self.paths), self.seed, batch_size, batch)
        made.class_names, made.file_paths = self.class_names, self.paths
        return made


def parts_of(
    directory: Any, endings: tuple[str, ...], what: str, labels: Any, label_mode: str | None,
    class_names: Sequence[str] | None, shuffle: bool, seed: int | None,
    validation_split: float | None, subset: str | None, follow_links: bool, verbose: bool = True,
    check: Check | None = None,
) -> list[Part]:
    """Return the parts of a folder that ``subset`` names: two for ``"both"``, otherwise one.

    The files, their order and the parts are Keras's for the same seed.

    Args:
        directory, labels, ..., verbose: As of `image_dataset_from_directory`.
        endings: Endings of the names of the files, in small letters.
        what: What the files are, in messages, such as ``"pictures"``.
        check: Examines the files; those that it objects to are named and left out. By default
            these are pipes, devices and links that lead nowhere.

    Raises:
        ValueError: for a folder without files or with one class, and for unusable arguments.
    """
    directory = os.fspath(directory)
    mode = _label_mode(labels, label_mode, class_names)
    if bool(validation_split) != (subset is not None) or subset not in SUBSETS:
        raise ValueError(
            f"validation_split and subset are given together, subset as 'training', 'validation' "
            f"or 'both'; got validation_split={validation_split!r}, subset={subset!r}."
        )
    if validation_split and not 0 < validation_split < 1:
        raise ValueError(f"validation_split must be between 0 and 1; got {validation_split!r}.")
    if subset in ("training", "validation") and shuffle and seed is None:
        raise ValueError(
            f"subset={subset!r} with shuffle=True needs a seed, the same for both parts: without "
            f"it they would overlap."
        )
    first = check_seed("seed", seed)
    first = draw_seed() % 10**6 if first is None else first
    inferred = isinstance(labels, str)
    names: list[str] | None = None
    if mode is not None and inferred:
        found = files_by_class(directory, endings, what, follow_links, class_names)
        names, paths = list(found), [path for of_class in found.values() for path in of_class]
        given = np.repeat(np.arange(len(names)), [len(found[name]) for name in names])
    else:
        paths = files_in(directory, endings, follow_links)
        given = np.zeros(len(paths), int)
        if mode is not None:
            given, names = _own_labels(labels, len(paths), directory)
    if mode == "binary" and len(names or ()) != 2:
        raise ValueError(f"label_mode='binary' needs exactly two classes; got {names}.")
    if verbose:
        of = "" if names is None else f" belonging to {counted(len(names), 'class', 'classes')}"
        print(f"Found {counted(len(paths), 'file')}{of}.")
    kept = _readable(paths, check, directory, what)
    if shuffle:  # Keras's generator and draws, so that the parts are the same
        np.random.RandomState(first % 2**32).shuffle(kept)
    paths, given = [paths[i] for i in kept], given[kept]
    ends = len(paths) - int((validation_split or 0) * len(paths))
    if validation_split and not 0 < ends < len(paths):
        raise ValueError(
            f"validation_split={validation_split} of {counted(len(paths), 'file')} leaves one "
            f"part empty."
        )
    encoded = None if mode is None else _encoded(given, mode, names or [])
    parts = []
    for kind in SUBSETS[subset]:
        piece = slice(ends) if kind == "training" else slice(ends, None)
        if validation_split and verbose:
            print(f"Using {counted(len(paths[piece]), 'file')} for {kind}.")
        in_order = not shuffle or (kind == "validation" and subset == "both")
        of_part = None if encoded is None else encoded[piece]
        parts.append(Part(paths[piece], of_part, names, None if in_order else first))
    return parts


def files_in(folder: str, endings: tuple[str, ...], follow_links: bool = False) -> list[str]:
    """Return the paths of the files anywhere in a folder that have one of the endings.

    They are sorted by their folder, then by their name; hidden files and folders are left out.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder!r}.")
    seen: set[str] = set()
    walked = []
    for path, folders, names in os.walk(folder, followlinks=follow_links):
        real = os.path.realpath(path) if follow_links else path
        if real in seen:  # by a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        wanted = [n for n in names if n.lower().endswith(endings) and not n.startswith(".")]
        walked.append((path, sorted(wanted)))
    walked.sort()
    return [os.path.join(path, name) for path, names in walked for name in names]


def files_by_class(
    folder: str, endings: tuple[str, ...], what: str = "pictures", follow_links: bool = False,
    only: Sequence[str] | None = None, strict: bool = True,
) -> dict[str, list[str]]:
    """Return the files of each subfolder, by its name; sorted, or in the order of ``only``.

    Raises:
        FileNotFoundError, ValueError: if there is no such folder; if no subfolder has files or one
            of ``only`` is missing; if ``strict``, also if one has none, or only one has some.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder!r}.")
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and e.name[0] != ".")
    if only is not None:
        missing = [name for name in only if name not in names]
        if missing or len(set(only)) < len(only):
            raise ValueError(
                f"class_names must be different subfolders of {folder}, which has "
                f"{first_few(map(repr, names), 10)}; got {list(only)}."
            )
        names = list(only)
    found = {name: files_in(os.path.join(folder, name), endings, follow_links) for name in names}
    there = [name for name in names if found[name]]
    if not there:
        raise ValueError(
            f"{folder} has no subfolders with {what}: expected one for each class, such as "
            f"{os.path.join(folder, 'cat', '1' + endings[0])}."
        )
    empty = [name for name in names if not found[name]]
    if strict and empty and only is None:
        raise ValueError(
            f"{folder}: no {what} in {', '.join(empty)}: remove folders that are not classes."
        )
    if strict and len(there) == 1:
        raise ValueError(
            f"{folder} has {what} in only one subfolder, {there[0]!r}: with one class there is "
            f"nothing to learn."
        )
    return found


def _label_mode(labels: Any, mode: str | None, class_names: Any) -> str | None:
    """Return the label mode after checking the arguments; None if there are no labels."""
    if isinstance(labels, str) and labels != "inferred":
        raise ValueError(f"labels must be 'inferred', None or a list of integers; got {labels!r}.")
    if mode not in MODES:
        raise ValueError(f"label_mode must be one of {MODES}; got {mode!r}.")
    if class_names is not None and not (isinstance(labels, str) and mode is not None):
        raise ValueError("class_names can be given only with labels='inferred' and a label_mode.")
    return None if labels is None else mode


def _own_labels(labels: Any, count: int, directory: str) -> tuple[np.ndarray, list[str]]:
    array = np.asarray(labels)
    if array.shape != (count,) or array.dtype.kind not in "iub":
        raise ValueError(
            f"labels must hold one integer for each of the {count} files in {directory}, in the "
            f"order of their paths; got an array {array.shape} of {array.dtype}."
        )
    return array.astype(int), [str(label) for label in np.unique(array)]


def _encoded(labels: np.ndarray, mode: str, names: list[str]) -> np.ndarray:
    """Return labels as Keras's label mode: int32, or float32 columns or one-hot rows."""
    if mode == "int":
        return labels.astype(np.int32)
    if not 0 <= labels.min() <= labels.max() < len(names):
        raise ValueError(
            f"label_mode={mode!r} needs labels from 0 to {len(names) - 1}, one for each class; got "
            f"{first_few(names, 10)}."
        )
    if mode == "binary":
        return labels.astype(np.float32)[:, np.newaxis]
    return np.eye(len(names), dtype=np.float32)[labels]


def _irregular(paths: list[str]) -> list[str | None]:
    return [why_no_file(path) for path in paths]


def _readable(paths: list[str], check: Check | None, folder: str, what: str) -> np.ndarray:
    """Return the numbers of the files that can be read, and name the others."""
    reasons = (check or _irregular)(paths)
    bad = [reason for reason in reasons if reason is not None]
    for reason in bad[:5]:
        print(f"left out: {reason}")
    if len(bad) > 5:
        print(f"left out: {counted(len(bad) - 5, 'more file')}")
    if len(bad) == len(paths):
        why = f": {bad[0]}" if bad else ""
        raise ValueError(f"{folder} has no {what} that can be read{why}.")
    return np.array([i for i, reason in enumerate(reasons) if reason is None])
