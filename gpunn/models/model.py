"""The model's public face: fit, evaluate, predict, save."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from gpunn.callbacks import CallbackList, History
from gpunn.common.arguments import (
    check_choice,
    check_epochs,
    check_fraction,
    check_integer,
    check_verbose,
)
from gpunn.core.plan import Plan
from gpunn.core.workspace import run_once
from gpunn.feeding import classes, data
from gpunn.feeding.arrays import check_finite
from gpunn.feeding.batches import Batches, inputs_of, peek
from gpunn.feeding.rows import Rows, name_of
from gpunn.layers.symbolic import Sample, is_symbolic
from gpunn.structure.graph import Graph
from gpunn.structure.graph import from_config as graph_from_config
from gpunn.training import loops
from gpunn.training.compiling import CompilableModel
from gpunn.training.predictor import Predictor, predict
from gpunn.training.programs import Programs

DEFAULT_BATCH = 32
PREDICT_BATCH = 1024  # rows of a prediction at a time when the caller does not say


class Model(CompilableModel):
    """Layers put together as any graph without a cycle, from its inputs to its outputs.

    Each layer is called on what `gpunn.Input` or other layers gave; the model is what lies
    between ``inputs`` and ``outputs``. A layer that is called twice is shared, and a model
    can be called like a layer. `Sequential` is the model whose graph is a chain.

    Args:
        inputs: a symbolic tensor, or a list, a tuple or a dictionary of them.
        outputs: likewise; data and predictions have the same form.
        name: of the model.
        trainable: whether its layers' parameters are updated.
        dtype: ``"float32"`` or ``"float64"``; default `gpunn.config.floatx`.
        backend: ``"numpy"``, ``"compiled"``, ``"cupy"`` or ``"auto"``; default
            `gpunn.use_backend`.

    Raises:
        ValueError: if the outputs depend on an input that is not among ``inputs``, or if two
            layers have one name.
        TypeError: without inputs and outputs.

    A residual network, whose layers add to what they are given:

    >>> import gpunn
    >>> from gpunn import layers
    >>> x = inputs = gpunn.Input((8,))
    >>> for _ in range(3):
    ...     x = layers.add([x, layers.Dense(8, activation="relu")(x)])
    >>> model = gpunn.Model(inputs, layers.Dense(1)(x))
    >>> model.count_params(), model.output_shape
    (225, (None, 1))
    """

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        if inputs is None or outputs is None:
            raise TypeError(
                f"{type(self).__name__} needs inputs and outputs: x = gpunn.Input(shape), "
                f"y = layers.Dense(1)(x), gpunn.Model(x, y). A model with a call of its own "
                f"cannot be made; write that as a layer."
            )
        self._graph: Graph | None = Graph(inputs, outputs)
        super().__init__(trainable, name, dtype, backend)
        if not trainable:
            self.trainable = False

    @classmethod
    def default_name(cls) -> str:
        return "functional" if cls is Model else super().default_name()

    @property
    def graph(self) -> Graph:
        assert self._graph is not None
        return self._graph

    @property
    def layers(self) -> list[Any]:
        return [layer for layer in self.graph.layers if not layer.by_operator]

    @property
    def operations(self) -> list[Any]:
        """The layers, and what stands between them for a symbolic ``a + b`` and its kin."""
        return list(self.graph.layers) if self.is_graph else self.layers

    def declared_inputs(self) -> list[Sample] | None:
        return [tensor.sample for tensor in self.graph.inputs]

    def graph_for(self, shapes: Sequence[Sample]) -> Graph:
        return self.graph

    def get_config(self) -> dict[str, Any]:
        """Name, dtype, layers and what they are applied to, as values that JSON can hold."""
        config: dict[str, Any] = {"name": self.name, **self.graph.get_config()}
        if self.dtype_given is not None or self.built:
            config["dtype"] = self.dtype_given or self.dtype
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Model:
        """The model that `get_config` described, with new initial weights."""
        config = dict(config)
        graph = {key: config.pop(key) for key in ("layers", "inputs", "outputs", "forms")}
        inputs, outputs = graph_from_config(graph)
        return cls(inputs, outputs, **config)

    def _reset(self) -> None:
        super()._reset()
        self._last_predictor: Predictor | None = None
        self._training_calls = itertools.count()  # calls in training so far

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        validation_strategy: str = "tail",
    ) -> History:
        """Train for some epochs.

        Args:
            x: (rows, ...), an array of NumPy, CuPy or anything with ``__dlpack__``; of
                several inputs a list, or a dictionary by their names; or something that
                yields batches ``(x, y)`` or ``(x, y, weight)``.
            y: likewise, targets (rows, ...), or class numbers (rows,) for a sparse loss.
            batch_size: samples a step; the last batch may be smaller. By default 32, or where
                ``steps_per_epoch`` is given, as many as divide the rows among so many steps.
            epochs: number of the last epoch (counted from ``initial_epoch``).
            verbose: 0 nothing, 1 a progress bar, 2 a line an epoch.
            callbacks: a callback or a list of them.
            validation_split: share of the rows to validate on.
            validation_data: ``(x, y)``, ``(x, y, weight)`` or batches.
            shuffle: whether each epoch visits the rows in a new order.
            class_weight: factor on the loss by class.
            sample_weight: factor on the loss by row.
            initial_epoch: epoch to begin with, to go on with a loaded model.
            steps_per_epoch: batches an epoch; all by default.
            validation_steps, validation_batch_size, validation_freq: as they say; the batch is
                ``batch_size`` by default, or what divides the rows among the steps.
            validation_strategy: which rows validation_split takes: ``"tail"`` (as
                Keras), ``"shuffled"`` or ``"stratified"``.

        Returns:
            A History whose ``history`` maps each figure to its values by epoch. The
            figures without ``val_`` are means over the epoch while the weights change.

        Raises:
            ValueError, TypeError: for data or arguments that do not fit, before the
                first step.
            RuntimeError: if the model is being trained already, by another thread or by the
                call that a callback is part of.
            gpunn.models.NonFiniteLossError: if the loss becomes NaN or infinite.
            gpunn.models.OutOfMemoryError: if the device has no room for a batch; it says
                which batch size would fit. Data that it has no room for are streamed from
                the host, which is announced.
        """
        batch_size = check_integer("batch_size", batch_size, 1, None)
        epochs = check_integer("epochs", epochs, 0)
        initial_epoch = check_integer("initial_epoch", initial_epoch, 0)
        steps = check_integer("steps_per_epoch", steps_per_epoch, 1, None)
        validation_steps = check_integer("validation_steps", validation_steps, 1, None)
        validation_batch = check_integer(
            "validation_batch_size", validation_batch_size, 1, batch_size
        )
        check_fraction("validation_split", validation_split, below_one=True)
        check_choice("validation_strategy", validation_strategy, ("tail", "shuffled", "stratified"))
        verbose = check_verbose(verbose)
        validation_freq = check_epochs("validation_freq", validation_freq)
        with self._training("fit"):
            trainer, rows = self._source(x, y, sample_weight, class_weight, "fit")
            validation: Any = None
            if validation_data is not None:
                validation = self._validation_source(validation_data)
            elif validation_split:
                if not isinstance(rows, Rows):
                    raise ValueError(
                        "validation_split needs arrays; x yields batches. Use validation_data."
                    )
                rows, validation = classes.split(
                    rows, validation_split, validation_strategy, trainer.spec, trainer.seed
                )
            for argument, given, option, limit in (
                ("x", rows, "steps_per_epoch", steps),
                ("validation_data", validation, "validation_steps", validation_steps),
            ):
                once = isinstance(given, Batches) and given.once
                if once and limit is None and epochs > initial_epoch + 1:
                    raise ValueError(
                        f"{argument} is a generator, which can be read only once: pass {option}, "
                        f"or something that can be iterated anew each epoch."
                    )
            size = _rows_a_batch(batch_size, rows, steps)
            feed = loops.Feed(trainer, rows, size, True, bool(shuffle))
            size = _rows_a_batch(validation_batch, validation, validation_steps)
            check = validation and loops.Feed(trainer, validation, size, False)
            callback_list = CallbackList(
                callbacks,
                add_history=True,
                add_progbar=verbose != 0,
                model=self,
                epochs=epochs,
                steps=steps or feed.steps(),
                verbose=verbose,
                samples=feed.samples(),
                initial_epoch=initial_epoch,
                batch_size=batch_size if isinstance(rows, Rows) else None,
            )
            # Where nobody has a say between epochs, they are one piece of work.
            alone = callback_list.only_history and isinstance(rows, Rows)
            with (
                callback_list,
                trainer.train() as programs,
                feed.at_work(programs) if alone else nullcontext(),
            ):
                loops.fit(
                    self,
                    programs,
                    feed,
                    check,
                    callback_list,
                    epochs,
                    initial_epoch,
                    steps,
                    validation_steps,
                    validation_freq,
                )
            assert self.history is not None
            return self.history

    def _source(
        self, x: Any, y: Any, weight: Any, class_weight: Any, argument: str
    ) -> tuple[Any, Rows | Batches]:
        """The trainer, and the data as rows or batches."""
        if data.is_array(x):
            trainer = self._ready(argument, x, y)
            where = "validation_data: " if argument == "validation_data" else ""
            rows = data.to_rows(
                trainer.spec, x, y, weight, class_weight, where=where, call=argument
            )
            return trainer, rows
        if y is not None or weight is not None:
            extra = "y" if y is not None else "sample_weight"
            raise ValueError(
                f"{argument}: x yields batches, which bring their own {extra}; leave it out."
            )
        source, first = peek(x, "validation_data" if argument == "validation_data" else "x")
        trainer = self._ready(
            argument, *(first[:2] if isinstance(first, (tuple, list)) else [first])
        )
        return trainer, Batches(trainer.spec, source, first, argument, class_weight)

    def _validation_source(self, given: Any) -> Rows | Batches:
        assert self.plan is not None
        x, y, weight = data.validation_parts(given, len(self.plan.input_shapes))
        return self._source(x, y, weight, None, "validation_data")[1]

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics on data, with the weights as they are.

        Args:
            x, y, sample_weight: as for `fit`.
            batch_size: rows at a time; by default a good number, or where ``steps`` is given,
                as many as divide the rows among so many steps.
            steps: number of batches; all by default.
            verbose, callbacks: as for `fit`.
            return_dict: whether to return a dictionary.

        Returns:
            The loss, or with metrics a list ``[loss, metric, ...]``; with
            ``return_dict`` a dictionary by name.
        """
        batch_size = check_integer("batch_size", batch_size, 1, None)
        steps = check_integer("steps", steps, 1, None)
        verbose = check_verbose(verbose)
        trainer, rows = self._source(x, y, sample_weight, None, "evaluate")
        size = _rows_a_batch(batch_size, rows, steps, DEFAULT_BATCH if steps else PREDICT_BATCH)
        feed = loops.Feed(trainer, rows, size, False)
        callback_list = CallbackList(
            callbacks, model=self, steps=steps or feed.steps(), verbose=verbose
        )
        evaluated = partial(loops.evaluate, self)
        logs = trainer.evaluations.call(evaluated, feed, callback_list, steps)
        if verbose:
            print(" - ".join(f"{name}: {value:.4f}" for name, value in logs.items()))
        return _result(logs, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Outputs for ``x`` as a NumPy array (rows, ...), or as many as the model has, in the
        form in which they were given to it.

        Args:
            x: samples, or something that yields batches of them.
            batch_size: as for `evaluate`.
            steps: number of batches; all by default.
        """
        size = check_integer("batch_size", batch_size, 1, None)
        steps = check_integer("steps", steps, 1, None)
        check_verbose(verbose)
        callback_list = CallbackList(callbacks, model=self) if callbacks else None
        if data.is_array(x):
            self._build_for(x)
            predictor = self._predictor()
            spec = predictor.spec
            xs = data.inputs(spec, x)
            if callback_list:  # they are told of no batch before all are known to be good
                for array, (argument, _) in zip(xs, spec.inputs, strict=True):
                    check_finite(self.backend, array, self.dtype, argument)
            rows = len(xs[0])
            alone = rows if self.backend.cache_bytes else PREDICT_BATCH
            size = _rows_a_batch(size, xs[0], steps, alone)
            starts = list(range(0, rows, size))[:steps]
            batches: Iterator[Any] = (([a[at : at + size] for a in xs], "", at) for at in starts)
        else:
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
                    predictor = self._last_predictor = Predictor(plan, arena, self._spec(), form)
        return predictor

    def _inputs(self, x: Any) -> list[Any]:
        """The arrays of a batch of inputs, on the device."""
        self._build_for(x)
        rows = data.to_rows(self._spec(), x, needs_y=False)
        return [rows.arrays[name_of("x", k)] for k in range(len(self.graph.inputs))]

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Outputs for one batch; with ``training``, dropout drops as in training.

        On symbolic tensors the model is applied as a layer, and gives symbolic tensors.
        """
        if is_symbolic(x):
            return self.graph.output_form.pack(self.apply(x, training))
        if not training:
            return self.predict_on_batch(x)
        xs = self._inputs(x)
        assert self.plan is not None
        number = next(self._training_calls)
        bound = self.plan, self.backend, self.dtype, xs
        self._predictor()  # the parameters are the model's now
        assert self._arena is not None
        outputs = self._arena.access.read(lambda: run_once(*bound, True, number, self._seed))
        return self.graph.output_form.pack(outputs)

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs for one batch."""
        self._build_for(x)
        predictor = self._predictor()
        outputs = predictor.predict(data.inputs(predictor.spec, x))
        return outputs[0] if predictor.form.kind is None else predictor.form.pack(outputs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update on one batch; returns its loss (before the update) and metrics."""
        with self._training("train_on_batch"):
            trainer = self._ready("train_on_batch", x, y)
            rows = data.to_rows(trainer.spec, x, y, sample_weight, class_weight)
            with trainer.train() as programs:
                logs = programs.on_batch(rows)
        return _result(logs, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch."""
        trainer = self._ready("test_on_batch", x, y)
        rows = data.to_rows(trainer.spec, x, y, sample_weight)
        return _result(trainer.evaluations.call(Programs.on_batch, rows), return_dict)

    def activations(self, x: Any) -> dict[str, np.ndarray]:
        """Output of every layer for the samples ``x`` (batch, ...), by the layer's name.

        Of a layer that is applied again the further ones are ``name:1``, ``name:2``, ...
        """
        xs = self._inputs(x)
        predictor = self._predictor()
        return dict(zip(_call_names(predictor.plan), predictor.activations(xs), strict=True))

    def last_activations(self) -> dict[str, np.ndarray]:
        """Output of every layer in the last training step, by name; empty before one."""
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

    # -- files

    def save(self, filepath: Any, overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Write architecture, weights and training state; see `gpunn.saving.save_model`."""
        from gpunn.saving import save_model

        save_model(self, filepath, overwrite=overwrite, include_optimizer=include_optimizer)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Write the weights only; see `gpunn.saving.save_weights`."""
        from gpunn.saving import save_weights

        save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: Any, **options: Any) -> None:
        """Read what `save_weights` or `save` wrote; see `gpunn.saving.load_weights`."""
        from gpunn.saving import load_weights

        load_weights(self, filepath, **options)


def _call_names(plan: Plan) -> list[str]:
    """A name for each node of a plan."""
    counts: dict[str, int] = {}
    names = []
    for node in plan.nodes:
        number = counts[node.name] = counts.get(node.name, -1) + 1
        names.append(f"{node.name}:{number}" if number else node.name)
    return names


def _rows_a_batch(
    given: int | None, rows: Any, steps: int | None, default: int = DEFAULT_BATCH
) -> int:
    """Rows of arrays are divided among the steps, unless it is said how many a step takes."""
    if given is None and steps is not None and hasattr(rows, "__len__"):
        return math.ceil(len(rows) / steps)
    return given or default


def _result(logs: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
