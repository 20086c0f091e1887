"""What a layer, loss or activation of your own is tested with.

There is no automatic differentiation: whoever writes a forward pass writes its
backward pass. `check_gradients` compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .activations import Activation, linear
from .arena import Arena
from .backends import get_backend
from .backends.base import Array, Backend
from .backends.control import Control
from .layers.base import Layer, Shape
from .losses.base import Loss, align
from .models import Model
from .models.data import to_rows
from .plan import INPUT, Call, Node, Plan, Pool, Workspace

__all__ = ["check_gradients"]

_DTYPE = "float64"


def check_gradients(
    subject: Layer | Sequence[Layer] | Activation | Loss | Model,
    x: Any,
    y_true: Any = None,
    *,
    sample_weight: Any = None,
    directions: int = 3,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    seed: int = 0,
    backend: str | Backend = "numpy",
) -> None:
    """Compare a backward pass with central differences of its forward pass, in float64.

    With f the sum of all outputs, each times a random number (or the loss of a
    model), g the gradient of f and d a random direction, sum(g d) must equal
    (f(a + step d) - f(a - step d)) / (2 step) for the input and every parameter a.
    The check is one of directions, so it costs two forward passes for each, however
    large the array. Beyond that:

    - everything that a pass must write is filled with NaN before it;
    - a layer is asked to add to gradients too (``call.accumulate``, ``call.adds``);
    - an activation is asked to work in place too;
    - a loss is asked for its values without the gradient too.

    Layers run as in training, every time as in the first step: dropout drops the same.

    Args:
        subject: a layer that is not built yet (or several, applied one after the
            other; one may stand there twice), an activation, a loss, or a compiled
            float64 model.
        x: the input (batch, ...), for a loss the predictions; or a shape with the
            batch axis, for standard normal numbers. Keep away from kinks such as
            ReLU's at 0: no difference quotient is the derivative there.
        y_true: targets, for a loss and a model.
        sample_weight: one weight a row, for a model.
        directions: how many random directions for each array.
        step: half the distance of the two points of a difference.
        tolerance: largest accepted difference, relative to the norm of g.
        seed: of all random numbers.
        backend: name of the backend, or the backend; a model brings its own.

    Raises:
        AssertionError: naming the array whose gradient is wrong, and both numbers.
        ValueError: if the subject cannot be checked.

    >>> import gpunn
    >>> check_gradients(gpunn.layers.Dense(3, activation="tanh"), (4, 5))
    >>> class _Forgetful(gpunn.layers.Layer):
    ...     def forward(self, call):
    ...         call.backend.xp.multiply(call.x, 2, out=call.y)
    ...     def backward(self, call):
    ...         call.backend.xp.copyto(call.dx, call.dy)
    >>> check_gradients(_Forgetful(), (4, 5))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: _Forgetful: the gradient of x is wrong: ...
    """
    random = np.random.default_rng(seed)
    if isinstance(x, tuple) and all(isinstance(n, int) for n in x):
        x = random.standard_normal(x)
    check = _Check(directions, step, tolerance, random)
    if isinstance(subject, Model):
        _check_model(check, subject, x, y_true, sample_weight)
        return
    array = np.array(x, _DTYPE)
    if array.ndim == 0:
        raise ValueError(f"x must be an array (batch, ...) or a shape; got {x!r}.")
    device = get_backend(backend)
    if isinstance(subject, Activation):
        _check_activation(check, subject, device, array)
    elif isinstance(subject, Loss):
        _check_loss(check, subject, device, array, y_true)
    else:
        layers = [subject] if isinstance(subject, Layer) else list(subject)
        _check_layers(check, layers, device, array)


class _Check:
    """The comparison itself: what it needs to know, and its random numbers."""

    def __init__(
        self, directions: int, step: float, tolerance: float, random: np.random.Generator
    ) -> None:
        self.directions = directions
        self.step = step
        self.tolerance = tolerance
        self.random = random

    def compare(
        self,
        what: str,
        backend: Backend,
        array: Array,
        gradient: np.ndarray,
        f: Callable[[], tuple[float, float]],
    ) -> None:
        """``f()`` gives a value that depends on ``array``, and the sum of its terms' sizes."""
        owner, _, name = what.partition(": ")
        if not np.isfinite(gradient).all():
            raise AssertionError(
                f"{owner}: backward left part of the gradient of {name} unwritten."
            )
        start = backend.read(array)
        for _ in range(self.directions):
            direction = self.random.standard_normal(start.shape)
            values = []
            for sign in (1.0, -1.0):
                backend.write(array, start + sign * self.step * direction)
                values.append(f())
            backend.write(array, start)
            numeric = (values[0][0] - values[1][0]) / (2 * self.step)
            analytic = float(np.sum(gradient * direction))
            rounding = 8 * np.finfo(_DTYPE).eps * values[0][1] / self.step
            allowed = self.tolerance * float(np.linalg.norm(gradient)) + rounding
            if not abs(numeric - analytic) <= allowed:
                raise AssertionError(
                    f"{owner}: the gradient of {name} is wrong: along a random direction, "
                    f"backward gives {analytic:.10g}, differences of forward {numeric:.10g} "
                    f"(allowed difference {allowed:.2g})."
                )


