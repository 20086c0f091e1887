"""The model's public face: compile, fit, evaluate, predict, save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import losses, optimizers, registry
from .. import metrics as metrics_module
from ..arena import Arena, Parameter
from ..backends import get_backend
from ..backends.base import Backend
from ..callbacks import CallbackList, History
from ..config import resolve_dtype
from ..layers.base import Layer, assign_all, unique_name
from ..plan import Plan
from ..random import draw_seed
from . import data, loops
from .arguments import check_choice, check_fraction, check_integer, check_verbose
from .summary import summary_text
from .trainer import Trainer, fuse, resolve_metric

DEFAULT_BATCH = 32
PREDICT_BATCH = 1024  # rows of a prediction at a time when the caller does not say


class Model(registry.Entry):
    """What every model can do. `Sequential` says how its layers are put together.

    Args:
        trainable: whether its layers' parameters are updated.
        name: of the model.
        dtype: ``"float32"`` or ``"float64"``; default `gpunn.config.floatx`.
        backend: ``"numpy"``, ``"cupy"`` or ``"auto"``; default `gpunn.use_backend`.
    """

    kind = "model"

    def __init__(
        self, trainable: bool = True, name: str | None = None, dtype: Any = None, backend: Any = None
    ) -> None:
        self.name = name or unique_name(registry.snake_case(type(self).__name__))
        self.dtype_given = None if dtype is None else resolve_dtype(dtype)
        self.backend_given = backend
        if isinstance(backend, str):
            get_backend(backend)  # an unknown or unusable one is refused here
        self._trainable = bool(trainable)
        self.stop_training = False
        self.resume_from: tuple[int, int] | None = None
        self.history: History | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: Any = None
        self._compiled: dict[str, Any] = {}
        self._seed = draw_seed()
        self._reset()

    def _reset(self) -> None:
        """Forget what was bound to arrays: the layers have changed."""
        self.plan: Plan | None = None
        self.arena: Arena | None = None
        self.trainer: Trainer | None = None
        self._predictor: loops.Predictor | None = None

    # -- structure

    @property
    def layers(self) -> list[Layer]:
        """The layers in their order, without the input."""
        raise TypeError(f"{type(self).__name__} must define layers.")

    def make_plan(self, input_shape: tuple[int, ...] | None) -> Plan:
        """The plan for inputs of this shape (None: the declared one)."""
        raise TypeError(f"{type(self).__name__} must define make_plan(input_shape).")

    def build(self, input_shape: Any = None) -> None:
        """Make the parameters. ``input_shape`` is (batch or None, ...), as in Keras."""
        shape = None if input_shape is None else tuple(input_shape)[1:]
        self._build(None if shape is None else tuple(int(n) for n in shape))

    def _build(self, sample_shape: tuple[int, ...] | None) -> None:
        if self.plan is not None:
            if sample_shape not in (None, self.plan.input_shape):
                raise ValueError(
                    f"The model {self.name!r} was built for samples of shape "
                    f"{self.plan.input_shape}; got {sample_shape}."
                )
            return
        self.plan = self.make_plan(sample_shape)
        # A layer that stands in the plan more than once has its parameters once.
        parameters = list({id(p): p for node in self.plan.nodes for p in node.layer.parameters}.values())
        self.arena = Arena(get_backend(self.backend_given), self.dtype, parameters)
        self._predictor = loops.Predictor(self.plan, self.arena.backend, self.arena.dtype)

    @property
    def built(self) -> bool:
        """Whether the parameters exist."""
        return self.plan is not None

    @property
    def dtype(self) -> str:
        """Dtype of parameters and computation.

        Raises:
            ValueError: if layers of the model ask for different ones.
        """
        asked = {layer.dtype: layer.name for layer in self.layers if layer.dtype is not None}
        if self.dtype_given is not None:
            asked[self.dtype_given] = self.name
        if len(asked) > 1:
            names = ", ".join(f"{name!r} {dtype}" for dtype, name in asked.items())
            raise ValueError(f"All layers of a model have one dtype; asked for: {names}.")
        return next(iter(asked), None) or resolve_dtype(None)

    @property
    def backend(self) -> Backend:
        """The backend the model runs on."""
        return self.arena.backend if self.arena else get_backend(self.backend_given)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the shape of one sample; an AttributeError before it is known."""
        return (None, *self._known_plan("input_shape").input_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, ...) with the shape of one prediction; an AttributeError before it is known."""
        return (None, *self._known_plan("output_shape").output_shape)

    def _known_plan(self, attribute: str) -> Plan:
        if self.plan is None:
            raise AttributeError(f"The model {self.name!r} has no {attribute} yet: it is not built.")
        return self.plan

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self.layers:
            layer.trainable = value

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer, kernel before bias."""
        unique = {id(p): p for layer in self.layers for p in layer.parameters}
        return list(unique.values())

    parameters = variables = weights

    @property
    def trainable_weights(self) -> list[Parameter]:
        return [p for p in self.weights if p.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        return [p for p in self.weights if not p.trainable]

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def count_params(self) -> int:
        """Number of values in all parameters."""
        self._require_built("count_params")
        return sum(p.size for p in self.weights)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or position.

        Raises:
            ValueError: if there is none; the closest name is suggested.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer needs either name or index.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"index {index} is out of range: {len(self.layers)} layers.")
            return self.layers[index]
        names = [layer.name for layer in self.layers]
        if name not in names:
            raise ValueError(
                f"No layer named {name!r}.{registry.closest(str(name), names)} "
                f"Layers: {', '.join(names)}."
            )
        return self.layers[names.index(name)]

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Print layers, output shapes and numbers of parameters.

        Args:
            line_length: columns, 80 by default.
            print_fn: called with the text instead of ``print``.
            show_trainable: add a column that says which layers are trained.
        """
        if self.plan is None:
            self._build_from_declared_input()
        (print_fn or print)(summary_text(self, line_length or 80, show_trainable))

    def _build_from_declared_input(self) -> None:
        try:
            self._build(None)
        except ValueError:
            pass  # the input shape is not known yet; the summary says so

    def _require_built(self, method: str) -> None:
        if self.plan is None:
            self._build_from_declared_input()
        if self.plan is None:
            raise ValueError(
                f"{method}: the model {self.name!r} is not built, its input shape is not known. "
                f"Begin it with layers.Input(shape), or call build((None, ...)) or fit first."
            )

    # -- weights

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all parameters as NumPy arrays."""
        self._require_built("get_weights")
        return [p.numpy() for p in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all parameters.

        Raises:
            ValueError: if their number or a shape differs; nothing is changed then.
        """
        self._require_built("set_weights")
        assign_all(f"The model {self.name!r}", self.weights, weights)

    def weights_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters by their path, ``"dense/kernel"``."""
        self._require_built("weights_dict")
        return {p.path: p.numpy() for p in self.weights}

    def load_weights_dict(self, weights: Mapping[str, Any]) -> None:
        """Set all parameters by their path.

        Raises:
            ValueError: naming a missing or surplus path, or a shape that differs.
        """
        self._require_built("load_weights_dict")
        paths = [p.path for p in self.weights]
        for path in paths:
            if path not in weights:
                raise ValueError(f"Weights: {path!r} is missing.")
        for path in weights:
            if path not in paths:
                raise ValueError(
                    f"Weights: {path!r} is not in the model.{registry.closest(path, paths)}"
                )
        assign_all(f"The model {self.name!r}", self.weights, [weights[path] for path in paths])

    def gradients(self) -> dict[str, np.ndarray]:
        """Gradients of the last training step by path; frozen parameters are left out."""
        self._require_built("gradients")
        return {p.path: self.backend.read(p.gradient) for p in self.weights if p.trainable}

    def activations(self, x: Any) -> dict[str, np.ndarray]:
        """Output of every layer for the samples ``x`` (batch, ...), by the layer's name."""
        rows = self._inputs(x)
        assert self._predictor is not None
        workspace = self._predictor.run(rows.x)
        return {c.layer.name: self.backend.read(c.y) for c in workspace.calls}

    def last_batch(self) -> np.ndarray | None:
        """The inputs of the last training step as the first layer saw them, or None."""
        batch = self.trainer.last_batch if self.trainer else None
        return None if batch is None else self.backend.read(batch.workspace.x)

    # -- training

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose optimizer, loss and metrics. The optimizer starts from zero.

        Args:
            optimizer: name or object. Keras's default, RMSprop, is not here: say which.
            loss: name or object.
            metrics: list of names, objects or functions, not weighted.
            weighted_metrics: likewise, weighted by sample and class weights.
            loss_weights, run_eagerly, steps_per_execution, jit_compile,
                auto_scale_loss: accepted as in Keras, without effect: there is one
                output, and how many steps are launched at once is decided here.

        Raises:
            ValueError: for unknown names, and if loss and last activation contradict
                each other about logits.
        """
        if loss_weights is not None:
            raise ValueError(f"loss_weights={loss_weights!r}: the model has one output; leave it out.")
        for argument, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if value is not None and not isinstance(value, (list, tuple)):
                raise ValueError(f"{argument} must be a list, [{value!r}]; got {value!r}.")
            for entry in value or ():
                if entry not in ("accuracy", "acc"):
                    metrics_module.get(entry)
        if optimizer is None:
            raise ValueError("optimizer is missing: name one, compile(optimizer='adam', ...).")
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        if self.loss is not None and self.loss.reduction in (None, "none"):
            raise ValueError(
                f"{self.loss.name} has reduction='none': it leaves no single number to train on."
            )
        self._compiled = {
            "optimizer": self.optimizer,
            "loss": self.loss,
            "metrics": list(metrics or ()),
            "weighted_metrics": list(weighted_metrics or ()),
        }
        self.trainer = None
        self._seed = draw_seed()
        if self.plan is None:
            self._build_from_declared_input()
        if self.plan is not None and self.loss is not None:
            self._make_trainer()

    @property
    def compiled(self) -> bool:
        return bool(self._compiled)

    def _make_trainer(self) -> Trainer:
        if self.trainer is None:
            assert self.arena is not None and self.plan is not None
            self.trainer = Trainer(
                self.plan,
                self.arena,
                self._spec(),
                self._compiled["optimizer"],
                self._compiled["metrics"],
                self._compiled["weighted_metrics"],
                self._seed,
            )
        self.trainer.refresh()
        return self.trainer

    def _spec(self, loss: Any = None) -> data.Spec:
        assert self.arena is not None and self.plan is not None
        shapes = self.plan.input_shape, self.plan.output_shape
        return data.Spec(self.arena.backend, self.arena.dtype, *shapes, loss or self.loss)

    def _ready(self, method: str, x: Any) -> Trainer:
        """The trainer, made now if this is the first data the model sees."""
        if not self._compiled:
            raise ValueError(f"{method}: call compile(optimizer=..., loss=...) first.")
        if self.loss is None:
            raise ValueError(f"{method}: the model was compiled without a loss; name one in compile.")
        self._build_for(x)
        return self._make_trainer()

    def _build_for(self, x: Any) -> None:
        if self.plan is None:
            self._build_from_declared_input()
        if self.plan is None:
            self._build(data.first_shape(x))

    def _source(
        self, x: Any, y: Any, weight: Any, class_weight: Any, argument: str
    ) -> tuple[Any, data.Rows | data.Batches]:
        """The trainer, and the data as rows or batches."""
        if data.is_array(x):
            trainer = self._ready(argument, x)
            where = "validation_data: " if argument == "validation_data" else ""
            return trainer, data.to_rows(trainer.spec, x, y, weight, class_weight, where=where)
        if y is not None or weight is not None:
            extra = "y" if y is not None else "sample_weight"
            raise ValueError(f"{argument}: x yields batches, which bring their own {extra}; leave it out.")
        if not hasattr(x, "__iter__") and not hasattr(x, "__getitem__"):
            raise TypeError(f"x must be an array, or yield batches (x, y); got {type(x).__name__}.")
        source, first = data.peek(x)
        trainer = self._ready(argument, first[0] if isinstance(first, (tuple, list)) else first)
        return trainer, data.Batches(trainer.spec, source, argument, class_weight)

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
            x: (rows, ...), an array of NumPy, CuPy or anything with ``__dlpack__``; or
                something that yields batches ``(x, y)`` or ``(x, y, weight)``.
            y: targets (rows, ...), or class numbers (rows,) for a sparse loss.
            batch_size: samples a step, 32 by default; the last batch may be smaller.
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
            validation_steps, validation_batch_size, validation_freq: as they say.
            validation_strategy: which rows validation_split takes: ``"tail"`` (as
                Keras), ``"shuffled"`` or ``"stratified"``.

        Returns:
            A History whose ``history`` maps each figure to its values by epoch. The
            figures without ``val_`` are means over the epoch while the weights change.

        Raises:
            ValueError, TypeError: for data or arguments that do not fit, before the
                first step.
            gpunn.models.NonFiniteLossError: if the loss becomes NaN or infinite.
        """
        batch_size = check_integer("batch_size", batch_size, 1, DEFAULT_BATCH)
        epochs = check_integer("epochs", epochs, 0)
        initial_epoch = check_integer("initial_epoch", initial_epoch, 0)
        steps = check_integer("steps_per_epoch", steps_per_epoch, 1, None)
        validation_steps = check_integer("validation_steps", validation_steps, 1, None)
        validation_batch = check_integer("validation_batch_size", validation_batch_size, 1, batch_size)
        check_fraction("validation_split", validation_split)
        check_choice("validation_strategy", validation_strategy, ("tail", "shuffled", "stratified"))
        verbose = check_verbose(verbose)
        if not isinstance(validation_freq, (list, tuple, set)):
            validation_freq = check_integer("validation_freq", validation_freq, 1)
        trainer, rows = self._source(x, y, sample_weight, class_weight, "fit")
        if isinstance(rows, data.Batches) and rows.once and steps is None and epochs > initial_epoch + 1:
            raise ValueError(
                "x is a generator, which can be read only once: pass steps_per_epoch, or "
                "something that can be iterated anew each epoch."
            )
        validation: Any = None
        if validation_data is not None:
            validation = self._validation_source(validation_data)
        elif validation_split:
            if not isinstance(rows, data.Rows):
                raise ValueError("validation_split needs arrays; x yields batches. Use validation_data.")
            rows, validation = data.split(
                rows, validation_split, validation_strategy, trainer.spec, trainer.seed
            )
        feed = loops.Feed(trainer, rows, batch_size, True, bool(shuffle))
        check = validation and loops.Feed(trainer, validation, validation_batch, False)
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
        )
        loops.fit(
            self, feed, check, callback_list, epochs, initial_epoch, steps, validation_steps,
            validation_freq,
        )
        assert self.history is not None
        return self.history

    def _validation_source(self, given: Any) -> data.Rows | data.Batches:
        if isinstance(given, (tuple, list)) and len(given) in (2, 3) and not data.is_batches(given):
            x, y, weight = (*given, None)[:3]
        else:
            x, y, weight = given, None, None
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

        Returns:
            The loss, or with metrics a list ``[loss, metric, ...]``; with
            ``return_dict`` a dictionary by name.
        """
        batch_size = check_integer("batch_size", batch_size, 1, None)
        steps = check_integer("steps", steps, 1, None)
        verbose = check_verbose(verbose)
        trainer, rows = self._source(x, y, sample_weight, None, "evaluate")
        size = batch_size or (DEFAULT_BATCH if steps else PREDICT_BATCH)
        feed = loops.Feed(trainer, rows, size, False)
        callback_list = CallbackList(callbacks, model=self, steps=steps or feed.steps(), verbose=verbose)
        logs = loops.evaluate(self, feed, callback_list, steps)
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
    ) -> np.ndarray:
        """Outputs for ``x`` as a NumPy array (rows, ...).

        Args:
            x: samples, or something that yields batches of them.
            batch_size: rows at a time; a good number is chosen by default.
            steps: number of batches; all by default.
        """
        size = check_integer("batch_size", batch_size, 1, PREDICT_BATCH)
        steps = check_integer("steps", steps, 1, None)
        check_verbose(verbose)
        callback_list = CallbackList(callbacks, model=self) if callbacks else None
        if data.is_array(x):
            rows = self._inputs(x)
            starts = list(range(0, len(rows), size))[:steps]
            batches: Iterator[data.Rows] = (rows.part(at, at + size) for at in starts)
        else:
            source, first = data.peek(x)
            self._build_for(first[0] if isinstance(first, (tuple, list)) else first)
            batches = data.inputs_of(self._spec(), source, steps)
        assert self._predictor is not None
        with self.backend.session(size * max((2 * p.size for p in self.weights), default=0)):
            return loops.predict(self._predictor, batches, callback_list)

    def _inputs(self, x: Any) -> data.Rows:
        self._build_for(x)
        return data.to_rows(self._spec(), x, needs_y=False)

    def __call__(self, x: Any, training: bool = False) -> np.ndarray:
        """Outputs for one batch; dropout and the like act as in inference."""
        if training:
            raise ValueError("model(x, training=True) is not supported: use train_on_batch.")
        return self.predict_on_batch(x)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Outputs for one batch."""
        rows = self._inputs(x)
        assert self._predictor is not None
        return self.backend.read(self._predictor.run(rows.x).y)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update on one batch; returns its loss (before the update) and metrics."""
        trainer = self._ready("train_on_batch", x)
        rows = data.to_rows(trainer.spec, x, y, sample_weight, class_weight)
        trainer.reset_totals()
        trainer.run_batch(rows, True)
        return _result(trainer.logs(), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch."""
        trainer = self._ready("test_on_batch", x)
        rows = data.to_rows(trainer.spec, x, y, sample_weight)
        trainer.reset_totals(False)
        trainer.run_batch(rows, False)
        return _result(trainer.logs(False), return_dict)

    @property
    def metrics_names(self) -> list[str]:
        """Names of what evaluate returns, in its order."""
        names = [m.name for m in self.trainer.measures] if self.trainer else []
        return ["loss", *names]

    # -- files

    def save(self, filepath: Any, overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Write architecture, weights and training state; see `gpunn.saving.save_model`."""
        from ..saving import save_model

        save_model(self, filepath, overwrite=overwrite, include_optimizer=include_optimizer)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Write the weights only; see `gpunn.saving.save_weights`."""
        from ..saving import save_weights

        save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: Any) -> None:
        """Read what `save_weights` or `save` wrote; see `gpunn.saving.load_weights`."""
        from ..saving import load_weights

        load_weights(self, filepath)

    def training_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Optimizer slots, control block and seeds: what the next step depends on."""
        return self._make_trainer().state() if self._can_train() else ({}, {})

    def set_training_state(
        self, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]
    ) -> None:
        """Take over what `training_state` gave, so that training goes on exactly."""
        if not self._can_train():
            raise ValueError("Training state: the model is not built and compiled with a loss.")
        trainer = self._make_trainer()
        trainer.set_state(tensors, document)
        self._seed = trainer.seed

    def _can_train(self) -> bool:
        return self.plan is not None and bool(self._compiled) and self.loss is not None

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile` was given, as values that JSON can hold; None before that."""
        if not self._compiled:
            return None
        return {
            "optimizer": registry.serialize(self.optimizer),
            "loss": registry.serialize(self.loss),
            **{
                key: [m if isinstance(m, str) else registry.serialize(metrics_module.get(m))
                      for m in self._compiled[key]]
                for key in ("metrics", "weighted_metrics")
            },
        }

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """`compile` with what `get_compile_config` gave."""
        self.compile(**config)


def _result(logs: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]


__all__ = ["Model", "fuse", "resolve_metric"]
