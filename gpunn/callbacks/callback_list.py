"""Several callbacks called as one, and only those that override a hook."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, update_wrapper
from operator import attrgetter
from typing import Any

from gpunn.distribution.launch import is_writer

from .callback import Callback, Logs
from .history import History

__all__ = ["CallbackList"]


def _needed(kind: str) -> Any:
    of_kind = attrgetter(f"needs_{kind}_batches")
    return property(lambda several: any(map(of_kind, several.callbacks)))


class CallbackList(Callback):
    """Calls each hook of several callbacks, in order.

    Args:
        callbacks: a callback or a sequence of callbacks (sequences in it are flattened).
        add_history: add a `History` if none is among them.
        add_progbar: add a `ProgressBar` if none is among them.
        model: given to each callback.
        **params: given to each callback.

    Attributes:
        history: the `History` among the callbacks, or None.
        only_watch: whether all callbacks only watch the epochs, as declared in their own classes.

    Raises:
        TypeError: for something that is not a `gpunn.callbacks.Callback`.

    >>> from gpunn.callbacks import LambdaCallback
    >>> from gpunn.callbacks import CallbackList
    >>> both = CallbackList([LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch))])
    >>> both.on_epoch_end(4)
    4
    >>> both.needs_train_batches
    False
    """

    _abstract = True  # a container, not an entry to look up

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks = [] if callbacks is None else _savers_after_states(_flatten(callbacks))
        self.history = next((c for c in self.callbacks if isinstance(c, History)), None)
        if add_history and self.history is None:
            self.history = History()
            savers = (i for i, c in enumerate(self.callbacks) if c.saves_states)
            self.callbacks.insert(next(savers, len(self.callbacks)), self.history)
        if add_progbar:
            from .progress_bar import ProgressBar

            if not any(isinstance(c, ProgressBar) for c in self.callbacks):
                self.callbacks.insert(0, ProgressBar())  # its line ends before others print
        for callback in self.callbacks:
            callback.together = self.callbacks
        self.only_watch = all([_only_watches(callback) for callback in self.callbacks])
        self._listeners: dict[str, list[Callable[..., None]]] = {}
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def set_model(self, model: Any) -> None:
        self.model = model
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_data(self, training: Any, validation: Any) -> None:
        self._call("set_data", training, validation)

    def _epochs_ahead(self) -> float:
        return min([c._epochs_ahead() for c in self.callbacks]) if self.only_watch else 0

    def _note(self, epoch: int, logs: dict[str, Any]) -> None:
        for callback in self.callbacks:
            callback._note(epoch, logs)

    @cached_property
    def _watchers(self) -> list[Callback]:
        return [callback for callback in self.callbacks if callback.needs_train_batches]

    def next_train_batch(self, batch: int) -> int | None:
        wanted = [callback.next_train_batch(batch) for callback in self._watchers]
        return min((number for number in wanted if number is not None), default=None)

    needs_train_batches = _needed("train")
    needs_test_batches = _needed("test")
    needs_predict_batches = _needed("predict")

    @property
    def needs_progress(self) -> bool:
        """Whether a callback overrides `on_train_progress`."""
        return any(callback.listens("on_train_progress") for callback in self.callbacks)

    def listening(self) -> dict[str, str]:
        """Return what the ranks of a training must agree on: which callbacks see batches."""
        kinds = {
            "training batches": [c for c in self.callbacks if c.needs_train_batches],
            "validation batches": [c for c in self.callbacks if c.needs_test_batches],
        }
        return {
            f"the callbacks for {kind}": ", ".join(type(c).__name__ for c in found) or "none"
            for kind, found in kinds.items()
        }

    @cached_property
    def _active(self) -> list[Callback]:
        """Those whose hooks are called: on ranks besides 0, not those that write or print."""
        return self.callbacks if is_writer() else [c for c in self.callbacks if not c.writes]

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self._active:
            getattr(callback, hook)(*args)

    def _call_listeners(self, kind: str, hook: str, batch: int, logs: Logs) -> None:
        """Like `_call`, for frequent hooks: finds once which callbacks override them."""
        if hook not in self._listeners:
            self._listeners[hook] = [
                getattr(callback, hook)
                for callback in self._active
                if getattr(callback, f"needs_{kind}_batches")
            ]
        for listener in self._listeners[hook]:
            listener(batch, logs=logs)

    def release(self) -> None:
        self._call("release")

    def __enter__(self) -> CallbackList:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    @contextmanager
    def released_at_error(self) -> Iterator[None]:
        """Return a context for an evaluation or prediction, after which all is released if it
        fails."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def on_train_progress(self, done: int, total: int | None) -> None:
        self._call("on_train_progress", done, total)


def _of_all(hook: str) -> Callable[..., None]:
    """Return the method that calls a hook of each callback."""
    kind = hook.split("_")[1]

    def of_batch(self: CallbackList, batch: int, logs: Logs = None) -> None:
        self._call_listeners(kind, hook, batch, logs)

    def of_epoch(self: CallbackList, epoch: int, logs: Logs = None) -> None:
        self._call(hook, epoch, logs)

    def of_whole(self: CallbackList, logs: Logs = None) -> None:
        self._call(hook, logs)

    called = of_batch if "batch" in hook else of_epoch if kind == "epoch" else of_whole
    return update_wrapper(called, getattr(Callback, hook))


_own = {*vars(CallbackList), "on_batch_begin", "on_batch_end"}
for _hook in vars(Callback):
    if _hook.startswith("on_") and _hook not in _own:
        setattr(CallbackList, _hook, _of_all(_hook))


def _savers_after_states(callbacks: list[Callback]) -> list[Callback]:
    """Keep the order, but move callbacks that save states behind those that have one."""
    end = len(callbacks)
    while end and not callbacks[end - 1].has_state:
        end -= 1
    return sorted(callbacks[:end], key=lambda callback: callback.saves_states) + callbacks[end:]


def _only_watches(callback: Callback) -> bool:
    declared = vars(type(callback)).get("only_watches", False)
    return declared and not any(name.startswith("on_") for name in vars(callback))


def _flatten(callbacks: Any) -> list[Callback]:
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback):
        return [callbacks]
    if isinstance(callbacks, Sequence) and not isinstance(callbacks, str):
        return [callback for entry in callbacks for callback in _flatten(entry)]
    raise TypeError(
        f"callbacks must be gpunn.callbacks.Callback objects; got {callbacks!r}"
        + (": the class itself, call it first." if isinstance(callbacks, type) else ".")
    )