def _expect(what: str, got: np.ndarray, expected: np.ndarray) -> None:
    scale = float(np.max(np.abs(expected), initial=1.0))
    if not np.allclose(got, expected, rtol=0, atol=1e-12 * scale):
        raise AssertionError(f"{what}: {got!r} where {expected!r} was expected.")


class _Source(Layer):
    """A layer whose output is a parameter: it makes the input one more array to check."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__(name="input")
        self._values = values

    def build(self, input_shape: Shape) -> None:
        values = self._values
        self.x = self.parameter(values.shape, "zeros", "x")
        self.x.initializer = lambda shape, dtype: values.astype(dtype)

    def forward(self, call: Call) -> None:
        call.backend.xp.copyto(call.y, self.x.value)

    def backward(self, call: Call) -> None:
        call.backend.xp.copyto(self.x.gradient, call.dy)


def _check_layers(check: _Check, layers: list[Layer], backend: Backend, x: np.ndarray) -> None:
    for layer in layers:
        if layer.weights:
            raise ValueError(
                f"{layer.name} is built already: check_gradients moves parameters into a "
                f"float64 arena of its own. Give it a new layer."
            )
    source = _Source(x)
    shape = source.ensure_built(x.shape[1:])
    nodes = [Node(source, INPUT, shape)]
    for i, layer in enumerate(layers):
        shape = layer.ensure_built(shape)
        nodes.append(Node(layer, i, shape))
    plan = Plan(nodes, tuple(x.shape[1:]))
    parameters = list({id(p): p for node in nodes for p in node.layer.parameters}.values())
    arena = Arena(backend, _DTYPE, parameters)
    for p in parameters[1:]:  # not the special points that initial values often are
        backend.write(p.value, p.numpy() + 0.1 * check.random.standard_normal(p.shape))
    workspace = Workspace(
        plan, backend, _DTYPE, len(x), Pool(backend), training=True, control=Control(backend)
    )
    owner = " after ".join(type(layer).__name__ for layer in reversed(layers))
    weights = check.random.standard_normal(workspace.y.shape)

    def forward() -> tuple[float, float]:
        for call in workspace.calls:
            if not call.layer.is_view(call):
                backend.write(call.y, np.full(call.y.shape, np.nan))
        workspace.forward()
        y = backend.read(workspace.y)
        if not np.isfinite(y).all():
            raise AssertionError(f"{owner}: forward left part of its output unwritten.")
        return float(np.sum(y * weights)), float(np.sum(np.abs(y * weights)))

    def backward(before: dict[int, np.ndarray]) -> list[np.ndarray]:
        for p in arena.trained:
            backend.write(p.gradient, before.get(id(p), np.full(p.shape, np.nan)))
        for call in workspace.calls:
            if call.dx is not None:
                fill = before.get(id(call), np.full(call.dx.shape, np.nan))
                backend.write(call.dx, fill)
        backend.write(workspace.dy, weights)
        workspace.backward()
        return [backend.read(p.gradient) for p in arena.trained]

    forward()
    gradients = backward({})
    for p, gradient in zip(arena.trained, gradients, strict=True):
        name = "x" if p.layer is source else p.name
        check.compare(f"{owner}: {name}", backend, p.value, gradient, forward)
    last = workspace.calls[-1]
    if len(layers) == 1 and not last.layer.is_view(last):
        last.accumulate = last.adds = True
        before = {id(p): check.random.standard_normal(p.shape) for p in arena.trained[1:]}
        before[id(last)] = check.random.standard_normal(last.dx.shape)
        forward()
        sums = backward(before)
        terms = [before[id(last)], *(before[id(p)] for p in arena.trained[1:])]
        for p, total, gradient, term in zip(arena.trained, sums, gradients, terms, strict=True):
            flag = "accumulate" if p.layer is source else "adds"
            name = "x" if p.layer is source else p.name
            _expect(f"{owner}: gradient of {name} with call.{flag}", total, gradient + term)


def _check_activation(
    check: _Check, activation: Activation, backend: Backend, x: np.ndarray
) -> None:
    owner = type(activation).__name__
    rows = x.reshape(-1, x.shape[-1])
    weights = check.random.standard_normal(rows.shape)
    z, y, dy, dz = (backend.empty(rows.shape, _DTYPE) for _ in range(4))
    backend.write(z, rows)
    backend.write(dy, weights)

    def forward() -> tuple[float, float]:
        backend.write(y, np.full(rows.shape, np.nan))
        backend.bias_activation(z, None, activation, y)
        values = backend.read(y)
        return float(np.sum(values * weights)), float(np.sum(np.abs(values * weights)))

    forward()
    backend.write(dz, np.full(rows.shape, np.nan))
    saved = z if activation.saves == "input" else y
    backend.activation_gradient(activation, saved, dy, dz)
    gradient, values = backend.read(dz), backend.read(y)
    check.compare(f"{owner}: x", backend, z, gradient, forward)
    forward()
    backend.activation_gradient(activation, saved, dy, dy)
    _expect(f"{owner}: gradient written over dy", backend.read(dy), gradient)
    backend.bias_activation(z, None, activation, z)
    _expect(f"{owner}: output written over x", backend.read(z), values)


def _check_loss(
    check: _Check, loss: Loss, backend: Backend, predictions: np.ndarray, y_true: Any
) -> None:
    if y_true is None:
        raise ValueError(f"{loss.name}: a loss needs y_true to be checked.")
    owner = type(loss).__name__
    targets, predictions = align(loss, y_true, predictions)
    rows = predictions.reshape(-1, predictions.shape[-1])
    targets = targets.reshape(-1) if loss.sparse else targets.reshape(rows.shape)
    y, t = backend.empty(rows.shape, _DTYPE), backend.upload(targets)
    backend.write(y, rows)
    gradient, totals = backend.empty(rows.shape, _DTYPE), backend.zeros((2,), "float64")
    weights = backend.empty((len(rows),), _DTYPE)
    backend.write(weights, check.random.standard_normal(len(rows)))

    def forward(into: Any = None) -> tuple[float, float]:
        backend.write(totals, np.zeros(2))
        # A scale of 1 / rows makes totals[0] the weighted sum.
        backend.loss(loss, t, y, weights, 1.0 / len(rows), into, totals)
        value = float(backend.read(totals)[0])
        return value, abs(value) + len(rows)

    backend.write(gradient, np.full(rows.shape, np.nan))
    value, _ = forward(gradient)
    found = backend.read(gradient) * len(rows)
    check.compare(f"{owner}: y_pred", backend, y, found, forward)
    _expect(f"{owner}: value without gradient", np.array(forward()[0]), np.array(value))


def _check_model(check: _Check, model: Model, x: Any, y_true: Any, sample_weight: Any) -> None:
    trainer = model.trainer
    if trainer is None or trainer.spec.dtype != _DTYPE:
        raise ValueError(
            f"The model {model.name!r} must be built and compiled, with dtype='float64', to be "
            f"checked: float32 is too coarse for finite differences."
        )
    backend, loss, spec = trainer.backend, trainer.loss, trainer.spec
    data = to_rows(spec, x, y_true, sample_weight)
    workspace = Workspace(
        trainer.plan,
        backend,
        _DTYPE,
        len(data),
        Pool(backend),
        training=True,
        output_activation=linear if trainer.fused else None,
        control=Control(backend),
        seed=trainer.seed,
    )
    width = spec.output_shape[-1]
    rows = len(data) * spec.rows_per_sample
    y_pred, gradient = (a.reshape(rows, width) for a in (workspace.y, workspace.dy))
    assert data.y is not None
    targets = data.y.reshape(-1) if loss.sparse else data.y.reshape(rows, width)
    weights = None if data.weights is None else data.weights.reshape(-1)
    totals = backend.zeros((2,), "float64")
    scale = 1.0 if loss.reduction == "sum" else 1.0 / rows
    backend.affine(data.x, workspace.scale, workspace.offset, workspace.x)

    def forward() -> tuple[float, float]:
        backend.write(totals, np.zeros(2))
        workspace.forward()
        backend.loss(loss, targets, y_pred, weights, scale, gradient, totals)
        value = float(backend.read(totals)[0]) / rows
        return value, abs(value) + 1.0

    forward()
    trained = trainer.arena.trained
    for p in trained:
        backend.write(p.gradient, np.full(p.shape, np.nan))
    workspace.backward()
    gradients = [backend.read(p.gradient) for p in trained]
    for p, found in zip(trained, gradients, strict=True):
        check.compare(f"{model.name}: {p.path}", backend, p.value, found, forward)
