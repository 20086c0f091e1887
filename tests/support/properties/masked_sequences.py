"""Sequences with masks, and every registered recurrent layer with random options."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import registered
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

FEATURES = 3
Draw = random.Random


class Marked(layers.Layer):
    """Give a sequence the mask that is its second input, whatever stands in it."""

    takes_list = True

    def call(self, inputs: Any) -> Any:
        return inputs[0]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return ops.greater(inputs[1], 0.5)


def marked(x: Any, mask: Any) -> Any:
    """A sequence with a mask, as `Masking` makes it."""
    return x if mask is None else Marked()([x, ops.cast(mask, "float64")])


def numbers(draw: Draw, *shape: int) -> np.ndarray:
    return np.random.default_rng(draw.getrandbits(32)).normal(size=shape)


def a_mask(draw: Draw, rows: int, steps: int, valid: int | None = None) -> np.ndarray:
    """Rows masked at the start, the end, in the middle, or anywhere.

    Args:
        draw, rows, steps: self-explanatory.
        valid: how many steps of each row count; by default random ones, also all or none.
    """
    mask = np.zeros((rows, steps), bool)
    for row in mask:
        n = draw.choice([0, steps, *range(steps + 1)]) if valid is None else valid
        at = draw.choice([0, steps - n, None, None])
        row[draw.sample(range(steps), n) if at is None else slice(at, at + n)] = True
    return mask


def spoiled(x: np.ndarray, mask: np.ndarray, value: float = 1e30) -> np.ndarray:
    """The sequences with garbage of this size in the masked steps, of both signs."""
    signs = np.where(np.arange(x.shape[-1]) % 2, -value, value)
    return np.where(mask.reshape(*mask.shape, *[1] * (x.ndim - 2)), x, signs)


def squeezed(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The sequences without their masked steps, of which all have the same number."""
    return x[mask].reshape(len(x), -1, *x.shape[2:])


def near(found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Compare lists of arrays, of any nesting."""
    if isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            near(one, other, tolerance)
    else:
        assert_allclose(np.asarray(found), np.asarray(expected), tolerance, tolerance)


def slopes(f: Callable[..., Any], inputs: list[np.ndarray], layer: Any) -> list[Any]:
    """The outputs ``f(*inputs)``, and the slopes of a weighted sum of them."""
    with gpunn.GradientTape() as tape:
        given = [ops.convert_to_tensor(x) for x in inputs]
        for x in given:
            tape.watch(x)
        outputs = f(*given)
        factors = [np.cos(np.arange(y.size) + k).reshape(y.shape) for k, y in enumerate(outputs)]
        total = sum(ops.sum(y * factor) for y, factor in zip(outputs, factors, strict=True))
    return [*outputs, *tape.gradient(total, [*given, *layer.trainable_weights])]


# -- recurrent layers


@gpunn.saving.register_keras_serializable(package="masked_sequences")
class Decaying(layers.Layer):
    """A cell of one's own, whose output is not its state."""

    def __init__(self, units: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.units = self.state_size = units
        self.output_size = units + 1

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, inputs: Any, states: Any) -> Any:
        state = ops.tanh(ops.matmul(inputs, self.kernel) + states[0] * 0.5)
        total = ops.sum(state, axis=-1, keepdims=True)
        return ops.concatenate([state, total], axis=-1), [state]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def _of(condition: Callable[[Any], bool]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, arguments)
        for name, arguments in registered.cases("layer")
        if condition(registered.make("layer", name, arguments))
    ]


CELLS = _of(lambda layer: hasattr(layer, "state_size") and not hasattr(layer, "return_sequences"))
"""(name, arguments) of every registered cell."""
RECURRENT = _of(lambda of: hasattr(of, "go_backwards") and not registered.takes_images(of))
"""(name, arguments) of every registered layer that applies a cell to each step, of features."""
KINDS: list[Any] = [*RECURRENT, *CELLS, ("own cell", {}), ("two cells", {})]


def every_kind(test: Any) -> Any:
    """Parametrize with every kind; only `make test-more` takes a name's second example too, and
    cells alone, as each layer has one."""
    names: list[str] = []
    params = []
    for kind in KINDS:
        marks = [pytest.mark.more] * (kind[0] in names or kind in CELLS)
        names.append(kind[0])
        params.append(pytest.param(kind, marks=marks, id=registered.label(kind)))
    return pytest.mark.parametrize("kind", params)(test)


def seeds(few: int, more: int) -> Any:
    """Parametrize with seeds, of which `make test-more` runs more."""
    rest = [pytest.param(seed, marks=pytest.mark.more) for seed in range(few, more)]
    return pytest.mark.parametrize("seed", [*range(few), *rest])


def recurrent(kind: Any, options: dict[str, Any]) -> Any:
    """A layer of a kind with these options besides its own."""
    name, arguments = kind
    if kind in RECURRENT:
        return registered.make("layer", name, {**arguments, **options})
    if name == "own cell":
        return layers.RNN(Decaying(), **options)
    if name == "two cells":
        cells = [registered.make("layer", *CELLS[0]), Decaying()]
        return layers.RNN([*cells, layers.LSTMCell(2, name="last")], **options)
    return layers.RNN(registered.make("layer", name, arguments), **options)


def randomized(layer: Any, draw: Draw) -> Any:
    """The layer with random weights, also where they begin at 0."""
    layer.set_weights([numbers(draw, *w.shape) for w in layer.get_weights()])
    return layer


def flat(states: Any) -> list[Any]:
    """The states, also of several cells, in one list."""
    several = isinstance(states, (list, tuple))
    return [s for entry in states for s in flat(entry)] if several else [states]
