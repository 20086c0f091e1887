"""The base class of callbacks: hooks that `fit`, `evaluate` and `predict` call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast, dataclass_transform

from gpunn.common.arguments import check_count
from gpunn.common.fields import field
from gpunn.common.registry import Entry
from gpunn.common.stored import FieldSchema, check
from gpunn.distribution.launch import is_writer

__all__ = ["Callback"]

Logs = Mapping[str, float] | None


class _State(cached_property[Any]):
    def __init__(self, kept: FieldSchema | Callable[[Any], FieldSchema], first: Any) -> None:
        super().__init__(lambda callback: first() if callable(first) else first)
        self.kept = kept


def state(
    kept: FieldSchema | Callable[[Any], FieldSchema],
    first: Any = None,
    *,
    init: Literal[False] = False,
) -> Any:
    """An attribute that a checkpoint holds.

    Args:
        kept: its required type and range, or a function of the callback that returns them.
        first: its value until it is set; or a function, such as ``list``, that creates one.
        init: tells type checkers that no constructor takes it.
    """
    return _State(kept, first)


def _check_verbose(name: str, value: Any) -> int:
    return int(check_count(name, int(value) if isinstance(value, bool) else value))


@dataclass_transform(field_specifiers=(field, state))
class Callback(Entry):
    """Base class of callbacks, whose hooks are called during training, as in Keras.

    Override the hooks you need; `model` and `params` are set before the first one.

    `params` holds what is known about the run: ``epochs``, ``steps``, ``samples`` and
    ``verbose``. To stop training, set ``self.model.stop_training = True``.

    Hooks for single batches slow training down: if no callback overrides them, many steps run
    in one call. A callback that needs only some batches selects them with `next_train_batch`.
    Each batch has its own ``logs`` dictionary, which is not changed later.

    A callback with state across epochs lists it in `keeps`, or overrides `get_state` and
    `set_state`, so that a resumed run continues like an uninterrupted one. Built-in callbacks
    declare it with `state`, next to their arguments.

    >>> from gpunn.callbacks import Callback
    >>> class _Countdown(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(self.params["epochs"] - epoch - 1, "to go")
    >>> countdown = _Countdown()
    >>> countdown.set_params({"epochs": 3})
    >>> countdown.on_epoch_end(0)
    2 to go
    """

    _kind = "callback"
    _checks = cast("dict[str, Any]", {"verbose": _check_verbose})
    __experimental__ = frozenset(
        {"check_state", "has_state", "keeps", "listens", "needs_predict_batches", "release"}
        | {"needs_test_batches", "needs_train_batches", "next_train_batch", "on_train_progress"}
        | {"only_watches", "saves_states", "set_data", "together", "writes"}
    )
    _changes_by_itself = True
    _not_watched = frozenset({"model", "params", "together"})
    _methods_may_be_set = True
    # Not annotated: type checkers take annotated attributes for constructor arguments.
    model = cast("Any", None)
    params = cast("dict[str, Any] | None", None)
    together = cast("Sequence[Callback]", ())  # all callbacks of the list that it runs in
    # Is notified of epochs only and changes nothing; a subclass has to declare it again.
    only_watches = False
    saves_states = False  # stores the states of others, so they run before it
    writes = False  # only prints or writes files, so of several ranks only the first calls it

    if not TYPE_CHECKING:  # no program depends on a callback, and its methods may be replaced
        __setattr__ = object.__setattr__

    def __getstate__(self) -> dict[str, Any]:
        """The state without the other callbacks, which a copy of a history would include."""
        return {name: value for name, value in vars(self).items() if name != "together"}

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_data(self, training: Any, validation: Any) -> None:
        """Receive the training and validation data (or None), as gpunn prepared it: `Rows`, whose
        ``arrays`` have "x" and "y", or batches that are read once. Called before training."""

    def _epochs_ahead(self) -> float:
        """Return how many epochs from now on it can be told of when all of them are over: it stops
        training after the last one at the earliest."""
        return 0

    def _note(self, epoch: int, logs: dict[str, Any]) -> None:
        """Be told of such an epoch, where no interrupt arrives."""
        self.on_epoch_end(epoch, logs)

    def _print(self, text: str) -> None:
        """Print a line; of several ranks, only the first does."""
        if is_writer():
            print(text)

    def get_config(self) -> dict[str, Any]:
        """Return nothing: a model is saved without its callbacks."""
        return {}

    def keeps(self) -> dict[str, FieldSchema]:
        """Return the attributes that a checkpoint holds, with their required types and ranges.

        A leading underscore is not part of an entry's name.
        """
        kinds = {name: declared.kept for name, declared in self._states().items()}
        return {name: kept(self) if callable(kept) else kept for name, kept in kinds.items()}

    def _states(self) -> dict[str, _State]:
        return {
            name: value
            for cls in reversed(type(self).__mro__)
            for name, value in vars(cls).items()
            if isinstance(value, _State)
        }

    def _reset(self) -> None:
        """Reset each attribute declared with `state` to its initial value."""
        for name in self._states():
            vars(self).pop(name, None)

    def get_state(self) -> dict[str, Any]:
        """Return what a checkpoint stores: values that JSON can hold, and NumPy arrays."""
        return {_entry(name): getattr(self, name) for name in self.keeps()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned. Called after `on_train_begin`."""
        state = self.check_state(state, type(self).__name__)
        for name in self.keeps():
            setattr(self, name, state[_entry(name)])

    def check_state(self, state: Any, place: str) -> dict[str, Any]:
        """Return a state from a file if it matches `keeps`; ``place`` is its place in the file.

        Entries added by an overridden `get_state` are left to its `set_state` to check.

        Raises:
            ValueError: naming the invalid entry.
        """
        kept = {_entry(name): kind for name, kind in self.keeps().items()}
        if not isinstance(state, dict) or not self.listens("get_state"):
            return check(kept, state, place)
        return {**state, **check(kept, {n: v for n, v in state.items() if n in kept}, place)}

    @property
    def has_state(self) -> bool:
        """Whether a checkpoint holds state of this callback."""
        return bool(self.keeps()) or self.listens("get_state")

    def listens(self, *hooks: str) -> bool:
        """Whether this object overrides any of the named hooks, in its class or as attributes."""
        return any(
            getattr(getattr(self, hook), "__func__", None) is not getattr(Callback, hook)
            for hook in hooks
        )

    @property
    def needs_train_batches(self) -> bool:
        """Whether `fit` has to call the hooks of single training batches."""
        return self.listens(
            "on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"
        )

    def next_train_batch(self, batch: int) -> int | None:
        """Return the epoch's first batch from this one on whose hooks are needed, or None."""
        return batch if self.needs_train_batches else None

    @property
    def needs_test_batches(self) -> bool:
        return self.listens("on_test_batch_begin", "on_test_batch_end")

    @property
    def needs_predict_batches(self) -> bool:
        return self.listens("on_predict_batch_begin", "on_predict_batch_end")

    def release(self) -> None:
        """Release what is held for one `fit`. Called when it is over, however it ended, and when
        an evaluation or prediction ends by an error."""

    def on_train_begin(self, logs: Logs = None) -> None:
        """Training begins; the model is built."""

    def on_train_end(self, logs: Logs = None) -> None:
        """Training ends; ``logs`` are from the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """An epoch (counted from 0) begins."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """An epoch is over, validation included (names that begin with ``val_``)."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """A training batch (counted from 0 in each epoch) begins."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """A training batch is over; ``logs`` hold the means over the epoch so far."""
        self.on_batch_end(batch, logs=logs)

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Alias of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Alias of `on_train_batch_end`."""

    def on_train_progress(self, done: int, total: int | None) -> None:
        """``done`` of ``total`` samples of this epoch are processed. Called about ten times a
        second."""

    def on_test_begin(self, logs: Logs = None) -> None:
        """An evaluation, or the validation after an epoch, begins."""

    def on_test_end(self, logs: Logs = None) -> None:
        """An evaluation is over; ``logs`` are its results."""

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """A batch of an evaluation begins."""

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """A batch of an evaluation is over."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """A prediction begins."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """A prediction is over."""

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """A batch of a prediction begins."""

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """A batch of a prediction is over."""


def _entry(attribute: str) -> str:
    return attribute.lstrip("_")
