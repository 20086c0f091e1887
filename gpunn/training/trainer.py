"""The trainer of a compiled, built model: its programs, and exact resume."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import LAUNCH_MODES, Array
from gpunn.backends.contract.control import BAD_BATCH, NAMES, UPDATES
from gpunn.common.numeric import cast
from gpunn.common.registry import is_traceable
from gpunn.common.stored import MOST, ByName, Integer, Number, Text, check, check_array
from gpunn.core.plan import check_unchanged
from gpunn.core.settings import Cached, Settings
from gpunn.distribution.communicator import ALONE, Communicator
from gpunn.feeding.batches import PREDICT_BATCH
from gpunn.feeding.rows import Rows

from .matching import Compiled
from .object_pool import ObjectPool
from .objective import Objective
from .programs import Programs
from .step import Batch

_versions = itertools.count(1)
COUNTED = {name: Integer(-1 if name == "bad_batch" else 0) for name in NAMES}


class Trainer(Objective):
    """An objective with the training state: programs, counters and the settings they depend on.

    Arguments as in `Objective`. The optimizer's slots are added to the storage.
    """

    evaluation_batch = PREDICT_BATCH  # rows, unless `evaluate` is given another number

    def __post_init__(self, compiled: Compiled) -> None:
        super().__post_init__(compiled)
        storage = self.storage
        self.training = Programs(self, True)
        self.control = self.training.control
        self.evaluations: ObjectPool[Programs] = ObjectPool(lambda: Programs(self, False))
        self._interrupted = False
        handling = partial(
            lambda parameters: [p.training_options for p in parameters], storage.parameters
        )
        self._made = Cached(lambda: Settings(self._parts(), handling), self._make)
        self._take_slots()  # before `look` reads the optimizer, which this changes
        self.look()

    # -- steps

    @property
    def last_batch(self) -> Batch | None:
        """The arrays of the last training step."""
        return self.training.last_batch

    def train(self, ranks: Communicator = ALONE) -> _Training:
        """Return a ``with`` block for training over these ranks that discards the remains of an
        interrupted one.

        Weights, optimizer state and counters always belong to a whole number of steps. Programs
        and work arrays are rebuilt.
        """
        return _Training(self, ranks)

    def forget_programs(self) -> None:
        """Make all users of this objective rebuild their programs."""
        self.version = next(_versions)
        self._resolved.cache_clear()
        self.evaluations.clear()

    @property
    def is_simple(self) -> bool:
        """Whether all parts are built-in and hold nothing that changes in place."""
        return self._made.is_simple

    def look(self) -> None:
        """Check the settings of all parts, such as a dropout rate or an array of a custom layer.

        If any differ from those that programs were made with, discard the programs. The learning
        rate is not one of these settings.

        Raises:
            ValueError: for a change that requires another model or another call of compile.
        """
        self._made.get()
        self._count()

    def _make(self) -> None:
        """Reread which parameters are trained and how, and all parts; let programs be rebuilt."""
        if self.version:  # it has been made
            self._take_slots()  # a setting may take more of them
            check_unchanged(self.plan, self.storage)
            self._match()
        self.traceable = all(map(is_traceable, [*self.formulas, *self._rules()]))
        self.forget_programs()

    def _take_slots(self) -> None:
        """Add the optimizer's slots to the storage, and let it count here."""
        if self.optimizer is None:
            self.storage.refresh()
        else:
            self.optimizer.add_slots(self.storage)
            self.optimizer.drop_sums(self.storage)
            self.optimizer.attach(self.control)

    def _count(self) -> None:
        """Let the optimizer count here, from its count on: steps by hand on another backend count
        there."""
        if self.optimizer is not None and self.optimizer._control is not self.control:
            self.optimizer.attach(self.control)

    def _parts(self) -> list[Any]:
        """Return all parts of the steps."""
        metrics = [m.metric for term in self.terms for m in term.measures]
        metrics += self.layer_metrics
        return [*self.losses, self.optimizer, *metrics, *self.plan.read, *self._rules()]

    def _rules(self) -> list[Any]:
        """Return the regularizers and constraints of the weights."""
        return [rule for p in self.storage.parameters for rule in (p.regularizer, p.constraint)]

    def bad_batch(self) -> int | None:
        """Return the number of the first training batch whose loss was not finite, if any."""
        number = int(self.control.get()[BAD_BATCH])
        return None if number < 0 else number

    @property
    def built(self) -> Trainer:
        """This trainer, with the weights and counters that ranks compare."""
        return self

    def receive(self, ranks: Communicator) -> None:
        """Nothing: this trainer was sent the counters of rank 0."""

    def finish(self) -> None:
        """End a training: weights become their averages, if the optimizer keeps any."""
        if self.optimizer is not None:
            self.optimizer.finish(self.storage)

    def labels(self, rows: Rows) -> np.ndarray | None:
        """Return the class of each row (rows,), if a single loss compares classes."""
        from gpunn.feeding.classes import labels_of  # to split them

        return labels_of(rows, self.spec)

    # -- exact resume

    def check_state(self) -> None:
        """Nothing: `state` is all that the next step depends on."""

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return all state besides the weights that the next step depends on."""
        self._count()
        totals = self.backend.read(self.training.totals)
        tensors = {"counters": self.progress.counters_of(self.control), "totals": totals}
        tensors |= {entry: self.backend.read(array) for entry, array in self._slots()}
        tensors |= {f"metric/{number}": m._sums() for number, m in enumerate(self.layer_metrics)}
        document: dict[str, Any] = {
            "seed": self.progress.seed,
            "passes": self.progress.passes,
            "pass_began": self.progress.pass_began,
            "learning_rate": self.optimizer.fixed_learning_rate if self.optimizer else None,
        }
        if self.launch_modes:  # on a GPU
            document["launch_modes"] = dict(self.launch_modes)
        return tensors, document

    def completed(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return an earlier state with the slots of the optimizer, unless it has slots, and with
        its count, as there may have been steps by hand since then."""
        own, counters = self.state()[0], tensors["counters"].copy()
        counters[UPDATES] = max(counters[UPDATES], own["counters"][UPDATES])
        return {**own, **tensors, "counters": counters}

    def _slots(self) -> Iterator[tuple[str, Array]]:
        """Yield each parameter's part of each slot, with its entry in a file."""
        for name, slot in self.storage.slots.items():
            for path, p in self.plan.parameters.items():
                if p.trained:
                    yield f"slot/{name}/{path}", self.storage.segment(slot, p)

    def set_state(self, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> None:
        """Restore a state returned by `state`.

        Raises:
            ValueError: naming an entry that is missing or surplus, or has the wrong type, shape
                or range; nothing is changed then.
        """
        own, own_document = self.state()
        for missing in sorted(set(own) ^ set(tensors)):
            raise ValueError(
                f"Training state: entry {missing!r} is "
                f"{'missing' if missing in own else 'not known'}."
            )
        # Check everything before changing anything.
        tensors = {
            name: cast(
                check_array(
                    tensors[name], array.shape, array.dtype.kind, f"training/tensors/{name}"
                ), array.dtype, f"the entry 'training/tensors/{name}'",
            )
            for name, array in own.items()
        }
        kept = {
            "seed": Integer(0, 2**64 - 1),
            "passes": Integer(),
            "pass_began": Integer(),
            "learning_rate": Number(0, finite=True, or_none=own_document["learning_rate"] is None),
            "launch_modes": ByName(Text(LAUNCH_MODES)),
        }
        optional = {"pass_began": 0, "launch_modes": {}}
        document = check(kept, {**optional, **document}, "training/values")
        self._check_counters(tensors["counters"], document)
        self._check_totals(tensors["totals"])
        self._check_slots(tensors)
        progress = self.progress
        progress.seed, progress.passes = document["seed"], document["passes"]
        progress.pass_began, progress.control = document["pass_began"], self.control
        self.launch_modes = document["launch_modes"]
        if self.optimizer is not None and self.optimizer.fixed_learning_rate is not None:
            self.optimizer.learning_rate = document["learning_rate"]
        write = self.backend.write
        self.control.restore(tensors["counters"])
        write(self.training.totals, tensors["totals"])
        for entry, array in self._slots():
            write(array, tensors[entry])
        for number, metric in enumerate(self.layer_metrics):
            metric._put_sums(tensors[f"metric/{number}"])
        self.forget_programs()

    def setting_back(self) -> Callable[[], None]:
        """Return a function that sets back all that steps have changed since this call, of layers
        without metrics of their own. Programs remain valid."""
        storage, progress, backend = self.storage, self.progress, self.backend
        arrays = [storage.values, storage.state, self.training.totals, *storage.slots.values()]
        kept, counters = list(map(backend.read, arrays)), self.control.get()
        passes = progress.passes, progress.pass_began, progress.control

        def set_back() -> None:
            with storage.access.writing():
                for array, values in zip(arrays, kept, strict=True):
                    backend.write(array, values)
            self.control.restore(counters)
            progress.passes, progress.pass_began, progress.control = passes

        return set_back

    @staticmethod
    def _check_counters(counters: np.ndarray, values: Mapping[str, Any]) -> None:
        place = "training/tensors/counters"
        found = check(COUNTED, dict(zip(NAMES, counters.tolist(), strict=False)), place)
        if counters[len(NAMES) :].any():
            raise ValueError(
                f"the entry {place!r} is {counters.tolist()}: zeros at its end expected."
            )
        if found["bad_batch"] > found["batches"]:
            raise ValueError(
                f"the entry '{place}/bad_batch' is {found['bad_batch']}, of {found['batches']} "
                f"batches."
            )
        passes, began = values["passes"], values["pass_began"]
        if began > found["batches"]:
            raise ValueError(
                f"the entry 'training/values/pass_began' is {began}, of {found['batches']} batches."
            )
        if not passes - 1 <= found["pass"] <= passes:  # the current one was begun last
            raise ValueError(
                f"the entry '{place}/pass' is {found['pass']}, 'training/values/passes' {passes}: "
                f"one less expected."
            )

    def _check_slots(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Check slots. They may be NaN, but those whose root is taken may not be negative."""
        names = self.optimizer.not_negative if self.optimizer else ()
        for entry, array in tensors.items():
            if entry.startswith("slot/") and entry.split("/")[1] in names and (array < 0).any():
                raise ValueError(
                    f"the entry 'training/tensors/{entry}' holds {array.min():g}: numbers of at "
                    f"least 0 expected."
                )

    def _check_totals(self, totals: np.ndarray) -> None:
        """Check sums. They may be NaN, but their numbers of rows may not."""
        for rows in totals[[term.at + 1 for term in self.terms] or [self.rows_at]]:
            if not 0 <= rows < MOST:
                raise ValueError(
                    f"the entry 'training/tensors/totals' says {rows} rows: a number of at least "
                    f"0 expected."
                )

    @property
    def batches(self) -> int:
        """Training batches so far."""
        return self.progress.batches

    @property
    def updates(self) -> int:
        """Optimizer updates so far."""
        return int(self.control.get()[UPDATES])


def without_slots(
    tensors: Mapping[str, np.ndarray], document: dict[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the state of a trainer without the slots, which the optimizer keeps by itself."""
    kept = {name: array for name, array in tensors.items() if not name.startswith("slot/")}
    return kept, document


class _Training:
    def __init__(self, trainer: Trainer, ranks: Communicator) -> None:
        self._trainer, self._ranks = trainer, ranks

    def __enter__(self) -> Programs:
        trainer = self._trainer
        if trainer._interrupted:
            trainer.training = Programs(trainer, True, trainer.training)
        if self._ranks.size > 1:
            self._ranks.reserve()
        trainer._interrupted = True  # until training ends without an error
        trainer.progress.continue_with(trainer.control)
        trainer.training.join(self._ranks)
        return trainer.training

    def __exit__(self, error: object, *rest: object) -> None:
        if self._ranks.size > 1:
            self._ranks.release()
        if error is None:
            self._trainer._interrupted = False
