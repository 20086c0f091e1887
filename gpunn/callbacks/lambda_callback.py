"""A callback built from functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn.common.names import closest

from .callback import Callback

Hook = Callable[..., Any] | None


class LambdaCallback(Callback):
    """Calls the functions given for the hooks of the same names.

    Args:
        on_epoch_begin, on_epoch_end: called with ``(epoch, logs)``.
        on_train_begin, on_train_end: called with ``(logs)``.
        on_train_batch_begin, on_train_batch_end: called with ``(batch, logs=logs)``.
        **kwargs: any other hook of `Callback`.

    Raises:
        TypeError: for the name of a hook that does not exist, or a value that is
            not a function.

    >>> from gpunn.callbacks import LambdaCallback
    >>> shout = LambdaCallback(on_train_end=lambda logs: print("done"))
    >>> shout.on_train_end(None)
    done
    """

    def __init__(
        self,
        on_epoch_begin: Hook = None,
        on_epoch_end: Hook = None,
        on_train_begin: Hook = None,
        on_train_end: Hook = None,
        on_train_batch_begin: Hook = None,
        on_train_batch_end: Hook = None,
        **kwargs: Hook,
    ) -> None:
        named = {name: hook for name, hook in locals().items() if name.startswith("on_")}
        hooks = [name for name in dir(Callback) if name.startswith("on_")]
        for name, function in {**named, **kwargs}.items():
            if name not in hooks:
                raise TypeError(f"Callbacks have no hook {name!r}.{closest(name, hooks)}")
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"{name} must be a function; got {function!r}.")
            setattr(self, name, function)
