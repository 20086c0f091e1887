"""`gpunn.GradientTape`: operations are computed at once and kept, for their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np

from gpunn.common.nested import found_in, replaced
from gpunn.core.operators import Operators
from gpunn.core.recording import active, recorded
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float
from gpunn.ops.gradients import gradients
from gpunn.ops.joining import stack
from gpunn.ops.making import zeros
from gpunn.ops.shapes import broadcast_to, reshape
from gpunn.ops.tensor import Tensor, constant
from gpunn.ops.trace import Trace, current

from .effects import Unsupported
from .tape_trace import TapeTrace

__all__ = ["GradientTape"]


def jacobian_of(
    y: Tensor, pulled: Callable[[Tensor], Sequence[Tensor | None]], samples: bool = False
) -> list[Tensor | None]:
    """Return the Jacobians of a tensor with respect to several sources; None without a gradient.

    For y (*m) and x (*n) it has the shape (*m, *n). If the first axis is one of ``samples`` that do
    not depend on each other, it has the shape (b, *m, *n) for y (b, *m) and x (b, *n). ``pulled``
    maps the gradient of y, of its shape, to the gradient of each source.
    """
    kept = int(samples)
    rows = math.prod(y.shape[kept:])
    count = max(rows, 1)  # the shape of a gradient is known from one pass at least
    basis = np.eye(count, rows).reshape(count, *y.shape[kept:])
    passes = [pulled(broadcast_to(constant(one, y.dtype), y.shape)) for one in basis]

    def stacked(parts: Sequence[Tensor | None]) -> Tensor | None:
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        each = stack(known, kept)[(slice(None),) * kept + (slice(rows),)]  # ([b,] rows, *n)
        return reshape(each, (*y.shape, *known[0].shape[kept:]))

    return [stacked(parts) for parts in zip(*passes, strict=True)]


UNCONNECTED = ("none", "zero")
Pullback = Callable[[Any], "list[Tensor | None]"]


class GradientTape:
    """Records what a ``with`` block computes, to take gradients of it, as TensorFlow's.

    Operations, layers, models and losses are computed at once, so that Python's `if`, `print` and
    loops see values. Weights and variables are watched; `watch` adds tensors. Tapes may be nested:
    gradients that are taken inside another tape can be differentiated again.

    A model that is trained by `fit` is faster: its step is compiled.

    Args:
        persistent: whether `gradient` may be called several times.
        watch_accessed_variables: accepted as in TensorFlow. Gradients of weights and variables are
            known either way, and computed by those that are asked for.

    >>> import gpunn
    >>> x = gpunn.ops.convert_to_tensor(3.0)
    >>> with gpunn.GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = x * x
    >>> tape.gradient(y, x).item()
    6.0
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent = bool(persistent)
        self._trace: TapeTrace | Trace | None = None
        self._active: AbstractContextManager[None] | None = None
        self._used = False
        self._recorded: list[tuple[int, int]] = []  # from one position in the trace to another

    def __enter__(self) -> GradientTape:
        if active.watcher is not None:
            active.watcher.introduce(self, partial(GradientTape, self._persistent))
        return self._enter()

    @recorded
    def _enter(self) -> GradientTape:
        if self._active is not None:
            raise RuntimeError("The tape is already recording: open another one.")
        outer = current()
        if outer is not self._trace or (self._used and not self._persistent):
            self._recorded = []  # positions of another trace, or of a use that is over
        self._trace, self._owns, self._used = outer or TapeTrace(), outer is None, False
        self._recorded.append((self._trace.mark(), 1 << 62))
        self._active = self._trace.active() if self._owns else nullcontext()
        self._active.__enter__()
        return self

    @recorded
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._active is not None
        active, self._active = self._active, None
        active.__exit__(kind, error, traceback)
        assert self._trace is not None
        self._recorded[-1] = self._recorded[-1][0], self._trace.mark()
        if self._owns and isinstance(self._trace, TapeTrace):
            self._trace.end()

    @recorded
    def watch(self, tensor: Any) -> None:
        """Record what is computed from a tensor, or from each of several.

        Weights and variables are watched anyway.

        Args:
            tensor: a tensor of floats, or a list or tuple of them.

        Raises:
            TypeError: for what is no tensor of floats.
            RuntimeError: outside the block, before it was entered.

        >>> import gpunn
        >>> x = gpunn.ops.convert_to_tensor([1.0, 2.0])
        >>> with gpunn.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = gpunn.ops.sum(x * x)
        >>> tape.gradient(y, x).tolist()
        [2.0, 4.0]
        """
        if isinstance(tensor, (list, tuple)):
            for one in tensor:
                self.watch(one)
            return
        if isinstance(tensor, Operators) and not isinstance(tensor, Tensor):
            return
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"watch takes tensors; got {type(tensor).__name__}. Convert it first, and use the "
                f"result: x = gpunn.ops.convert_to_tensor(x)."
            )
        if not is_float(tensor.dtype):
            raise TypeError(f"gradients are taken by floats; got a tensor of {tensor.dtype}.")
        if self._trace is None:
            raise RuntimeError("watch works inside the block: `with GradientTape() as tape:`.")
        self._trace.watch(tensor)

    @recorded
    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: str = "none",
    ) -> Any:
        """Return the gradients of the sum of ``target`` with respect to the sources, in their
        structure.

        A gradient has the shape of its source: ``g[j] = sum_i dy[i] / dx[j]``.

        Args:
            target: a tensor, or a list, tuple or dictionary of them.
            sources: a weight, variable or watched tensor, or a structure of them.
            output_gradients: what the gradients of the targets begin with; 1 by default.
            unconnected_gradients: ``"none"``: None is the gradient of what the target does not
                depend on; ``"zero"``: zeros are.

        Raises:
            RuntimeError: if the tape has recorded nothing, or was used before and is not
                persistent.
            TypeError: for NumPy arrays, which the tape cannot see.
            ValueError: for a weight of a layer that defines its passes on arrays.

        >>> import gpunn
        >>> a, b = gpunn.Variable(3.0), gpunn.Variable(4.0)
        >>> with gpunn.GradientTape() as tape:
        ...     y = a * a * b
        >>> [g.item() for g in tape.gradient(y, [a, b])]
        [24.0, 9.0]
        """
        unconnected = self._begin(unconnected_gradients)
        targets, given, cotangents = [*found_in(target, object)], [*found_in(sources, object)], None
        ys = [_target(y) for y in targets]
        if output_gradients is not None:
            several = isinstance(target, (list, tuple, dict))
            begins = found_in(output_gradients, object) if several else [output_gradients]
            pairs = zip(ys, begins, strict=True)
            cotangents = [None if g is None else convert(g, y.dtype) for y, g in pairs]
        found = self._derived(self._pulled(ys, given), cotangents)
        return _packed(found, sources, given, unconnected)

    @recorded
    def jacobian(
        self,
        target: Any,
        sources: Any,
        unconnected_gradients: str = "none",
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """Return the derivatives of each element of ``target`` for each element of the sources.

        The Jacobian ``J[i, j] = dy[i] / dx[j]`` of ``y (*m)`` by ``x (*n)`` has the shape
        ``(*m, *n)``. It takes one reverse pass for each element of y.

        Args:
            target: a tensor.
            sources: a weight, variable or watched tensor, or a structure of them.
            unconnected_gradients: as in `gradient`.
            parallel_iterations, experimental_use_pfor: accepted as in TensorFlow.

        Returns:
            a Jacobian for each source, in their structure.

        Raises:
            RuntimeError, ValueError: as in `gradient`.
            TypeError: for several targets, and as in `gradient`.

        >>> import gpunn
        >>> x = gpunn.ops.convert_to_tensor([1.0, 2.0])
        >>> with gpunn.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = x * x * x
        >>> tape.jacobian(y, x).tolist()
        [[3.0, 0.0], [0.0, 12.0]]
        """
        unconnected = self._begin(unconnected_gradients)
        y, given = _single("jacobian", target), [*found_in(sources, object)]
        pulled = self._pulled([y], given)
        found = self._derived(lambda _: jacobian_of(y, lambda dy: pulled([dy])))
        return _packed(found, sources, given, unconnected, y.shape)

    @recorded
    def batch_jacobian(
        self,
        target: Any,
        source: Any,
        unconnected_gradients: str = "none",
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """Return the Jacobian of each sample, of a target whose samples do not depend on others.

        ``J[b, i, j] = dy[b, i] / dx[b, j]`` of ``y (b, *m)`` by ``x (b, *n)`` has the shape
        ``(b, *m, *n)``. It takes one reverse pass for each element of a sample of y. Where a sample
        depends on others, as in batch normalization, the sum of the derivatives of all samples by
        ``x[b, j]`` is returned.

        Args:
            target: a tensor ``(b, *m)``, of two axes or more.
            source: a weight, variable or watched tensor ``(b, *n)``, of two axes or more.
            unconnected_gradients: as in `gradient`; zeros are returned either way, as in
                TensorFlow.
            parallel_iterations, experimental_use_pfor: accepted as in TensorFlow.

        Returns:
            a tensor ``(b, *m, *n)``.

        Raises:
            RuntimeError: as in `gradient`.
            TypeError: for several targets or sources, and as in `gradient`.
            ValueError: if the lengths of the first axes differ, or there are fewer than two axes.

        >>> import gpunn
        >>> x = gpunn.ops.convert_to_tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> with gpunn.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = x[:, :1] * x
        >>> tape.batch_jacobian(y, x).tolist()
        [[[2.0, 0.0], [2.0, 1.0]], [[6.0, 0.0], [4.0, 3.0]]]
        """
        self._begin(unconnected_gradients)
        y = _single("batch_jacobian", target)
        if isinstance(source, (list, tuple, dict)):
            raise TypeError(
                f"batch_jacobian: source must be a weight, a variable or a watched tensor; got a "
                f"{type(source).__name__}. Ask for one source at a time."
            )
        pulled = self._pulled([y], [source])
        if min(len(y.shape), len(source.shape)) < 2 or y.shape[0] != source.shape[0]:
            raise ValueError(
                f"batch_jacobian: target and source need a first axis of samples, of the same "
                f"length, and further axes; got the shapes {y.shape} and {tuple(source.shape)}. "
                f"Use ops.expand_dims for samples of one number, or tape.jacobian."
            )
        found = self._derived(lambda _: jacobian_of(y, lambda dy: pulled([dy]), samples=True))
        return _packed(found, source, [source], "zero", y.shape, 1)

    def _begin(self, unconnected_gradients: Any) -> str:
        """Return how to treat sources that the target does not depend on, after checking that the
        tape has recorded something and is not used up."""
        unconnected = getattr(unconnected_gradients, "value", unconnected_gradients)
        if unconnected not in UNCONNECTED:
            raise ValueError(
                f"unconnected_gradients must be one of {UNCONNECTED}; got {unconnected!r}."
            )
        if self._trace is None:
            raise RuntimeError("The tape has recorded nothing: compute inside `with tape:`.")
        if self._used and not self._persistent:
            raise RuntimeError(
                "A tape gives gradients once. Ask for all of them in one call, or use "
                "GradientTape(persistent=True)."
            )
        return str(unconnected)

    def _pulled(self, ys: Sequence[Tensor], given: Sequence[Any]) -> Pullback:
        """Return a function of the gradients of ``ys`` that returns the sources' gradients."""
        leaves = [self._leaves(x) for x in given]
        wanted = [t for own in leaves for t in own]

        def pulled(cotangents: Any) -> list[Tensor | None]:
            found = iter(gradients(ys, wanted, cotangents, self._has_recorded))
            return [_sum([next(found) for _ in own]) for own in leaves]

        return pulled

    def _derived(self, compute: Pullback, cotangents: Any = None) -> list[Tensor | None]:
        """Compute derivatives: as part of the block, or of a later trace that the gradients they
        begin with belong to, else at once."""
        trace = self._trace
        assert trace is not None
        self._used = True
        here = current()
        if here is trace or not isinstance(trace, TapeTrace):
            with trace.without_training():
                return compute(cotangents)
        if any(not g.is_constant for g in cotangents or () if g is not None):
            for applied in trace.applied:
                raise ValueError(
                    f"{applied.attributes['layer'].name} defines its passes on arrays: a gradient "
                    f"that it begins with must be known. Apply the layer inside the later tape."
                )
            return compute(cotangents)
        with trace.active(), trace.without_training():  # the block is over
            found = compute(cotangents)
        trace.end()
        return [None if g is None else g.without_inputs() for g in found]

    def _has_recorded(self, t: Tensor) -> bool:
        at = t.position
        return any([begin < at < end for begin, end in self._recorded])

    def _leaves(self, source: Any) -> list[Tensor]:
        """Return the tensors that stand for a source in the trace; none if it was not read."""
        if isinstance(source, Tensor):
            if isinstance(self._trace, TapeTrace) and not self._trace.has(source):
                raise ValueError(
                    f"A tensor of shape {source.shape} was not watched: call tape.watch(x) inside "
                    f"the `with` block, before something is computed from it."
                )
            assert self._trace is not None
            if self._trace.mode.is_step and id(source) in self._trace.shared:
                raise Unsupported(
                    "a gradient is taken by the result of an operation that is written twice: use "
                    "the result of the first."
                )
            return [source]
        if not isinstance(source, Operators):
            raise TypeError(
                f"gradients are taken by weights, variables and watched tensors; got "
                f"{type(source).__name__}: the tape cannot see through NumPy and Python numbers."
            )
        trace = self._trace
        assert trace is not None
        for applied in trace.applied:
            if any(p is source for p in applied.attributes["layer"]._own_parameters):
                raise ValueError(
                    f"{applied.attributes['layer'].name} defines its passes on arrays, which a "
                    f"tape cannot see. Train it with fit, or use gpunn.value_and_grad."
                )
        return trace.leaves_of(source)


def _sum(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return sum(known[1:], known[0]) if known else None


def _packed(
    found: Sequence[Tensor | None],
    sources: Any,
    given: Sequence[Any],
    unconnected: str,
    before: tuple[int, ...] = (),
    without: int = 0,
) -> Any:
    """Return derivatives in the structure of the sources, with None or zeros where there are none.
    Zeros have the shape ``before``, then the source's shape ``without`` its first axes."""
    each = iter(found)
    if unconnected == "zero":
        like = [convert(x) for x in given]
        each = iter(
            [
                zeros((*before, *x.shape[without:]), x.dtype) if g is None else g
                for g, x in zip(found, like, strict=True)
            ]
        )
    return replaced(lambda x: next(each), sources)


def _single(what: str, target: Any) -> Tensor:
    if isinstance(target, (list, tuple, dict)):
        raise TypeError(
            f"{what}: target must be one tensor; got a {type(target).__name__}. Ask for each "
            f"target by itself, with GradientTape(persistent=True)."
        )
    return _target(target)


def _target(y: Any) -> Tensor:
    if isinstance(y, (np.ndarray, np.generic, float, int)):
        raise TypeError(
            f"the tape cannot see through NumPy: the target is a {type(y).__name__}. Compute it "
            f"from tensors with gpunn.ops, layers and losses inside the `with` block."
        )
    y = convert(y)
    if not is_float(y.dtype):
        raise TypeError(f"gradients are those of floats; the target is a tensor of {y.dtype}.")
    return y
