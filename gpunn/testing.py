"""Tests for custom layers, losses and activations.

gpunn differentiates a `call`, but a handwritten forward pass needs a handwritten backward pass.
`check_gradients` checks that the two agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .activations import Activation
from .backends import get_backend
from .backends.contract.backend import Array, Backend
from .backends.contract.control import Control
from .common.importing.lazy import offer
from .core.plan import INPUT, Call, Node, Plan
from .core.storage import ParameterStorage
from .core.workspace import Pool, Workspace
from .feeding.data import to_rows
from .feeding.rows import name_of
from .layers.applying import append_nodes
from .layers.layer import Layer
from .layers.shapes import Shape
from .losses.loss import Loss
from .losses.rows import align
from .models import Model
from .ops.dtypes import is_float
from .training.loss_terms import TargetBuffers

__all__ = ["check_gradients"]
offer(__name__)

_DTYPE = "float64"


def check_gradients(
    subject: Layer | Sequence[Layer] | Activation | Loss | Model, x: Any, y_true: Any = None, *,
    sample_weight: Any = None, directions: int = 3, step: float = 1e-5, tolerance: float = 1e-6,
    seed: int = 0, backend: str | Backend = "numpy",
) -> None:
    """Compare a backward pass with central differences of its forward pass, in float64.

    With f the sum of all outputs, each times a random number (or the loss of a
    model), g the gradient of f and d a random direction, sum(g d) must equal
    (f(a + step d) - f(a - step d)) / (2 step) for the input and every parameter a.
    Each direction costs two forward passes, however large the array. In addition:

    - arrays that a pass must write are filled with NaN before it;
    - a layer must also add to gradients (``call.accumulate_dx`` and
      ``call.accumulate_gradients``);
    - an activation must also work in place;
    - a loss must also return its values without the gradient.

    Layers run in training mode, always as in the first step, so that dropout masks are the same.

    Args:
        subject: A layer that is not built yet (or several, applied in order; one may
            occur twice), an activation, a loss, or a compiled float64 model.
        x: The input (batch, ...), for a loss the predictions; or a shape with the
            batch axis, for standard normal values; or a list of these, for a layer that takes
            a list or a model with several inputs. Avoid points without a derivative, such as
            0 for ReLU: no difference quotient is the derivative there.
        y_true: Targets, for a loss or a model.
        sample_weight: One weight per row, for a model.
        directions: Number of random directions for each array.
        step: Half the distance between the two points of a difference.
        tolerance: Largest accepted difference, relative to the norm of g.
        seed: Seed of all random numbers.
        backend: Name of the backend, or the backend; a model uses its own.

    Raises:
        AssertionError: naming the array whose gradient is wrong, and both values.
        ValueError: if the subject cannot be checked.

    >>> import gpunn
    >>> from gpunn.testing import check_gradients
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
    check = _Check(directions, step, tolerance, random)
    first = subject[0] if isinstance(subject, (list, tuple)) else subject
    several = isinstance(x, list) and all(_is_shape(e) or isinstance(e, np.ndarray) for e in x)
    if getattr(first, "takes_list", False) or (several and getattr(first, "_has_call", False)):
        arrays = [_array(entry, random) for entry in x]
    elif isinstance(subject, Model):
        x = _array(x, random) if _is_shape(x) else x
        _check_model(check, subject, x, y_true, sample_weight)
        return
    else:
        arrays = [_array(x, random)]
    device = get_backend(backend)
    with device.stream_lock:
        if isinstance(subject, Activation):
            _check_activation(check, subject, device, arrays[0])
        elif isinstance(subject, Loss):
            _check_loss(check, subject, device, arrays[0], y_true)
        else:
            layers: Any = [subject] if isinstance(subject, Layer) else subject
            _check_layers(check, list(layers), device, arrays)


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple) and all(isinstance(n, int) for n in x)


def _array(x: Any, random: np.random.Generator) -> np.ndarray:
    array = np.array(random.standard_normal(x) if _is_shape(x) else x, _DTYPE)
    if array.ndim == 0:
        raise ValueError(f"x must be an array (batch, ...) or a shape; got {x!r}.")
    return array


