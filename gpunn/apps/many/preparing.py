"""The jobs of many models, checked before any of them runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunn.callbacks import Callback
from gpunn.core.storage import Parameter
from gpunn.feeding.frames import is_frame
from gpunn.layers import InputLayer
from gpunn.models import Model
from gpunn.structure.nested import TRAINS

from .jobs import Job
from .shared import Shared, check_arrays, converted, for_each, row_count, row_numbers


def jobs_of(
    models: Sequence[Model], x: Any, y: Any, rows: Any, validation_rows: Any, sample_weight: Any,
    class_weight: Any, callbacks: Sequence[list[Callback]], arguments: Mapping[str, Any],
) -> list[Job]:
    """Return the jobs of models; see `gpunn.fit_many` for the arguments.

    Args:
        callbacks: those of each model.
        arguments: the others of `Model.fit`.

    Raises:
        ValueError, TypeError: for data that cannot be shared, or that a model does not take.
    """
    check_arrays(x)
    count = len(models)
    weights = for_each("sample_weight", sample_weight, count, _is_one_weight)
    classes = for_each("class_weight", class_weight, count, lambda given: False)
    for number, model in enumerate(models):
        make_ready(model, f"models[{number}] of {count}", x, y)
    data = Shared.of(x, y, is_frame(x) and any(map(_takes_names, models)))
    chosen = row_numbers("rows", rows, count, data.rows)
    held_out = row_numbers("validation_rows", validation_rows, count, data.rows)
    weights = [weight if weight is None else converted(weight, False) for weight in weights]
    for number, weight in enumerate(weights):
        if weight is not None and (found := row_count(weight)) != data.rows:
            raise ValueError(
                f"sample_weight has {found} rows for models[{number}], x has {data.rows}; they "
                f"must be equal, since rows= takes those of each model."
            )
    each = zip(chosen, held_out, weights, classes, callbacks, strict=True)
    return [
        Job(number, model, data, taken, held, weight, by_class, own, arguments)
        for number, (model, (taken, held, weight, by_class, own)) in enumerate(
            zip(models, each, strict=True)
        )
    ]


def check_models(models: Iterable[Any]) -> list[Model]:
    """Return compiled models, checked to be ones which can be trained at the same time.

    Raises:
        TypeError: for something else.
        ValueError: for none, one that is not compiled, and two that are or hold the same.
    """
    if isinstance(models, (Model, Mapping)) or not isinstance(models, Iterable):
        raise TypeError(f"models must be a list of compiled models; got {models!r:.80}.")
    models = list(models)
    if not models:
        raise ValueError("models is empty: there is nothing to train.")
    owners: dict[int, int] = {}
    for number, model in enumerate(models):
        if not isinstance(model, Model):
            raise TypeError(f"models[{number}] must be a gpunn.Model; got {model!r:.80}.")
        if not model.compiled:
            raise ValueError(
                f"models[{number}] ({model.name!r}) is not compiled: call its "
                f"compile(optimizer=..., loss=...) first."
            )
        for part in (model, *model._with_layers_inside(), *model.weights):
            before = owners.setdefault(id(part), number)
            if before == number or isinstance(part, InputLayer):  # which holds nothing
                continue
            is_weight = isinstance(part, Parameter)  # which was a variable
            what = f"share the {f'weight {part.path!r}' if is_weight else f'layer {part.name!r}'}"
            if part is model or part is models[before]:
                what = f"are the same, or one is in the other ({part.name!r})"
            raise ValueError(
                f"models[{before}] and models[{number}] {what}: they cannot train at the same "
                f"time. Make new layers for each, as a function does that returns a model."
            )
    return models


def make_ready(model: Model, what: str, x: Any, y: Any) -> None:
    """Build a model for the data, in the order of the list, so that its first weights do not
    depend on threads."""
    if model._replaces_steps(TRAINS):
        return  # its own steps decide what they read
    try:
        with model._training.exclusively("fit"):
            model._training.ready("fit", x, y)
    except Exception as error:
        error.add_note(f"In {what} ({model.name!r}).")
        raise


def _takes_names(model: Model) -> bool:
    """Whether a model takes columns of a frame by their names."""
    if model._replaces_steps(TRAINS):
        return True
    spec = model._training.spec()
    return spec.by_name or (len(spec.given) == 1 and spec.given[0][1] in ((), (1,)))


def _is_one_weight(given: Any) -> bool:
    """Whether a list is the weights of rows, not a list with weights for each model."""
    return not any(entry is None or np.ndim(entry) for entry in given)
