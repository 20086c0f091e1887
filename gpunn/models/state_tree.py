"""The state of a model as dictionaries in one another, by the paths of its variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice
from gpunn.common.names import closest
from gpunn.structure.nested import NestedModel

PARTS = (
    "trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables",
)  # fmt: skip


class StateTree(NestedModel):
    """The part of `Model` that gives and takes its whole state."""

    _abstract = True  # not an entry to look up

    def get_state_tree(self, value_format: str = "backend_tensor") -> dict[str, Any]:
        """Return the values of weights, optimizer and metrics, by the parts of their paths.

        Metrics are those that the model's own steps use, and what their objects have counted;
        `fit` begins each epoch at 0.

        Args:
            value_format: ``"backend_tensor"`` or ``"numpy_array"``: what the values are.

        Raises:
            ValueError: if two variables have the same path.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="ones", name="line")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse")
        >>> tree = model.get_state_tree("numpy_array")
        >>> tree["trainable_variables"]["line"]["kernel"].tolist()
        [[1.0]]
        >>> list(tree["optimizer_variables"]["sgd"])
        ['iteration', 'learning_rate']
        """
        check_choice("value_format", value_format, ("backend_tensor", "numpy_array"))
        as_array = value_format == "numpy_array"
        return {
            part: _nested({
                path: v.numpy() if as_array else +v for path, v in _by_path(part, own).items()
            })
            for part, own in _parts(self).items()
        }  # fmt: skip

    def set_state_tree(self, state_tree: Mapping[str, Any]) -> None:
        """Set weights, optimizer and metrics. What the tree lacks stays as it is.

        Args:
            state_tree: As `get_state_tree` returns it, or some of it.

        Raises:
            ValueError: for a path that the model does not have, or a value of another shape.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, name="line")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.set_state_tree({"trainable_variables": {"line": {"kernel": [[2.0]]}}})
        >>> model([[3.0]]).tolist()
        [[6.0]]
        """
        own, found = _parts(self), []
        for part, tree in state_tree.items():
            check_choice("a key of state_tree", part, PARTS)
            known = _by_path(part, own[part])
            for path, value in _flat(tree):
                if path not in known:
                    raise ValueError(
                        f"state_tree[{part!r}]: {path!r} is not in the model."
                        f"{closest(path, list(known))}"
                    )
                found.append((known[path], _checked(path, value, known[path].shape)))
        for variable, value in found:
            variable.assign(value)


def _parts(model: Any) -> dict[str, Sequence[Any]]:
    """Return the variables of each part of a tree."""
    model._require_values("get_state_tree")
    optimizer = model.optimizer
    if optimizer is not None:
        model.training_state()  # which makes the slots
    of_each = (
        model.trainable_variables, model.non_trainable_variables,
        [] if optimizer is None else optimizer.variables, model.metrics_variables,
    )  # fmt: skip
    return dict(zip(PARTS, of_each, strict=True))


def _by_path(part: str, variables: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in variables:
        path = getattr(variable, "path", variable.name)
        if path in found:
            raise ValueError(
                f"{part}: the path {path!r} is found twice in the model. Give its layers and "
                f"metrics different names."
            )
        found[path] = variable
    return found


def _nested(by_path: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in by_path.items():
        *groups, name = path.split("/")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    return tree


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}/")
        else:
            yield f"{path}{name}", value


def _checked(path: str, value: Any, shape: Any) -> Any:
    array = np.asarray(value)
    if array.shape != tuple(shape):
        raise ValueError(f"state_tree: {path!r} has the shape {tuple(shape)}; got {array.shape}.")
    return array
