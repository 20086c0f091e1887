"""`Model`: layers put together as a graph, trained, evaluated and saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gpunn import saving
from gpunn.callbacks import CallbackList, History
from gpunn.callbacks.streams import check_verbose
from gpunn.common.arguments import (
    check_choice,
    check_epochs,
    check_fraction,
    check_integer,
)
from gpunn.common.overrides import PAGE
from gpunn.feeding import classes, data
from gpunn.feeding.arrays import value_range
from gpunn.feeding.batches import Batches, check_ends, peek
from gpunn.feeding.rows import Rows
from gpunn.feeding.sparse import fed
from gpunn.layers.symbolic import Sample
from gpunn.structure.calls import arguments_of
from gpunn.structure.graph import Graph, restore_graph
from gpunn.training import loops
from gpunn.training.programs import Programs

from .predicting import DEFAULT_BATCH, PREDICT_BATCH, PredictingModel, rows_of_a_batch


class Model(PredictingModel):
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

    reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {"build": ("call",)}

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        self._graph = None
        if self.has_call:
            if inputs is not None or outputs is not None:
                raise TypeError(
                    f"{type(self).__name__} has a call of its own, and was given inputs or outputs "
                    f"too: what it computes would be said twice."
                )
        elif inputs is None or outputs is None:
            raise TypeError(
                f"{type(self).__name__} needs inputs and outputs: x = gpunn.Input(shape), "
                f"y = layers.Dense(1)(x), gpunn.Model(x, y); or a method call(self, inputs)."
            )
        else:
            self._graph = Graph(inputs, outputs)
        super().__init__(trainable, name, dtype, backend)
        if self.has_call:
            self.is_graph = False
        elif not trainable:
            self.trainable = False

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "call" and not self.has_call:
            raise TypeError(
                f"{type(self).__name__}.call would be ignored on an object. Write a subclass of "
                f"gpunn.Model with call(self, inputs). See {PAGE}."
            )
        super().__setattr__(name, value)

    @classmethod
    def default_name(cls) -> str:
        return "functional" if cls is Model else super().default_name()

    @property
    def graph(self) -> Graph:
        if self._graph is None:
            raise AttributeError(f"The model {self.name!r} has no graph yet: it is not built.")
        return self._graph

    @property
    def layers(self) -> list[Any]:
        if self._body is not None:  # what it has as attributes, in their order
            return list(dict.fromkeys(layer for _, layer in self.attributes_inside()))
        return [layer for layer in self.graph.layers if not layer.by_operator]

    @property
    def operations(self) -> list[Any]:
        """The layers, and the operations that symbolic expressions such as ``a + b`` made."""
        return list(self.graph.layers) if self.is_graph else self.layers

    def declared_inputs(self) -> list[Sample] | None:
        return None if self._graph is None else [tensor.sample for tensor in self._graph.inputs]

    def graph_for(self, shapes: Sequence[Sample]) -> Graph:
        if self._body is not None:
            self._graph = self._body.graph(shapes)
            if not self._trainable:  # which was said before there were layers
                self.trainable = False
        return self.graph

    def get_config(self) -> dict[str, Any]:
        """Name, dtype, layers and what they are applied to, as values that JSON can hold; of a
        model with a call of its own, the arguments that make an equal one."""
        if self._body is not None:
            return arguments_of(self)
        config: dict[str, Any] = {"name": self.name, **self.graph.get_config()}
        if self.dtype_given is not None or self.built:
            config["dtype"] = self.dtype_given or self.dtype
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Model:
        """The model that `get_config` described, with new initial weights."""
        config = dict(config)
        if "layers" not in config:
            return cls(**config)
        graph = {key: config.pop(key) for key in ("layers", "inputs", "outputs", "forms")}
        inputs, outputs = restore_graph(graph)
        return cls(inputs, outputs, **config)

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
            x: (rows, ...), an array of NumPy, CuPy or anything with ``__dlpack__``; a frame of
                pandas, polars or Arrow; sparse rows of SciPy, which are made dense batch by
                batch; of several inputs a list, or a dictionary by their names; or something
                that yields batches ``(x, y)`` or ``(x, y, weight)``.
            y: likewise, targets (rows, ...), or class numbers (rows,) for a sparse loss.
            batch_size: samples a step; the last batch may be smaller. By default 32, or where
                ``steps_per_epoch`` is given, as many as divide the rows among that many steps.
            epochs: number of the last epoch (counted from ``initial_epoch``).
            verbose: 0 nothing; 1 a line an epoch, and in a terminal or notebook a bar with the
                figures so far while it runs; 2 only the line; ``"auto"`` 1 in a terminal or
                notebook, otherwise 2.
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
            some, order = batch_size or DEFAULT_BATCH, self._seed if shuffle else None
            divided = None if batch_size else steps
            x, y, sample_weight = fed(x, y, sample_weight, some, order, divided)
            trainer, rows = self._source(x, y, sample_weight, class_weight, "fit")
            if type(x) in (np.ndarray, np.memmap) and x.dtype.kind in "biuf":
                rest = {name: v for name, v in self.trained_on.items() if name != "range"}
                found = value_range(x)
                self.trained_on = {"range": found, **rest} if found else rest
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
                check_ends(getattr(given, "source", None), limit, argument, option)
                once = isinstance(given, Batches) and given.once
                if once and limit is None and epochs > initial_epoch + 1:
                    raise ValueError(
                        f"{argument} is a generator, which can be read only once: pass {option}, "
                        f"or something that can be iterated anew each epoch."
                    )
            size = rows_of_a_batch(batch_size, rows, steps)
            feed = loops.Feed(trainer, rows, size, True, bool(shuffle), steps)
            size = rows_of_a_batch(validation_batch, validation, validation_steps)
            check = validation and loops.Feed(
                trainer, validation, size, False, limit=validation_steps
            )
            run = range(initial_epoch, epochs)
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
            # If no user code runs between epochs, the preparations are made once for all of them.
            alone = callback_list.only_watch and isinstance(rows, Rows)
            with (
                callback_list,
                trainer.train() as programs,
                feed.at_work(programs) if alone else nullcontext(),
            ):
                loops.fit(self, programs, feed, check, callback_list, run, validation_freq)
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
        x, y, weight = fed(*data.validation_parts(given, len(self.graph.inputs)), PREDICT_BATCH)
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
                as many as divide the rows among that many steps.
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
        check_ends(x, steps, "x", "steps")
        x, y, sample_weight = fed(x, y, sample_weight, batch_size or PREDICT_BATCH)
        trainer, rows = self._source(x, y, sample_weight, None, "evaluate")
        size = rows_of_a_batch(batch_size, rows, steps, DEFAULT_BATCH if steps else PREDICT_BATCH)
        feed = loops.Feed(trainer, rows, size, False, limit=steps)
        callback_list = CallbackList(
            callbacks, model=self, steps=steps or feed.steps(), verbose=verbose
        )
        evaluated = partial(loops.evaluate, self)
        logs = trainer.evaluations.call(evaluated, feed, callback_list)
        if verbose:
            print(" - ".join(f"{name}: {value:.4f}" for name, value in logs.items()))
        return _result(logs, return_dict)

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

    # -- files

    def save(
        self,
        filepath: Any,
        overwrite: bool = True,
        include_optimizer: bool = True,
        save_format: Any = None,
    ) -> None:
        """Write architecture, weights and training state; see `gpunn.saving.save_model`.

        ``save_format`` is accepted as in Keras, without effect: there is one format.
        """
        saving.save_model(self, filepath, overwrite=overwrite, include_optimizer=include_optimizer)

    def export(
        self, filepath: Any, format: str | None = None, verbose: Any = None, **options: Any
    ) -> None:
        """Write the model as a file of ONNX (opset 17, float32), which other programs run.

        It takes raw data as the model does: numbers are prepared inside, texts are looked up by
        ``ai.onnx.ml`` (opset 2). Inputs and outputs have the model's names for them, and any number
        of rows. Values of a float64 model are rounded.

        Args:
            filepath: the file.
            format: ``"onnx"``, or None; Keras's other formats are refused.
            verbose: taken as in Keras, without effect.

        Raises:
            ImportError: without the package onnx (``pip install 'gpunn[onnx]'``).
            ValueError: for another format, a model that is not built, and, naming them all, for
                layers and operations that ONNX has no counterpart of; nothing is written then.
        """
        from gpunn.saving.onnx.export import export_onnx

        if format not in (None, "onnx"):
            raise ValueError(f"export: format must be 'onnx'; got {format!r}.")
        if options:
            raise TypeError(f"export takes no {', '.join(options)}: any batch size can be run.")
        export_onnx(self, filepath)

    def to_json(self, **options: Any) -> str:
        """Its layers without weights, as text; see `gpunn.saving.model_to_json`."""
        return saving.model_to_json(self, **options)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Write the weights only; see `gpunn.saving.save_weights`."""
        saving.save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: Any, **options: Any) -> None:
        """Read what `save_weights` or `save` wrote; see `gpunn.saving.load_weights`."""
        saving.load_weights(self, filepath, **options)


def _result(logs: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
