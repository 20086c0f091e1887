"""A model that knows what to train for: optimizer, loss, metrics, and the state of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import losses, optimizers, registry
from .. import metrics as metrics_module
from ..backends.precision import check_precision
from ..callbacks import History
from ..random import draw_seed
from . import data
from .structure import Structure
from .trainer import Trainer


class Compiled(Structure):
    """`Structure` with `compile` and the `Trainer` that it leads to; `Model` adds the loops."""

    abstract = True  # not an entry to look up
    stop_training = stop_evaluating = stop_predicting = False
    """Set by callbacks; looked at after every batch and epoch."""
    resume_from: tuple[int, int] | None = None
    """Epoch and batch to go on with, set by BackupAndRestore when training begins."""
    history: History | None = None
    optimizer: optimizers.Optimizer | None = None
    loss: Any = None
    matmul_precision: str | None = None
    _compiled: Mapping[str, list[Any]] | None = None  # the metrics, as they were given

    def _reset(self) -> None:
        super()._reset()
        self.trainer: Trainer | None = None

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
        matmul_precision: str | None = None,
    ) -> None:
        """Choose optimizer, loss and metrics. The optimizer starts from zero.

        Args:
            optimizer: name or object; without one the model can be evaluated, not trained.
            loss: name or object.
            metrics: list of names, objects or functions, not weighted.
            weighted_metrics: likewise, weighted by sample and class weights.
            matmul_precision: None, or what the matrix products of training and evaluation
                may round their factors to, so that a card's tensor cores can do them:
                "tf32" keeps 10 bits after the leading one of float32's 23, "bfloat16" 7.
                Sums and everything else stay float32, and so does `predict`. It takes a
                card of compute capability 8.0 or newer (RTX 30xx, A100); on the NumPy
                backend it has no effect, which is announced once.
            loss_weights, run_eagerly, steps_per_execution, jit_compile,
                auto_scale_loss: accepted as in Keras, without effect: there is one
                output, and how many steps are launched at once is decided here.

        Raises:
            ValueError: for unknown names, if loss and last activation contradict
                each other about logits, and for a ``matmul_precision`` that the card
                does not have or a float64 model cannot use.
        """
        if loss_weights is not None:
            raise ValueError(
                f"loss_weights={loss_weights!r}: the model has one output; leave it out."
            )
        for argument, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if value is not None and not isinstance(value, (list, tuple)):
                raise ValueError(f"{argument} must be a list, [{value!r}]; got {value!r}.")
            for entry in value or ():
                if entry not in ("accuracy", "acc"):
                    metrics_module.get(entry)
        check_precision(matmul_precision)
        self.optimizer = None if optimizer is None else optimizers.get(optimizer)
        self.matmul_precision = matmul_precision
        self.loss = None if loss is None else losses.get(loss)
        if self.loss is not None and self.loss.reduction in (None, "none"):
            raise ValueError(
                f"{self.loss.name} has reduction='none': it leaves no single number to train on."
            )
        if self.optimizer is not None:
            self.optimizer.take_owner(self)
        self._compiled = {
            "metrics": list(metrics or ()),
            "weighted_metrics": list(weighted_metrics or ()),
        }
        self.trainer = None
        self._seed = draw_seed()
        if self.plan is not None and self.loss is not None:
            self._make_trainer()

    @property
    def compiled(self) -> bool:
        return bool(self._compiled)

    def _take_parameters(self) -> bool:
        moved = super()._take_parameters()
        if moved and self.trainer is not None:
            state = self.trainer.state()
            self.trainer = None
            self._make_trainer().set_state(*state)
        return moved

    def _make_trainer(self) -> Trainer:
        if self.trainer is None:
            assert self.arena and self.plan and self._compiled
            self.trainer = Trainer(
                self.plan,
                self.arena,
                self._spec(),
                self.optimizer,
                self._compiled["metrics"],
                self._compiled["weighted_metrics"],
                self._seed,
                self.matmul_precision,
            )
        self._take_parameters()
        self.trainer.refresh()
        self.trainer.follow_settings()
        return self.trainer

    def _spec(self) -> data.Spec:
        assert self.arena is not None and self.plan is not None
        shapes = self.plan.input_shape, self.plan.output_shape
        return data.Spec(self.arena.backend, self.arena.dtype, *shapes, self.loss)

    def _ready(self, method: str, x: Any, y: Any = None) -> Trainer:
        """The trainer, made now if this is the first data the model sees."""
        if not self._compiled:
            raise ValueError(f"{method}: call compile(optimizer=..., loss=...) first.")
        if self.optimizer is None and method in ("fit", "train_on_batch"):
            raise ValueError(f"{method}: the model was compiled without an optimizer; name one.")
        if self.loss is None:
            raise ValueError(
                f"{method}: the model was compiled without a loss; name one in compile."
            )
        self._build_for(x, y)
        return self._make_trainer()

    def _build_for(self, x: Any, y: Any = None) -> None:
        if self.plan is None:
            self._build(data.first_shape(x, y))

    @property
    def metrics_names(self) -> list[str]:
        """Names of what evaluate returns, in its order."""
        names = [m.name for m in self.trainer.measures] if self.trainer else []
        return ["loss", *names]

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
                key: [
                    m if isinstance(m, str) else registry.serialize(metrics_module.get(m))
                    for m in metrics
                ]
                for key, metrics in self._compiled.items()
            },
            "matmul_precision": self.matmul_precision,
        }

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """`compile` with what `get_compile_config` gave."""
        self.compile(**config)
