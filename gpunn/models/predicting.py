"""Predictions of a model, and the outputs of its layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn.callbacks import CallbackList
from gpunn.callbacks.streams import check_verbose
from gpunn.common.arguments import check_integer
from gpunn.common.random import Counter
from gpunn.common.result import result
from gpunn.core.plan import Plan
from gpunn.core.workspace import run_once
from gpunn.feeding import data
from gpunn.feeding.arrays import check_finite
from gpunn.feeding.batches import check_ends, fed, inputs_of, peek
from gpunn.feeding.inputs import inputs
from gpunn.feeding.rows import name_of
from gpunn.layers.held import losses_of
from gpunn.layers.symbolic import is_symbolic
from gpunn.layers.traced import is_traced
from gpunn.ops.op_arguments import with_tensors
from gpunn.ops.tensor import Tensor
from gpunn.training.compiling import CompilableModel
from gpunn.training.predictor import Predictor, predict

DEFAULT_BATCH = 32
PREDICT_BATCH = 1024  # default rows per batch of a prediction


class PredictingModel(CompilableModel):
    """`CompilableModel` with predictions; `FittingModel` adds fit and evaluate."""

    abstract = True  # not an entry to look up
    not_copied = CompilableModel.not_copied | {"_last_predictor"}
    _not_watched = CompilableModel._not_watched | {"_added", "_training_calls", "_predictions"}

    def _reset(self) -> None:
        super()._reset()
        self._last_predictor = None
        self._added: list[np.ndarray] | None = None  # losses added by layers in the last call
        self._training_calls = Counter()  # calls in training so far
        self._predictions = Counter()  # predictions so far that draw random numbers

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the outputs for ``x`` as a NumPy array (rows, ...).

        A model with several outputs returns them in the structure of its ``outputs``.

        Args:
            x: Samples, or something that yields batches of them.
            batch_size: As for `evaluate`.
            steps: Number of batches; all by default.
        """
        size = check_integer("batch_size", batch_size, 1, None)
        steps = check_integer("steps", steps, 1, None)
        check_verbose(verbose)
        if x.__class__ is not np.ndarray:
            x = fed(x, None, None, size or PREDICT_BATCH)[0]
        callback_list = CallbackList(callbacks, model=self) if callbacks else None
        if data.is_array(x):
            self._build_for(x)
            predictor = self._predictor()
            spec = predictor.spec
            xs = inputs(spec, x)
            if callback_list:  # check all batches before callbacks are notified of any
                for array, (argument, _) in zip(xs, spec.inputs, strict=True):
                    check_finite(self.backend, array, self.dtype, argument)
            rows = len(xs[0])
            alone = rows if self.backend.cache_bytes else PREDICT_BATCH
            size = rows_of_a_batch(size, xs[0], steps, alone)
            starts = list(range(0, rows, size))[:steps]
            batches: Iterator[Any] = (([a[at : at + size] for a in xs], "", at) for at in starts)
        else:
            check_ends(x, steps, "x", "steps")
            source, first = peek(x)
            self._build_for(first[0] if isinstance(first, (tuple, list)) else first)
            batches = inputs_of(self._spec(), source, steps)
            predictor = self._predictor()
        return predict(predictor.predict, batches, callback_list, predictor.form)

    def _predictor(self) -> Predictor:
        predictor = self._last_predictor
        if predictor is None or predictor.arena is not self._arena or not self._has_parameters():
            with self._preparing:
                plan = self.plan
                assert plan is not None
                self._take_parameters(plan)
                predictor = self._last_predictor
                if predictor is None or predictor.arena is not self._arena:
                    arena, form = self._arena, self.graph.output_form
                    assert arena is not None
                    predictor = Predictor(
                        plan, arena, self._spec(), form, self._seed, self._predictions
                    )
                    self._last_predictor = predictor
        return predictor

    def _inputs(self, x: Any) -> list[Any]:
        """The arrays of a batch of inputs, on the device."""
        self._build_for(x)
        rows = data.to_rows(self._spec(), x, needs_y=False)
        return [rows.arrays[name_of("x", k)] for k in range(len(self._spec().inputs))]

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Return the outputs for one batch, as arrays with a ``numpy()`` method.

        With ``training``, dropout is active. On symbolic tensors the model is applied as a layer
        and returns symbolic tensors.
        """
        if is_symbolic(x):
            made = self.apply(x, training)
            return self.graph.output_form.pack(made)
        if is_traced(x):
            return self.call_in_trace(with_tensors(x), training)
        if not training:
            self._build_for(x)
            predictor = self._predictor()
            added: list[np.ndarray] = []
            outputs = predictor.predict(inputs(predictor.spec, x), added=added)
            self._added = added
            return predictor.form.pack([result(y) for y in outputs])
        xs = self._inputs(x)
        assert self.plan is not None
        number = next(self._training_calls)
        bound = self.plan, self.backend, self.dtype, xs
        self._predictor().look()  # the model has the parameters now
        assert self._arena is not None
        outputs, self._added = self._arena.access.read(
            lambda: run_once(*bound, True, number, self._seed)
        )
        return self.graph.output_form.pack([result(y) for y in outputs])

    @property
    def losses(self) -> list[Tensor]:
        """Losses that layers added in the last call on arrays, ``model(x)``, and the penalties on
        trained weights.

        Raises:
            TypeError: inside a call, where losses belong to the step.
        """
        return losses_of(self, self._added)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch."""
        self._build_for(x)
        predictor = self._predictor()
        outputs = predictor.predict(inputs(predictor.spec, x))
        return outputs[0] if predictor.form.kind is None else predictor.form.pack(outputs)

    def activations(self, x: Any) -> dict[str, np.ndarray]:
        """Return the output of every layer for the samples ``x`` (batch, ...), by layer name.

        Further outputs of a layer that is applied again are ``name:1``, ``name:2``, ...
        """
        xs = self._inputs(x)
        predictor = self._predictor()
        return dict(zip(_call_names(predictor.plan), predictor.activations(xs), strict=True))

    def last_activations(self) -> dict[str, np.ndarray]:
        """Return the output of every layer in the last training step, by name; empty before one."""
        batch = self.trainer.last_batch if self.trainer else None
        if batch is None:
            return {}
        outputs: list[np.ndarray] = []
        for call in batch.workspace.calls:
            output = self.backend.read(call.y)
            if call.activation is not getattr(call.layer, "activation", None):
                output = call.layer.activation(output)  # the loss took the logits
            outputs.append(output)
        return dict(zip(_call_names(batch.workspace.plan), outputs, strict=True))


def _call_names(plan: Plan) -> list[str]:
    """A name for each node of a plan."""
    counts: dict[str, int] = {}
    names = []
    for node in plan.nodes:
        number = counts[node.name] = counts.get(node.name, -1) + 1
        names.append(f"{node.name}:{number}" if number else node.name)
    return names


def rows_of_a_batch(
    given: int | None, rows: Any, steps: int | None, default: int = DEFAULT_BATCH
) -> int:
    """Return the given batch size, or one that divides the rows of arrays among the steps."""
    if given is None and steps is not None and hasattr(rows, "__len__"):
        return math.ceil(len(rows) / steps)
    return given or default
