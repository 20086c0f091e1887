"""Checks user data and places them where a step can read them.

Arrays become rows on the device (`Rows`). An iterable of batches becomes a `batches.Batches`,
which passes each of its batches through the same functions. All checks of an array run
before the first step, and are the same on every backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.nested import is_group
from gpunn.losses.rows import check_labels
from gpunn.structure.graph import by_name

from .arrays import as_array, check_exact, check_finite, check_placed, is_checked_there, read
from .inputs import inputs
from .rows import Rows, name_of, place
from .spec import Resolve, Spec, TargetSpec

ARRAY_MARKS = ("__array__", "__dlpack__", "__cuda_array_interface__", "toarray")
MOST_LABELS = 2**31  # of a loss that compares them with each other


def is_array(x: Any) -> bool:
    """Whether ``x`` represents one array rather than an iterable of batches.

    >>> import numpy as np
    >>> is_array([(0, 1), (1, 0)]), is_array([(np.ones((2, 2)), np.ones(2))])
    (True, False)
    """
    if isinstance(x, np.ndarray) or any(hasattr(x, name) for name in ARRAY_MARKS):
        return True
    if isinstance(x, (list, tuple)):
        return not (len(x) and all(_is_batch(entry) for entry in x))
    return x is None or isinstance(x, (int, float, complex, str, bytes, Mapping, set))


def _is_batch(entry: Any) -> bool:
    if not isinstance(entry, (tuple, list)) or not 1 <= len(entry) <= 3:
        return False
    if isinstance(entry[0], (tuple, list, Mapping)):
        return isinstance(entry, tuple)
    return len(getattr(entry[0], "shape", ())) > 0


def validation_parts(
    given: Any, inputs: int = 1, x_alone: bool = False
) -> tuple[Any, Any, Any]:
    """Return x, y and weights of ``validation_data``; y and weights are None for batches.

    Args:
        given: ``validation_data``. A tuple of lists is taken as (x, y) or (x, y, weight), each
            with one entry for each input or output.
        inputs: Number of inputs of the model. If there are several, x is a list or tuple of
            arrays, which distinguishes (x, y) from two batches.
        x_alone: Whether x may come without targets.
    """
    by_parts = isinstance(given, tuple) and all(isinstance(part, list) for part in given)
    if inputs > 1 and isinstance(given, (tuple, list)) and len(given) in (2, 3):
        x = given[0]
        by_parts = isinstance(x, (tuple, list)) and is_group(x)
    if not is_array(given) and not by_parts:
        return given, None, None
    parts = given if isinstance(given, (tuple, list)) else (given,)
    if len(parts) in (2, 3) or (len(parts) == 1 and x_alone):
        return (*parts, None, None)[:3]
    what = f"{len(given)} parts" if isinstance(given, (tuple, list)) else type(given).__name__
    raise ValueError(
        f"validation_data must be (x, y), (x, y, weight) or yield such batches; got {what}."
    )


def first_shape(x: Any, y: Any = None) -> tuple[int, ...]:
    """Return the shape of one sample of an array of data, to build a model with.

    Raises:
        ValueError: if x has no batch axis or a different number of rows than y: a model
            built from such an x would fit no other data.
    """
    shape = read(x, "x").shape if getattr(x, "shape", None) is None else x.shape
    if y is not None:
        targets = read(y, "y").shape if getattr(y, "shape", None) is None else y.shape
        if targets[:1] != shape[:1]:
            raise ValueError(
                f"y has shape {tuple(targets)} and x {tuple(shape)}; their numbers of rows must "
                f"be equal."
            )
    if len(shape) == 0:
        raise ValueError(f"x must have a batch axis, (batch, ...); got the single value {x!r}.")
    return tuple(int(n) for n in shape[1:])


def to_rows(
    spec: Spec, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None,
    needs_y: bool = True, where: str = "", call: str | None = None, resolve: Resolve | None = None,
) -> Rows:
    """Check x, y and weights, and put them where steps can read them.

    Args:
        x, y, sample_weight, class_weight: The user's arguments: for several inputs or
            outputs a list, or a dictionary by name.
        where: Prefix for the names of the arguments in messages.
        call: Name of the method, if these are all its data: then they are streamed if they
            do not fit into the device's memory. None for a single batch.
        resolve: None if all axes have known lengths.

    Raises:
        ValueError, TypeError: naming the argument, the given value and the expected one.
    """
    backend, dtype = spec.backend, spec.dtype
    given: dict[str, Array] = {}
    names: dict[str, str] = {}  # names of the arguments, for messages
    made: set[str] = set()  # arrays created here: the user has no reference to them

    def take(kind: str, number: int, array: Array, argument: str, own: bool) -> None:
        name = name_of(kind, number)
        given[name], names[name] = array, argument
        if own:
            made.add(name)

    arrays = inputs(spec, x, where)
    if resolve is not None:
        spec = resolve(tuple(tuple(array.shape[1:]) for array in arrays))
    for k, array in enumerate(arrays):
        own = spec.host is not None and spec.host.fed[k] >= 0
        take("x", k, array, f"{where}{spec.inputs[k][0]}", own)
    rows = len(arrays[0])
    learned = [target for target in spec.targets if target.loss is not None]
    if y is None and needs_y and learned:
        raise ValueError(
            f"{where}y is missing: training and evaluation compare the predictions with it."
        )
    if needs_y and not learned and (sample_weight is not None or class_weight is not None):
        raise ValueError(
            f"{where}sample_weight and class_weight weight the losses of outputs; the model was "
            f"compiled without a loss."
        )
    if class_weight is not None and len(spec.targets) > 1:
        raise ValueError(
            f"{where}class_weight is for models with one output; this one has "
            f"{len(spec.targets)}. Use sample_weight, a list or dictionary of them."
        )
    ys = _each_target(spec, y, rows, f"{where}y") if learned and y is not None else {}
    weights = _each_weight(spec, sample_weight, where) if sample_weight is not None else {}
    for target in learned:
        k = spec.targets.index(target)
        suffix = f"[{target.name!r}]" if target.name else ""
        targets = None
        if target.name in ys:
            targets, own = _targets(spec, target, ys[target.name], rows, f"{where}y{suffix}")
            take("y", k, targets, f"{where}y{suffix}", own)
        weight = weights.get(target.name)
        if class_weight is not None:
            from .classes import BOTH_WEIGHTS, class_weights

            if weight is not None:
                raise ValueError(where + BOTH_WEIGHTS)
            weight = class_weights(
                class_weight, targets, target, backend, where, call is not None
            )
        if weight is not None:
            argument = f"{where}sample_weight{suffix}"
            array, own = _weights(spec, target, weight, rows, argument)
            take("weights", k, array, argument, own or class_weight is not None)
    inputs_there = []  # that are checked on the device
    for name, array in zip(map(partial(name_of, "x"), range(len(arrays))), arrays, strict=True):
        if is_checked_there(backend, array):
            inputs_there.append((name, array))
        else:
            check_finite(backend, array, dtype, names[name])
    placed = place(spec, given, made, call, names)
    for check in [
        check_placed(backend, array, placed.arrays[name], dtype, names[name])
        for name, array in inputs_there
    ]:
        check()
    return placed


def _each_target(spec: Spec, y: Any, rows: int, name: str) -> dict[str, Any]:
    """Return the given targets of each output that has a loss, by output name."""
    if len(spec.targets) == 1:
        target = spec.targets[0]
        alone = isinstance(y, (list, tuple)) and len(y) == 1 and hasattr(y[0], "shape")
        if alone and y[0].shape[:1] == (rows,) and (rows > 1 or len(y[0].shape) > 1):
            y = y[0]
        elif not hasattr(y, "shape") and isinstance(y, Mapping) and len(y) == 1:
            y = next(iter(y.values()))
        return {target.name: y} if target.loss is not None else {}
    y = spec.forms[1].flat(y, name, missing=True)
    names = [target.name for target in spec.targets]
    learned = [target.name for target in spec.targets if target.loss is not None]
    if isinstance(y, (list, tuple)) and len(y) == len(learned):
        return dict(zip(learned, y, strict=True))
    given = dict(zip(names, by_name(names, y, name, missing=True), strict=True))
    for key in learned:
        if given[key] is None:
            raise ValueError(f"{name} lacks the key {key!r}; this output has a loss.")
    return {key: given[key] for key in learned}


def _each_weight(spec: Spec, weight: Any, where: str) -> dict[str, Any]:
    names = [target.name for target in spec.targets]
    if len(names) == 1:
        return {names[0]: weight}
    weight = spec.forms[1].flat(weight, f"{where}sample_weight", missing=True)
    several = isinstance(weight, (list, tuple)) and all(
        entry is None or np.ndim(entry) > 0 for entry in weight
    )
    if several or isinstance(weight, Mapping):
        given = by_name(names, weight, f"{where}sample_weight", missing=True)
        return dict(zip(names, given, strict=True))
    return dict.fromkeys(names, weight)


def _labels(
    target: TargetSpec, array: Array, backend: Backend, name: str
) -> tuple[Array, bool]:
    loss = target.loss
    labels = backend.read(array) if backend.owns(array) else array
    classes = MOST_LABELS if loss._compares_samples else target.output_shape[-1]
    labels = check_labels(labels, classes, name, getattr(loss, "ignore_class", None))
    loss._check_labels(labels, target.output_shape)
    return labels, labels is not array


def _targets(spec: Spec, target: TargetSpec, y: Any, rows: int, name: str) -> tuple[Array, bool]:
    """Return the checked targets of an output, and whether they are a new array."""
    loss, backend = target.loss, spec.backend
    array = as_array(y, name, backend)
    shape = array.shape
    if not shape or shape[0] != rows:
        raise ValueError(
            f"{name} has {shape[0] if shape else 'no'} rows (shape {shape}), x has {rows}; "
            f"the numbers of rows must be equal."
        )
    if target.any_shape:
        if (loss.target_sample, loss.output_sample) != (shape[1:], target.output_shape):
            loss.target_sample, loss.output_sample = shape[1:], target.output_shape
        if loss.sparse:
            return _labels(target, array, backend, name)
        check_finite(backend, array, spec.dtype, name)
        check_exact(backend, array, spec.dtype, name)
        return array, False
    expected = (rows, *target.target_shape)
    if shape != expected:
        surplus = shape == (*expected, 1) and loss.sparse  # class indices in a column
        missing = shape == expected[:-1] and expected[-1] == 1  # one target, without its axis
        if not surplus and not missing:
            raise _wrong_y(target, shape, expected, name)
    array = array.reshape(expected)
    if loss.sparse:
        return _labels(target, array, backend, name)
    check_finite(backend, array, spec.dtype, name)
    if target.exact:
        check_exact(backend, array, spec.dtype, name)
    if loss.fuses:
        with backend.stream_lock:
            low, high = (float(np.dtype(spec.dtype).type(v)) for v in (array.min(), array.max()))
        if low < 0 or high > 1:
            raise ValueError(
                f"{name} has values from {low:g} to {high:g}; {loss.name} takes probabilities, "
                f"from 0 to 1."
            )
    return array, False


def _wrong_y(
    target: TargetSpec, shape: tuple[int, ...], expected: tuple[int, ...], name: str
) -> ValueError:
    loss = target.loss
    prediction = (expected[0], *target.output_shape)
    flat = shape in (expected[:1], (expected[0], 1))  # one number per row
    if loss.sparse and shape == prediction:
        hint = "For one-hot rows use categorical_crossentropy, or pass y.argmax(-1)."
    elif loss.fuses == "Softmax" and not loss.sparse and (flat or shape == expected[:-1]):
        hint = (
            "For class indices use sparse_categorical_crossentropy, or pass "
            "gpunn.utils.to_categorical(y)."
        )
    elif len(prediction) > 2 and (flat or shape == (expected[0], prediction[-1])):
        last = "classes" if loss.sparse or loss.fuses == "Softmax" else "outputs"
        hint = (
            f"The predictions have axes {prediction[1:-1]} between rows and {last}: put a "
            f"layers.Flatten() or a pooling layer before the last Dense layer."
        )
    elif len(prediction) == 2 and prediction[1] > 1 and flat:
        hint = (
            "A loss does not broadcast. For class indices use sparse_categorical_crossentropy "
            "after a softmax; for one number per row, end the model in one unit."
        )
    else:
        hint = "A loss does not broadcast."
    return ValueError(
        f"{name} has shape {shape}; {loss.name} takes y of shape {expected} for predictions of "
        f"shape {prediction}. {hint}"
    )


def _weights(
    spec: Spec, target: TargetSpec, sample_weight: Any, rows: int, name: str
) -> tuple[Array, bool]:
    """Return the checked weights of an output's rows, and whether they are a new array."""
    array = as_array(sample_weight, name, spec.backend)
    several = (rows, *target.output_shape[:-1])
    if array.shape in ((rows, 1), (*several, 1)):
        array = array.reshape(array.shape[:-1])
    if array.shape not in ((rows,), several):
        or_several = f" or {several}" if len(several) > 1 else ""
        raise ValueError(f"{name} has shape {array.shape}; ({rows},){or_several} is expected.")
    check_finite(spec.backend, array, spec.dtype, name)
    if target.steps == 1:
        return array.reshape(rows), False
    repeated = array.shape == (rows,)
    if repeated:
        array = array.repeat(target.steps)
    return array.reshape(rows, target.steps), repeated
