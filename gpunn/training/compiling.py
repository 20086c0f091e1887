"""Compiled models: optimizer, loss, metrics and training state."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gpunn import optimizers
from gpunn.backends.shared.precision import check_precision
from gpunn.callbacks import History
from gpunn.common import registry
from gpunn.common.arguments import check_flag, warn
from gpunn.common.config import eagerly
from gpunn.common.holds import Exclusive
from gpunn.common.random import draw_seed
from gpunn.core.plan import INPUT, Plan
from gpunn.feeding import data
from gpunn.feeding.spec import Spec, TargetSpec
from gpunn.layers.symbolic import SampleShape, TreeDef
from gpunn.structure.structure import Structure

from .alone import TrainingOf, in_training
from .matching import Compiled, warn_of_zero_gradients
from .metric_inputs import constant_outputs
from .predictor import Predictor
from .trainer import Trainer


class CompilableModel(Structure):
    """`Structure` with `compile` and the resulting `Trainer`."""

    abstract = True  # not an entry to look up
    _not_watched = Structure._not_watched | {
        "stop_training", "stop_evaluating", "stop_predicting", "resume_from", "history",
        "trained_on", "optimizer", "loss", "matmul_precision", "_eager", "_warned", "_noted",
        "_compiled", "_asked", "_last_predictor", "_trainer", "_kept_training",
    }  # fmt: skip
    stop_training = stop_evaluating = stop_predicting = False
    """Set by callbacks; checked after every batch and epoch."""
    resume_from: tuple[int, int] | None = None
    """Epoch and batch to resume from, set by BackupAndRestore when training begins."""
    history: History | None = None
    trained_on: Mapping[str, Any] = {}
    """Facts about the training data, saved with the model: ``fit`` stores the ``range`` of the
    first input, and the command line stores how to preprocess other data in the same way."""
    optimizer: optimizers.Optimizer | None = None
    loss: Any = None
    matmul_precision: str | None = None
    _eager = False
    _trains: Exclusive
    _warned = False  # whether fit has warned about zero gradients since compile
    _noted = False  # whether the notes about metrics were printed since compile
    _compiled: Compiled | None = None
    _asked: dict[str, Any] | None = None  # arguments of compile, before the outputs are known

    _last_predictor: Predictor | None = None
    not_copied = Structure.not_copied | {"_trainer"}
    _trainer: Trainer | None = None
    _kept_training: tuple[Any, Any] | None = None
    """In a copy: the training state, until there is a trainer."""

    def _reset(self) -> None:
        super()._reset()
        self._trainer = self._kept_training = None

    @property
    def trainer(self) -> Trainer | None:
        """The trainer; None before the model is built and compiled."""
        if self._kept_training is not None:
            self._make_trainer()
        return self._trainer

    def __getstate__(self) -> dict[str, Any]:
        holder = self._trains.holder
        if holder is not None and holder.thread != threading.get_ident():
            raise RuntimeError(in_training(self, "copy or pickle"))
        state, trainer = super().__getstate__(), self._trainer
        if trainer is not None:
            with trainer.arena.access.reading():
                state["_kept_training"] = trainer.state()
        return state

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
        matmul_precision: str | None = None,
    ) -> None:
        """Configure the model for training: set optimizer, loss and metrics.

        An optimizer object that trained this model before keeps its state, as in Keras; any other
        starts from zero.

        Args:
            optimizer: Name or object; with None the model can be evaluated but not trained.
            loss: Name or object. For several outputs, a list, or a dictionary by output name, in
                which None means no loss; a single loss applies to every output. Without a loss,
                training minimizes the losses that layers add by `add_loss`, and y is optional.
            loss_weights: Factor of each output's loss in the minimized sum.
            metrics: List of names, objects or functions, not weighted; for several outputs a
                list or dictionary of such lists.
            weighted_metrics: Likewise, weighted by sample and class weights.
            matmul_precision: None, or the format to which matrix products in training and
                evaluation may round their factors, to use a GPU's tensor cores:
                "tf32" keeps 10 bits after the leading one of float32's 23, "bfloat16" 7.
                Sums and everything else stay float32, and so does `predict`. It requires a
                GPU of compute capability 8.0 or newer (RTX 30xx, A100); on the NumPy
                backend it has no effect, with one notice.
            run_eagerly: Whether to call user-defined code, such as a layer's ``call``, with
                concrete values in each step, for debugging: see `gpunn.config.run_eagerly`.
            steps_per_execution, jit_compile, auto_scale_loss: Accepted for compatibility with
                Keras and ignored: gpunn decides how many steps to launch at once.

        Raises:
            ValueError: for unknown names, if the loss and the last activation disagree
                about logits, and for a ``matmul_precision`` that the GPU does not support
                or a float64 model cannot use.
        """
        if self._trains.holder is not None:
            raise RuntimeError(in_training(self, "compile"))
        self.run_eagerly = run_eagerly
        self._compile(optimizer, loss, loss_weights, metrics, weighted_metrics, matmul_precision)

    @property
    def run_eagerly(self) -> bool:
        """The ``run_eagerly`` argument of `compile`; may be set at any time."""
        return self._eager

    @run_eagerly.setter
    def run_eagerly(self, eager: bool) -> None:
        self._eager = check_flag("run_eagerly", eager)
        self._last_predictor = None
        if self.trainer is not None:
            self.trainer.spec = replace(self.trainer.spec, eager=self._eager)

    def _compile(
        self,
        optimizer: Any,
        loss: Any,
        loss_weights: Any,
        metrics: Any,
        weighted_metrics: Any,
        matmul_precision: str | None,
    ) -> None:
        if self._body is not None and self.plan is None:
            # The number of outputs is known once the model has seen data.
            self._asked = {
                "optimizer": optimizer, "loss": loss, "loss_weights": loss_weights,
                "metrics": metrics, "weighted_metrics": weighted_metrics,
                "matmul_precision": matmul_precision,
            }  # fmt: skip
            if any(map(_for_several, (loss, loss_weights))):
                loss = loss_weights = metrics = weighted_metrics = None
        _ = self.trainer  # in a copy: an unchanged optimizer keeps its state
        names = self._target_names()
        compiled = Compiled.of(names, loss, loss_weights, metrics, weighted_metrics)
        check_precision(matmul_precision)
        optimizer = None if optimizer is None else optimizers.get(optimizer)
        if optimizer is not None:
            optimizer.take_owner(self)
        self.optimizer, self.matmul_precision = optimizer, matmul_precision
        self._compiled, losses = compiled, compiled.losses
        self.loss = None if not any(losses) else losses[0] if len(names) == 1 else losses
        self._trainer = None
        self._warned = self._noted = False
        self._seed = draw_seed()
        if self._can_train():
            self._make_trainer()

    def _target_names(self) -> list[str]:
        """Return the names of the outputs; a single output has an empty name."""
        names = self.graph.output_names if self.declared_inputs() is not None else [""]
        return names if len(names) > 1 else [""]

    @property
    def compiled(self) -> bool:
        return self._compiled is not None

    def _take_parameters(self, plan: Plan) -> bool:
        before = self._trainer
        moved = super()._take_parameters(plan)
        if moved and before is not None:
            state = before.state()
            self._trainer = trainer = self._new_trainer()
            trainer.set_state(*state)
        return moved

    def _make_trainer(self) -> Trainer:
        """Return the trainer, which follows what has changed since its last use."""
        plan = self.plan
        assert plan is not None
        trainer = self._trainer
        if trainer is None or not self._has_parameters() or not trainer.is_current:
            with self._preparing:
                self._take_parameters(plan)
                trainer = self._trainer = self._trainer or self._new_trainer()
                self._take_kept_training(trainer)
                trainer.look()
        if not self._noted:
            self._noted = True
            for note in (*constant_outputs(plan), *(n for h in trainer.heads for n in h.notes)):
                warn(note)
        return trainer

    def _new_trainer(self) -> Trainer:
        """Create a trainer of the plan, the arena, the optimizer, losses and metrics."""
        assert self._arena and self._plan and self._compiled
        return Trainer(
            self._plan,
            self._arena,
            self._spec(),
            self.optimizer,
            self._compiled.metrics,
            self._compiled.weighted_metrics,
            self._seed,
            self.matmul_precision,
            self._compiled.loss_weights,
        )

    def _take_kept_training(self, trainer: Trainer) -> None:
        """Restore the training state of the original in the trainer of a copy."""
        kept, self._kept_training = self._kept_training, None
        if kept is None:
            return
        tensors, document = kept
        if self.optimizer is not None:
            self.optimizer.take_owner(self)
            # Its learning rate may have been set since the copy was made.
            document = {**document, "learning_rate": self.optimizer.fixed_learning_rate}
        trainer.set_state(tensors, document)

    def _training(self, method: str) -> TrainingOf:
        """Return a ``with`` block for training calls: only one may run at a time.

        Raises:
            RuntimeError: if the model is already being trained.
        """
        return TrainingOf(self, method)

    @property
    def in_training(self) -> bool:
        """Whether a call that trains the model is running."""
        return self._trains.holder is not None

    def _spec(self) -> Spec:
        assert self._arena is not None and self._plan is not None
        inputs, plan = self.graph.input_names, self._plan
        arguments = [f"x[{name!r}]" for name in inputs] if len(inputs) > 1 else ["x"]
        outputs = zip(self._target_names(), plan.output_shapes, strict=True)
        losses = self._compiled.losses if self._compiled else [None] * len(plan.outputs)
        targets = [
            TargetSpec(name, shape, loss)
            for (name, shape), loss in zip(outputs, losses, strict=True)
        ]
        given = tuple(
            (name, tensor.sample) for name, tensor in zip(arguments, self.graph.inputs, strict=True)
        )
        host = plan.host
        fed = given
        if host is not None:
            names = [arguments[host.source(number)] for number in host.fed]
            fed = tuple(zip(names, plan.input_shapes, strict=True))
        return Spec(
            self._arena.backend,
            self._arena.dtype,
            fed,
            tuple(targets),
            tuple(inputs),
            self._eager,
            given,
            host,
            self.graph.input_form.kind is dict,
            tuple(plan.dtypes[INPUT - k] is not None for k in range(len(fed))),
            tuple(plan.shows_floats(INPUT - k) for k in range(len(fed))),
        )

    def _ready(self, method: str, x: Any, y: Any = None) -> Trainer:
        """Return the trainer; create it if the model sees its first data now."""
        if not self._compiled:
            raise ValueError(f"{method}: call compile(optimizer=..., loss=...) first.")
        if self.optimizer is None and method in ("fit", "train_on_batch"):
            raise ValueError(f"{method}: the model was compiled without an optimizer; name one.")
        if self._asked is not None:
            self._build_for(x, y)
            asked, self._asked = self._asked, None
            assert self.plan is not None
            if self.loss is None or len(self.plan.outputs) > 1:
                self._compile(**asked)
        self._build_for(x, y)
        if not self._can_train():
            raise ValueError(
                f"{method}: the model was compiled without a loss; name one in compile."
            )
        if method in ("fit", "train_on_batch") and not self._warned:
            self._warned = True
            assert self.plan is not None
            # Warn at the user's line: fit has one more call in between.
            warn_of_zero_gradients(
                [node.layer for node in self.plan.nodes], 4 if method == "fit" else 3
            )
        return self._make_trainer()

    def _build_for(self, x: Any, y: Any = None) -> None:
        """Build the model for these data, unless it is built."""
        if self.plan is None:
            with eagerly(self._eager):
                self._build(self._shapes_of(x, y))

    def _shapes_of(self, x: Any, y: Any = None) -> list[SampleShape]:
        """Return the shapes of one sample of the first data that the model sees."""
        if self._body is None or not _several(x):
            return [data.first_shape(x, None if _several(y) else y)]
        self._input_names_for(x)
        return [data.first_shape(entry) for entry in TreeDef.of(x).unpack(x)]

    @property
    def metrics_names(self) -> list[str]:
        """Names of the values that evaluate returns, in order."""
        return self.trainer.log_names if self.trainer else ["loss"]

    def training_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return optimizer slots, control block and seeds: all state that the next step needs."""
        if not self._can_train():
            return {}, {}
        trainer = self._make_trainer()
        with trainer.arena.access.reading():
            return trainer.state()

    def set_training_state(
        self, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]
    ) -> None:
        """Restore a state of `training_state`, so that training resumes exactly."""
        if not self._can_train():
            raise ValueError("Training state: the model is not built and compiled with a loss.")
        trainer = self._make_trainer()
        with trainer.arena.access.writing():
            trainer.set_state(tensors, document)
        self._seed = trainer.seed

    def _can_train(self) -> bool:
        """Whether there is a loss, or a layer that may add one and no metrics are given."""
        if self.plan is None or not self._compiled:
            return False
        if self.loss is not None:
            return True
        return not self._compiled.measures and self._may_add_losses(self.plan)

    @staticmethod
    def _may_add_losses(plan: Plan) -> bool:
        """Whether a layer may add to the loss, by its call or by a weight regularizer."""
        penalized = any(p.regularizer is not None for p in plan.parameters.values())
        called = (node.layer for node in plan.nodes if node.layer.has_call)
        return penalized or any(layer.may_add_losses for layer in called)

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return the arguments of `compile` as JSON-serializable values; None before `compile`."""
        if not self._compiled:
            return None
        return {
            "optimizer": registry.serialize(self.optimizer),
            **self._compiled.get_config(),
            "matmul_precision": self.matmul_precision,
        }

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Call `compile` with a config from `get_compile_config`."""
        self.compile(**config)


def _for_several(given: Any) -> bool:
    """Whether an argument of `compile` has an entry for each of several outputs."""
    return isinstance(given, (list, tuple, Mapping))


def _several(given: Any) -> bool:
    """Whether these are arrays of several inputs or outputs rather than the rows of one."""
    if isinstance(given, Mapping):
        return True
    arrays = isinstance(given, (list, tuple)) and len(given)
    return bool(arrays) and all(len(getattr(entry, "shape", ())) > 0 for entry in given)
