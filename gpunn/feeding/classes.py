"""Class weights, and the split of rows for validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_number
from gpunn.common.names import warn

from .rows import Rows, name_of
from .spec import Spec, TargetSpec

BOTH_WEIGHTS = (
    "class_weight and sample_weight cannot both be given: multiply the class weights into "
    "sample_weight."
)


def class_numbers(y: Array, target: TargetSpec, backend: Backend) -> np.ndarray | None:
    """Return the class of each row (rows,), or None if a sample has more than one.

    The class is the class index itself, the index of the largest target in a row, or, for
    a single target, the nearest integer.
    """
    if target.rows_per_sample > 1:
        return None
    targets = backend.read(y) if backend.owns(y) else y
    if target.loss.sparse:
        return targets.reshape(len(targets))
    return nearest_classes(targets)


def nearest_classes(targets: np.ndarray) -> np.ndarray:
    """Return the class of each row (rows,) of targets: the largest one's index, or the nearest
    integer of a single one.

    >>> nearest_classes(np.array([[0.1, 0.9]])), nearest_classes(np.array([2.0]))
    (array([1]), array([2]))
    """
    targets = targets.reshape(len(targets), -1)
    if targets.shape[1] > 1:
        return targets.argmax(axis=-1)
    return np.rint(targets[:, 0]).astype(np.int64)


def check_class_weight(class_weight: Any, is_whole: bool, name: str = "class_weight") -> bool:
    """Check the type of class weights; return whether they are to be balanced.

    Args:
        is_whole: whether the targets of all rows are there to be counted.
    """
    if isinstance(class_weight, Mapping):
        return False
    if not isinstance(class_weight, str) or class_weight != "balanced":
        raise TypeError(
            f"{name} must be a dictionary {{class: weight}} or 'balanced'; got {class_weight!r}."
        )
    if not is_whole:
        raise ValueError(
            f"{name}='balanced' counts the rows of each class, but here only a batch of them is "
            f"given. Pass a dictionary {{class: weight}}."
        )
    return True


def balanced(labels: np.ndarray) -> dict[int, float]:
    """Return the weight of each class that makes all of them weigh as much: rows / (classes *
    rows of the class), as in scikit-learn.

    >>> balanced(np.array([0, 0, 0, 1]))
    {0: 0.6666666666666666, 1: 2.0}
    """
    found, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(found) * counts)
    return dict(zip(map(int, found), weights.tolist(), strict=True))


def are_classes(targets: np.ndarray) -> bool:
    """Whether targets of one row or several columns may be classes: indices, or rows that sum to 1.

    >>> [are_classes(np.array(y)) for y in ([0, 2], [[0, 1], [1, 0]], [0.5, 1.2], [[1.0, 2.0]])]
    [True, True, False, False]
    """
    columns = targets.reshape(len(targets), -1)
    if columns.shape[1] > 1:
        return bool((columns >= 0).all() and np.allclose(columns.sum(axis=1), 1, atol=1e-3))
    return bool((columns == np.rint(columns)).all())


def class_weights(
    class_weight: Any, y: Array | None, target: TargetSpec, backend: Backend, where: str,
    is_whole: bool = True,
) -> np.ndarray:
    """Return the weight of each row (rows,) by its class; classes without a weight get 1.

    ``is_whole`` tells that the targets belong to all rows, not to a batch.

    Raises:
        ValueError, TypeError: for a key that is not a class, or an invalid weight.
    """
    name = f"{where}class_weight"
    is_balanced = check_class_weight(class_weight, is_whole, name)
    if y is None:
        raise ValueError(f"{name} needs y: it weighs samples by their class.")
    labels = class_numbers(y, target, backend)
    if labels is None:
        raise ValueError(
            f"{name} needs one class per sample, but the targets of a sample have the shape "
            f"{target.target_shape}. Use sample_weight."
        )
    classes = target.output_shape[-1]
    if classes == 1:
        classes = 2 if target.loss.fuses else 0  # one output of a regression: any number
    if is_balanced:
        targets = backend.read(y) if backend.owns(y) else y
        if (not classes and len(np.unique(targets)) > 2) or not are_classes(targets):
            raise ValueError(
                f"{name}='balanced' needs one class per row, but the targets are other numbers, as "
                f"those of a regression. Use sample_weight."
            )
        class_weight = balanced(labels)
    return weights_of(labels, class_weight, classes, name)


def weights_of(
    labels: np.ndarray, class_weight: Mapping[Any, Any], classes: int, name: str
) -> np.ndarray:
    """Return the weight of each row (rows,) by its class; classes without a weight get 1.

    Args:
        classes: how many there are; 0 if any number may be one.

    Raises:
        ValueError, TypeError: for a key that is not a class, or an invalid weight.
    """
    weights = np.ones(len(labels))
    for key, given in class_weight.items():
        label = _whole(key)
        if label is None:
            raise ValueError(f"{name} must have integer keys, the classes; got {key!r}.")
        if classes and not 0 <= label < classes:
            raise ValueError(
                f"{name} has the key {key!r}, but the model's classes are 0 to {classes - 1}."
            )
        weight = check_number(f"{name}[{key!r}]", given)
        if not 0 <= weight < math.inf:
            raise ValueError(f"{name}[{key!r}] must be finite and at least 0; got {given!r}.")
        weights[labels == label] = weight
    return weights


def _whole(key: Any) -> int | None:
    try:
        value = float(key)
    except (TypeError, ValueError):
        return None
    return int(value) if value.is_integer() else None


def labels_of(data: Rows, spec: Spec) -> np.ndarray | None:
    """Return the class of each row (rows,) if a single loss compares classes, else None."""
    learned = [target for target in spec.targets if target.loss is not None]
    target = learned[0] if len(learned) == 1 else None
    fuses = target and target.loss.fuses
    if target is None or not (fuses == "Softmax" or (fuses and target.output_shape[-1] == 1)):
        return None
    y = data.arrays[name_of("y", spec.targets.index(target))]
    return class_numbers(y, target, spec.backend)


def split(
    data: Rows, fraction: float, strategy: str, labels: np.ndarray | None, seed: int,
    backend: Backend,
) -> tuple[Rows, Rows]:
    """Split rows into training and validation rows, ``fraction`` of them for validation.

    ``"tail"`` takes the last rows, as Keras does, and warns if a class is missing in
    one part; ``"shuffled"`` takes random rows, ``"stratified"`` random rows of each
    class in proportion. ``labels`` are the classes (rows,), if there are any.

    Raises:
        ValueError: if one of the two parts would be empty, or the rows have no classes to
            stratify by.
    """
    rows = len(data)
    kept = math.floor(rows * (1.0 - fraction))
    if kept == 0 or kept == rows:
        raise ValueError(
            f"validation_split={fraction} of {rows} rows leaves {kept} rows for training and "
            f"{rows - kept} for validation; both need at least one."
        )
    if strategy == "tail":
        if labels is not None:
            _warn_of_missing(labels, kept)
        return data.part(0, kept), data.part(kept, rows)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(rows)
    if strategy == "stratified":
        if labels is None:
            raise ValueError(
                "validation_strategy='stratified' needs a class for each row: a cross-entropy "
                "as the only loss. Use 'shuffled'."
            )
        order = _by_class(order, labels[order], rows - kept)
    numbers = np.sort(order[:kept]), np.sort(order[kept:])
    training, validation = map(backend.upload, numbers) if data.device is None else numbers
    with backend.stream_lock:
        return data.take(training), data.take(validation)


def _by_class(order: np.ndarray, labels: np.ndarray, held_out: int) -> np.ndarray:
    """Reorder rows, given in random order with their classes, so that each class has its part,
    within one row, of the last ones that are held out."""
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    parts = counts * held_out / len(order)
    last = np.floor(parts).astype(int)
    remaining = held_out - last.sum()  # one each for the classes that lack the most
    last[np.argsort(last - parts, kind="stable")[:remaining]] += 1
    is_last = np.zeros(len(order), bool)
    for number, count in enumerate(last):
        is_last[np.flatnonzero(classes == number)[:count]] = True
    return np.concatenate([order[~is_last], order[is_last]])


def _warn_of_missing(labels: np.ndarray, kept: int) -> None:
    present = set(labels.tolist())
    for part, name in ((labels[:kept], "training"), (labels[kept:], "validation")):
        missing = sorted(present - set(part.tolist()))
        if missing and len(part) >= len(present):
            warn(
                f"validation_split takes the last {len(labels) - kept} rows: the {name} part has "
                f"no row of class {', '.join(map(str, missing))}. Shuffle the data, or pass "
                f"validation_strategy='stratified'."
            )