@dataclass
class _Check:
    """The comparison, with its settings and random generator."""

    directions: int
    step: float
    tolerance: float
    random: np.random.Generator

    def compare(
        self, what: str, backend: Backend, array: Array, gradient: np.ndarray,
        f: Callable[[], tuple[float, float]], exists: np.ndarray | None = None,
    ) -> None:
        """Compare a gradient with central differences of ``f``.

        ``f()`` returns a value that depends on ``array``, and the sum of its terms' magnitudes.
        ``exists``: where the array may change; None: everywhere."""
        owner, _, name = what.partition(": ")
        if not np.isfinite(gradient).all():
            raise AssertionError(
                f"{owner}: backward left part of the gradient of {name} unwritten."
            )
        start = backend.read(array)
        for _ in range(self.directions):
            direction = self.random.standard_normal(start.shape)
            if exists is not None:
                direction *= exists
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


def _blank(backend: Backend, *arrays: Array) -> None:
    """Fill arrays that must be written with NaN."""
    for array in arrays:
        backend.write(array, np.full(array.shape, np.nan))


def _expect(what: str, got: np.ndarray, expected: np.ndarray) -> None:
    scale = float(np.max(np.abs(expected), initial=1.0))
    if not np.allclose(got, expected, rtol=0, atol=1e-12 * scale):
        raise AssertionError(f"{what}: {got!r} where {expected!r} was expected.")


