"""Losses of several outputs together: ``compile(loss=[of_all, {"a": "mse", "b": "mae"}])``.

A model with such a loss trains by its `train_step`, as one that a class defines would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpunn import losses
from gpunn.common import registry
from gpunn.common.arguments import check_number
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.nested import TreeDef, is_group
from gpunn.common.overrides import is_framework
from gpunn.losses import Loss
from gpunn.losses.loss import FunctionLoss
from gpunn.metrics import Mean
from gpunn.ops.conversion import convert
from gpunn.ops.tensor import Tensor

from .measured import count


@dataclass(eq=False)
class JointLoss:
    """A loss of the outputs at a place in their structure: of a group of them, or of one.

    Attributes:
        path: Keys and places on the way to them.
        weight: Its factor in the sum.
    """

    path: tuple[Any, ...]
    loss: Loss
    weight: float
    name: str


class JointLosses:
    """The losses that `compile` was given for outputs of this structure.

    Attributes:
        means: Means of the losses for the logs, if there are several.

    Args:
        loss: Losses in lists and dictionaries, some of them of groups of outputs.
        loss_weights: Their factors, in the same structure or in a list; None if all are 1.
    """

    def __init__(self, form: TreeDef, names: Sequence[str], loss: Any, loss_weights: Any) -> None:
        self._form, self.entries = form, list[JointLoss]()
        self.loss, self.weights = loss, loss_weights
        self.is_joint = False  # whether one of them is of a group
        self._add(form, form.pack(iter(names)), loss, loss_weights, ())
        several = self.entries if len(self.entries) > 1 else []
        self.means = [Mean(name=f"{entry.name}_loss") for entry in several]

    @classmethod
    def of(cls, form: TreeDef, names: Sequence[str], loss: Any, weights: Any) -> JointLosses | None:
        """Return the losses if one of them is of a group of outputs, as Keras takes it; else None:
        each output has its own, or there is an error to be raised elsewhere."""
        if form.kind is None or not is_several(loss):
            return None
        try:
            found = cls(form, names, loss, weights)
        except (ValueError, TypeError):
            groups = [] if isinstance(loss, Mapping) else [x for x in loss if is_several(x)]
            if any(isinstance(group, Mapping) for group in groups):
                raise  # no other form has dictionaries in a list
            return None
        return found if found.is_joint else None

    def _add(
        self, form: TreeDef, names: Any, loss: Any, weights: Any, path: tuple[Any, ...]
    ) -> None:
        """Add the losses for the outputs at a path: their structure and names."""
        if loss is None:
            return
        if not is_several(loss):
            made = losses.get(loss)
            if form.kind is not None:
                own = isinstance(made, FunctionLoss) or not is_framework(type(made))
                if not own:  # which compares one array with another
                    raise ValueError(f"loss: {made.name!r} is of one output, not of several.")
                self.is_joint = True
            weight = 1.0 if weights is None else check_number("loss_weights", weights)
            self.entries.append(JointLoss(path, made, weight, _name(form, names, path)))
            return
        kind = dict if isinstance(loss, Mapping) else type(loss)
        each = list(loss.values()) if kind is dict else list(loss)
        factors: Any = [None] * len(each) if weights is None else _like(each, weights)
        flat = not any(map(is_several, each)) and len(each) == len(form.unpack(names))
        if kind is not dict and flat:  # one for each output
            if form.kind is None:
                return self._add(form, names, each[0], factors[0], path)
            loss, factors = form.pack(iter(each)), form.pack(iter(factors))
        elif kind is not dict and form.kind is not kind:  # each for all of them
            for entry, factor in zip(each, factors, strict=True):
                self._add(form, names, entry, factor, path)
            return
        elif form.kind is not kind:
            raise ValueError(f"loss: there are no such outputs at {path}.")
        elif kind is dict:
            factors = dict(zip(loss, factors, strict=True))
        keys = form.keys if form.kind is dict else range(len(names))
        parts = dict(zip(keys, form.parts or (TreeDef(),) * len(keys), strict=True))
        for key in loss if form.kind is dict else range(len(loss)):
            if key not in parts:
                raise ValueError(
                    f"loss: there is no output {key!r}; {', '.join(map(repr, keys))} are expected."
                )
            self._add(parts[key], names[key], loss[key], factors[key], (*path, key))

    def values(self, y: Any, y_pred: Any, sample_weight: Any) -> list[Tensor]:
        """Return the value of each loss, without its factor."""
        y_true = self._form.pack(iter(self._form.unpack(_arranged(self._form, y))))
        found = []
        for entry in self.entries:
            weight = sample_weight
            if is_group(weight):
                weight = _at(_arranged(self._form, weight), entry.path)
                if is_group(weight):
                    raise ValueError(
                        f"sample_weight has an entry for each output, but the loss {entry.name!r} "
                        f"is of several: pass one array for all."
                    )
            value = entry.loss(_at(y_true, entry.path), _at(y_pred, entry.path), weight)
            found.append(convert(value))
        return found

    def compute(self, model: Any, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
        """Implement `Model.compute_loss`; each loss is counted."""
        values = self.values(y, y_pred, sample_weight)
        rows = next(iter(self._form.unpack(y_pred))).shape[0]
        for mean, value in zip(self.means, values, strict=False):
            count(mean, value, rows)
        terms = [value * entry.weight for value, entry in zip(values, self.entries, strict=True)]
        return sum([*terms[1:], *model.losses], terms[0])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `compile` as JSON-serializable values."""
        def described(loss: Any) -> Any:
            if isinstance(loss, Mapping) and is_several(loss):
                return {key: described(entry) for key, entry in loss.items()}
            if is_several(loss):
                return [described(entry) for entry in loss]
            return None if loss is None else registry.serialize(losses.get(loss))

        return {"loss": described(self.loss), "loss_weights": self.weights}


def is_several(given: Any) -> bool:
    """Whether there are several losses, not a single one or its configuration."""
    config = isinstance(given, Mapping) and {"class_name", "config"} <= set(given)
    return isinstance(given, (list, tuple, Mapping)) and not config


def _like(entries: Sequence[Any], weights: Any) -> list[Any]:
    """Return the weights of several losses, in their order."""
    given = list(weights.values()) if isinstance(weights, Mapping) else weights
    if not isinstance(given, (list, tuple)) or len(given) != len(entries):
        raise ValueError("loss_weights must have a weight for each loss.")
    return list(given)


def _name(form: TreeDef, names: Any, path: tuple[Any, ...]) -> str:
    """Return the name of a loss in logs, as Keras's."""
    if form.kind is None:  # a place in a list has no name of its own
        own = str(names).rpartition("/")[2]  # those of groups in groups have their path before
        path = (*path[:-1], own) if path and isinstance(path[-1], int) else path or (own,)
    return "/".join(map(str, path)) or "_".join(map(str, form.unpack(names)))


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _arranged(form: TreeDef, given: Any) -> Any:
    """Return values in a structure, in which dictionaries have the order of the outputs' keys."""
    if form.kind is None:
        return given
    parts = form.parts or (TreeDef(),) * len(given)
    if form.kind is dict:
        return {key: _arranged(p, given[key]) for key, p in zip(form.keys, parts, strict=True)}
    return form.kind(_arranged(p, x) for p, x in zip(parts, given, strict=True))
