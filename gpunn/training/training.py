"""What `compile` configured for a model, and the trainer and predictor that follow from it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn import optimizers
from gpunn.backends.shared.precision import check_precision
from gpunn.common.arguments import check_flag
from gpunn.common.config import eagerly
from gpunn.common.holds import Exclusive
from gpunn.common.names import warn
from gpunn.common.nested import TreeDef, is_group
from gpunn.common.random import Counter, times_seeded
from gpunn.common.registry import is_own
from gpunn.common.stored import OWN_DRAWS, OWN_STEPS
from gpunn.core.plan import INPUT, Plan
from gpunn.core.recording import active
from gpunn.core.tracked_metrics import metrics_of_layers
from gpunn.feeding import data
from gpunn.feeding.batches import Batches, converting, peek
from gpunn.feeding.rows import Rows
from gpunn.feeding.spec import Spec, TargetSpec
from gpunn.layers.symbolic import SampleShape
from gpunn.structure.builder import Builder

from .exclusive import ExclusiveTraining, in_training
from .matching import PARTS, Compiled, for_several, labels_of, warn_of_zero_gradients
from .metric_inputs import constant_outputs
from .programs import Programs
from .progress import Progress
from .trainer import Trainer, without_slots

if TYPE_CHECKING:
    from .predictor import Predictor


class Training:
    """Training and prediction of a model. Each model owns one.

    Attributes:
        optimizer, loss, matmul_precision: See `Model.compile`; None before it.
        compiled: What `compile` configured; None before it.
        clones: Numbers the clones made of the model, once there are any.
        progress: How far the training has come; `compile` makes a new one.
        exclusive: Held by the only call that trains the model.
        added: Losses that layers added in the last call on arrays.
        calls: Counts the calls of the model in training.
        steps: A slot for what the steps of the model's class use; see `by_hand.steps`.
        first_x: A row as the first one of these steps, for which `built_as_seen` builds.
    """

    takes_x_alone = False  # as validation data
    hinted = False  # whether fit has looked for data to warn of since compile
    first_x: Any = None

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: Any = None
        self.matmul_precision: str | None = None
        self.compiled: Compiled | None = None
        self.progress = Progress()
        self.exclusive = Exclusive()
        self._eager = False
        self._deferred: dict[str, Any] | None = None  # arguments until the outputs are known
        self._warned = False  # whether fit has warned about zero gradients since compile
        self._printed_notes = False  # whether the notes about metrics were printed since compile
        self.reset()

    def reset(self) -> None:
        """Discard everything bound to arrays: the layers have changed."""
        self._trainer: Trainer | None = None
        self._predictor: Predictor | None = None
        self.steps: Any = None
        self.progress.restart()
        self._kept: tuple[Any, Any] | None = None  # the training state that a new trainer continues
        self.added: list[np.ndarray] | None = None
        self.calls = Counter()
        self._predictions = Counter()  # predictions so far that draw random numbers

    def __getstate__(self) -> dict[str, Any]:
        holder = self.exclusive.holder
        if holder is not None and holder.thread != threading.get_ident():
            raise RuntimeError(in_training(self, "copy or pickle"))
        state = {**vars(self), "_trainer": None, "_predictor": None, "steps": None}
        if (trainer := self._trainer) is not None:
            with trainer.storage.access.reading():
                state["_kept"] = without_slots(*trainer.state())
        return state

    def copy_for(self, builder: Builder) -> Training:
        """Return a copy for a model with another builder."""
        made = copy.copy(self)
        made._builder, made.progress = builder, copy.deepcopy(self.progress)
        return made

    def keep_outputs(self) -> None:
        """Let all steps from now on write the outputs of all layers."""
        if not self.progress.keeps_outputs:
            self.progress.keeps_outputs = True
            if self._trainer is not None:
                self._trainer.forget_programs()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._builder.name

    def exclusively(self, method: str) -> ExclusiveTraining:
        """Return a ``with`` block for training calls: only one may run at a time.

        Raises:
            RuntimeError: if the model is already being trained.
        """
        if active.watcher is not None:
            active.watcher.refuse(f"it calls {method} of a model.")
        return ExclusiveTraining(self, method)

    # -- compile

    @property
    def eager(self) -> bool:
        """See `Model.run_eagerly`."""
        return self._eager

    @eager.setter
    def eager(self, eager: bool) -> None:
        self._eager = check_flag("run_eagerly", eager)
        self._predictor = None
        if (trainer := self.trainer) is not None:
            trainer.spec = replace(trainer.spec, eager=self._eager)

    def compile(self, **arguments: Any) -> None:
        """Configure training; see `Model.compile` for the arguments.

        Raises:
            RuntimeError: if the model is being trained.
        """
        if self.exclusive.holder is not None:
            raise RuntimeError(in_training(self, "compile"))
        self.eager = arguments.pop("run_eagerly")
        self._deferred = None
        if self._builder.has_call and not self._builder.is_built:
            # The number of outputs is known once the model has seen data.
            self._deferred = dict(arguments)
            if for_several(**{part: arguments[part] for part in PARTS}):
                arguments |= dict.fromkeys(PARTS)
        self._compile(**arguments)

    def _compile(
        self, optimizer: Any, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any,
        matmul_precision: str | None,
    ) -> None:
        _ = self.trainer  # in a copy: an unchanged optimizer keeps its state
        given = loss, loss_weights, metrics, weighted_metrics
        compiled = self._arguments(given)
        check_precision(matmul_precision)
        optimizer = None if optimizer is None else optimizers.get(optimizer)
        if optimizer is not None:
            optimizer.take_owner(self)
        self.optimizer, self.matmul_precision = optimizer, matmul_precision
        self.compiled, self.loss = compiled, compiled.loss
        self._trainer = self.steps = None
        self._warned = self._printed_notes = self.hinted = False
        self.progress = Progress()
        if self.can_train():
            self.current_trainer()

    def settled(self) -> Compiled | None:
        """Return the arguments of `compile`, by outputs that may be known only since a call."""
        if self._deferred is not None and self._builder.is_built:
            given = [self._deferred[part] for part in PARTS]
            self.compiled, self._deferred = self._arguments(given), None
            self.loss = self.compiled.loss
        return self.compiled

    def _arguments(self, given: Sequence[Any]) -> Compiled:
        """Return the arguments of `compile` for the outputs, in the order of `PARTS`."""
        names, joint = self.target_names(), None
        if len(names) > 1:
            form = self._builder.known_graph("outputs").output_form
            if isinstance(given[0], (list, tuple, Mapping)):
                from .by_hand.measured import JointLosses  # which few models have

                joint = JointLosses.of(form, names, *given[:2])
            given = given if joint is None else [None, None, *given[2:]]
            given = [form.flat(x, part, True) for x, part in zip(given, PARTS, strict=True)]
        loss, loss_weights, metrics, weighted_metrics = given
        return Compiled.of(names, loss, loss_weights, metrics, weighted_metrics, joint)

    def target_names(self) -> list[str]:
        """Return the names of the outputs; a single output has an empty name."""
        builder = self._builder
        if builder.declared_inputs() is None:
            return [""]
        names = builder.known_graph("outputs").output_names
        return names if len(names) > 1 else [""]

    def can_train(self) -> bool:
        """Whether there is a loss, or a layer that may add one and no metrics are given."""
        if self._builder.plan is None or not self.compiled:
            return False
        if self.loss is not None:
            return True
        return not self.compiled.measures and _may_add_losses(self._builder.known_plan("losses"))

    # -- the trainer

    @property
    def trainer(self) -> Trainer | None:
        """The trainer; None before the model is built and compiled."""
        if self._kept is not None:
            self.current_trainer()
        return self._trainer

    @property
    def programs(self) -> Programs | None:
        """The programs of the trainer, if there is one."""
        return None if self._trainer is None else self._trainer.training

    def current_trainer(self) -> Trainer:
        """Return the trainer, which follows what has changed since its last use."""
        builder, trainer = self._builder, self._trainer
        if trainer is None or not builder.has_parameters():
            plan = builder.known_plan("trainer")
            with builder.preparing:
                self._take_parameters(plan)
                trainer = self._trainer = self._trainer or self._new_trainer(plan)
        trainer.look()
        if not self._printed_notes:
            self._printed_notes = True
            of_terms = (note for term in trainer.terms for note in term.notes)
            for note in (*constant_outputs(trainer.plan), *of_terms):
                warn(note)
        return trainer

    def _new_trainer(self, plan: Plan) -> Trainer:
        """Create a trainer, with the state of the one before or of a copy's original."""
        storage, compiled = self._builder.storage, self.compiled
        assert storage and compiled
        holds = partial(_layer_metrics, self._builder)
        given = self.spec(), self.optimizer, compiled, self.progress, self.matmul_precision, holds
        trainer = Trainer(plan, storage, *given)
        kept, self._kept = self._kept, None
        if kept is not None:
            tensors, document = kept
            if (optimizer := self.optimizer) is not None:
                optimizer.take_owner(self)
                # Its learning rate may have been set since the copy was made.
                document = {**document, "learning_rate": optimizer.fixed_learning_rate}
            trainer.set_state(trainer.completed(tensors), document)
        return trainer

    def layer_metrics(self) -> list[Any]:
        """Return the metrics that the model and its layers hold."""
        return _layer_metrics(self._builder)

    def _take_parameters(self, plan: Plan) -> None:
        """Move parameters back from other storages, and the state of the trainer with them."""
        before = self._trainer
        if self._builder.take_parameters(plan) and before is not None:
            self._kept, self._trainer = without_slots(*before.state()), None

    def _has_state(self) -> bool:
        """Whether there is a loss, or an optimizer for steps by hand."""
        return self.can_train() or None not in (self.optimizer, self._builder.plan)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """See `Model.training_state`."""
        if not self._has_state():
            return {}, {}
        trainer = self.current_trainer()
        with trainer.storage.access.reading():
            return trainer.state()

    def set_state(
        self, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any],
        prepare: Callable[[], Callable[[], None]] | None = None,
    ) -> None:
        """See `Model.set_training_state`.

        Args:
            prepare: Checks the entries of steps that the model's class defines, and returns what
                restores them. Without it, such entries are ignored.
        """
        if not (self.can_train() or tensors or document):
            return  # the state of a model without a loss
        if not self._has_state():
            raise ValueError("Training state: the model is not built and compiled to be trained.")
        trainer = self.current_trainer()
        restore = None if prepare is None else prepare()
        tensors = {name: a for name, a in tensors.items() if not name.startswith(OWN_STEPS)}
        document = {name: entry for name, entry in document.items() if name != OWN_DRAWS}
        with trainer.storage.access.writing():
            trainer.set_state(tensors, document)
        self.progress.seeded = times_seeded()
        if restore is not None:
            restore()

    # -- data

    @property
    def input_count(self) -> int:
        return len(self._builder.known_graph("inputs").inputs)

    def spec(self) -> Spec:
        """Return what data the model takes."""
        builder, plan = self._builder, self._builder.known_plan("spec")
        graph, storage = builder.known_graph("spec"), builder.storage
        assert storage is not None
        inputs = graph.input_names
        arguments = [f"x[{name!r}]" for name in inputs] if len(inputs) > 1 else ["x"]
        outputs = zip(self.target_names(), plan.output_shapes, strict=True)
        losses = self.compiled.losses if self.compiled else [None] * len(plan.outputs)
        labels = labels_of(graph, self.target_names())
        targets = [
            TargetSpec(name, shape, loss, label=label)
            for (name, shape), loss, label in zip(outputs, losses, labels, strict=True)
        ]
        given = tuple(zip(arguments, graph.declared_inputs(), strict=True))
        host = plan.host
        fed = given
        if host is not None:
            names = [arguments[host.source(number)] for number in host.fed]
            fed = tuple(zip(names, plan.input_shapes, strict=True))
        return Spec(
            storage.backend, storage.dtype, fed, tuple(targets), tuple(inputs), self._eager, given,
            host, graph.input_form.kind is dict, (graph.input_form, graph.output_form),
            tuple(plan.dtypes[INPUT - k] is not None for k in range(len(fed))),
            tuple(plan.shows_floats(INPUT - k) for k in range(len(fed))),
        )

    def ready(self, method: str, x: Any, y: Any = None) -> Trainer:
        """Return the trainer; create it if the model sees its first data now."""
        if not self.compiled:
            raise ValueError(f"{method}: call compile(optimizer=..., loss=...) first.")
        trains = method in ("fit", "train_on_batch")
        if self.optimizer is None and trains:
            raise ValueError(f"{method}: the model was compiled without an optimizer; name one.")
        if self._deferred is not None:
            self.build_for(x, y)
            deferred, self._deferred = self._deferred, None
            if self.loss is None or len(self._builder.known_plan("outputs").outputs) > 1:
                self._compile(**deferred)
            if self.compiled.joint is not None:
                raise ValueError(
                    f"{method}: a loss of several outputs together takes a model whose outputs are "
                    f"known: call {self.name} on a batch, or build it, before compile."
                )
        self.build_for(x, y)
        if not self.can_train():
            raise ValueError(
                f"{method}: the model was compiled without a loss; name one in compile."
            )
        if trains and not self._warned:
            self._warned = True
            nodes = self._builder.known_plan("layers").nodes
            warn_of_zero_gradients(node.layer for node in nodes)
        return self.current_trainer()

    def build_for(self, x: Any, y: Any = None) -> None:
        """Build the model for these data, unless it is built."""
        if self._builder.plan is None:
            with eagerly(self._eager):
                self._builder.build(self._shapes_of(x, y))

    def built_as_seen(self) -> bool:
        """Return whether the model is built.

        One whose own steps have run without its `call` is built now, for the first data of these.
        Keras builds it before the first step, if it can; a `call` may take other data than a step.
        """
        if self.first_x is not None and not self._builder.is_built:
            with self._builder.preparing:  # another thread that asks waits
                x, self.first_x = self.first_x, ...  # the model's `call` may ask itself
                if x is not ...:
                    with suppress(Exception):  # of a user's `call`, which the step does not need
                        self.build_for(x)
                    self.first_x = None
        return self._builder.plan is not None

    def _shapes_of(self, x: Any, y: Any = None) -> list[SampleShape]:
        """Return the shapes of one sample of the first data that the model sees."""
        if not self._builder.has_call or not _several(x):
            return [data.first_shape(x, None if _several(y) else y)]
        self._builder.input_names_for(x)  # which learns the structure
        return [data.first_shape(entry) for entry in TreeDef.of(x).unpack(x)]

    def source(
        self, x: Any, y: Any, weight: Any, class_weight: Any, argument: str
    ) -> tuple[Trainer, Rows | Batches]:
        """Return the trainer, and the data as rows or batches."""
        if data.is_array(x):
            trainer = self.ready(argument, x, y)
            where = "validation_data: " if argument == "validation_data" else ""
            rows = data.to_rows(
                trainer.spec, x, y, weight, class_weight, where=where, call=argument,
                resolve=trainer.resolve,
            )
            return trainer, rows
        if y is not None or weight is not None:
            extra = "y" if y is not None else "sample_weight"
            raise ValueError(
                f"{argument}: x yields batches, which bring their own {extra}; leave it out."
            )
        source, first = peek(x, "validation_data" if argument == "validation_data" else "x")
        trainer = self.ready(argument, *inputs_and_targets(first))
        convert = converting(trainer.spec, trainer.resolve, class_weight)
        return trainer, Batches(source, argument, convert, first)

    # -- the predictor

    def predictor_for(self, x: Any) -> Predictor:
        """Return the predictor, which follows moved parameters; build the model for these data."""
        builder, predictor = self._builder, self._predictor
        if (
            predictor is None
            or predictor.storage is not builder.storage
            or not builder.has_parameters()
        ):
            self.build_for(x)
            with builder.preparing:
                plan = builder.known_plan("predictions")
                self._take_parameters(plan)
                predictor, storage = self._predictor, builder.storage
                if predictor is None or predictor.storage is not storage:
                    from .predictor import Predictor

                    assert storage is not None
                    form = builder.known_graph("predictions").output_form
                    predictor = Predictor(
                        plan, storage, self.spec(), form, self.progress.seed, self._predictions
                    )
                    self._predictor = predictor
        return predictor


def _may_add_losses(plan: Plan) -> bool:
    """Whether a layer may add to the loss: by a regularizer, or by a user's `call` or function."""
    penalized = any(p.regularizer is not None for p in plan.parameters.values())
    called = (node.layer for node in plan.nodes if node.layer._has_call)
    inside = [one for layer in called for one in layer._with_layers_inside()]
    users = (one._may_add_losses or not is_own(one) for one in inside)
    return penalized or any(users) or any(one.activity_regularizer for one in inside)


def inputs_and_targets(batch: Any) -> Sequence[Any]:
    """Return the inputs, and the targets if there are any, of a batch of a stream."""
    return batch[:2] if isinstance(batch, (tuple, list)) else [batch]


def _several(given: Any) -> bool:
    """Whether these are arrays of several inputs or outputs rather than the rows of one."""
    if isinstance(given, Mapping):
        return True
    arrays = isinstance(given, (list, tuple)) and len(given)
    return bool(arrays) and all(
        len(getattr(entry, "shape", ())) > 0 or is_group(entry) for entry in given
    )


def _layer_metrics(builder: Any) -> list[Any]:
    source = builder.source
    return metrics_of_layers(getattr(source, "model", None), source.layers)