class _Source(Layer):
    """A layer whose output is a parameter, so that an input is checked like a parameter."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__()
        self._values = values

    def build(self, input_shape: Shape) -> None:
        values = self._values
        self.x = self.parameter(values.shape, "zeros", "x")
        self.x.initializer = lambda shape, dtype: values.astype(dtype)

    def forward(self, call: Call) -> None:
        call.backend.xp.copyto(call.y, self.x.value)

    def backward(self, call: Call) -> None:
        call.backend.xp.copyto(self.x.gradient, call.dy)


def _check_layers(
    check: _Check, layers: list[Layer], backend: Backend, xs: list[np.ndarray]
) -> None:
    for layer in layers:
        if layer.weights:
            raise ValueError(
                f"{layer.name} is built already: check_gradients moves parameters into its own "
                f"float64 storage. Pass a new layer."
            )
    nodes: list[Node] = []
    shapes = [x.shape[1:] for x in xs]
    sources = [_Source(x) for x in xs]
    read = [
        append_nodes(source, nodes, [INPUT], [shape])[0]
        for source, shape in zip(sources, shapes, strict=True)
    ]
    for layer in layers:
        read = append_nodes(layer, nodes, read, [nodes[n].output_shape for n in read])
    names = {id(s): "x" if len(xs) == 1 else f"x[{k}]" for k, s in enumerate(sources)}
    plan = Plan(nodes, shapes[:1])
    parameters = list(plan.parameters.values())
    storage = ParameterStorage(backend, _DTYPE, parameters)
    for p in parameters[len(xs) :]:  # move away from initial values, which are often special
        p.assign(p.numpy() + 0.1 * check.random.standard_normal(p.shape))

    def bound() -> Workspace:
        return Workspace(
            plan, backend, _DTYPE, len(xs[0]), Pool(backend), training=True,
            control=Control(backend),
        )

    workspace = bound()
    owner = " after ".join(type(layer).__name__ for layer in reversed(layers))
    if not is_float(workspace.y.dtype.name):
        raise ValueError(f"{owner} gives {workspace.y.dtype.name}, which has no gradients.")
    weights = check.random.standard_normal(workspace.y.shape)

    def forward() -> tuple[float, float]:
        for call in workspace.calls:
            if not call.layer._is_skipped(call):
                _blank(backend, call.y)
        workspace.forward()
        y = backend.read(workspace.y)
        if not np.isfinite(y).all():
            raise AssertionError(f"{owner}: forward left part of its output unwritten.")
        return float(np.sum(y * weights)), float(np.sum(np.abs(y * weights)))

    def backward(before: dict[Any, np.ndarray]) -> list[np.ndarray]:
        for p in storage.trained:
            backend.write(p.gradient, before.get(id(p), np.full(p.shape, np.nan)))
        for call in workspace.calls:
            for k, dx in enumerate(call.dxs):
                if dx is not None:
                    fill = before.get((id(call), k), np.full(dx.shape, np.nan))
                    backend.write(dx, fill)
        backend.write(workspace.dy, weights)
        workspace.backward()
        return [backend.read(p.gradient) for p in storage.trained]

    forward()
    gradients = backward({})
    for p, gradient in zip(storage.trained, gradients, strict=True):
        name = names.get(id(p.layer), p.name)
        check.compare(f"{owner}: {name}", backend, p.array, gradient, forward, p.connections)
    workspace = bound()
    last = workspace.calls[-1]
    if len(layers) == 1 and not last.layer._is_skipped(last):
        last.accumulate_gradients = True
        dxs = [(k, dx) for k, dx in enumerate(last.dxs) if dx is not None]
        for k, dx in dxs:
            last.writes(k, dx, accumulate=True)
        own = storage.trained[len(xs) :]
        before: dict[Any, np.ndarray] = {
            id(p): p.existing(check.random.standard_normal(p.shape)) for p in own
        }
        terms: list[Any] = [0.0] * len(last.dxs)
        for k, dx in dxs:
            before[id(last), k] = terms[k] = check.random.standard_normal(dx.shape)
        forward()
        sums = backward(before)
        terms += [before[id(p)] for p in own]
        for p, total, gradient, term in zip(storage.trained, sums, gradients, terms, strict=True):
            flag = "accumulate_dx" if id(p.layer) in names else "accumulate_gradients"
            name = names.get(id(p.layer), p.name)
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
        _blank(backend, y)
        backend.bias_activation(z, None, activation, y)
        values = backend.read(y)
        return float(np.sum(values * weights)), float(np.sum(np.abs(values * weights)))

    forward()
    _blank(backend, dz)
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
        loss.add_up(backend, t, y, weights, 1.0 / len(rows), into, totals)
        value = float(backend.read(totals)[0])
        return value, abs(value) + len(rows)

    _blank(backend, gradient)
    value, _ = forward(gradient)
    found = backend.read(gradient) * len(rows)
    check.compare(f"{owner}: y_pred", backend, y, found, forward)
    _expect(f"{owner}: value without gradient", np.array(forward()[0]), np.array(value))


def _check_model(check: _Check, model: Model, x: Any, y_true: Any, sample_weight: Any) -> None:
    trainer: Any = model._trainer
    if trainer is None or trainer.spec.dtype != _DTYPE:
        raise ValueError(
            f"The model {model.name!r} must be built and compiled, with dtype='float64', to be "
            f"checked: float32 is too coarse for finite differences."
        )
    backend = trainer.backend
    data = to_rows(trainer.spec, x, y_true, sample_weight, resolve=trainer.resolve)
    trainer = trainer.for_rows(data)
    pool = Pool(backend)
    workspace = Workspace(
        trainer.plan, backend, _DTYPE, len(data), pool, training=True, activations=trainer.replaced,
        control=Control(backend), seed=trainer.seed,
        learned=[term.number for term in trainer.terms],
    )
    workspace.put([data.arrays[name_of("x", k)] for k in range(len(workspace.xs))])
    buffers = [
        TargetBuffers(term, workspace, pool, _DTYPE, workspace.batch) for term in trainer.terms
    ]
    for term, given in zip(trainer.terms, buffers, strict=True):
        backend.convert(data.arrays[name_of("y", term.number)], given.y)
    totals = backend.zeros((2,), "float64")

    def forward() -> tuple[float, float]:
        workspace.forward()
        value = size = 0.0
        for term, given in zip(trainer.terms, buffers, strict=True):
            weights = data.arrays.get(name_of("weights", term.number))
            flat = None if weights is None else weights.reshape(-1)
            scale = 1.0 if term.loss.reduction == "sum" else 1.0 / given.rows
            backend.write(totals, np.zeros(2))
            arrays = given.y_true, given.y_pred, flat, scale, given.gradient, totals
            term.loss.add_up(backend, *arrays)
            backend.affine(given.gradient, term.weight, 0.0, given.gradient)
            added = term.weight * float(backend.read(totals)[0]) / given.rows
            value, size = value + added, size + abs(added) + 1.0
        return value, size

    forward()
    trained = {path: p for path, p in trainer.plan.parameters.items() if p.trainable}
    _blank(backend, *(p.gradient for p in trained.values()))
    workspace.backward()
    gradients = [backend.read(p.gradient) for p in trained.values()]
    for (path, p), found in zip(trained.items(), gradients, strict=True):
        check.compare(f"{model.name}: {path}", backend, p.array, found, forward, p.connections)
