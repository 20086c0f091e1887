"""The playground in a notebook: it opens with a model and its data, and gives the model back."""

from __future__ import annotations

import copy
import tempfile
import weakref
import webbrowser
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from gpunn import losses
from gpunn.common.markup import element
from gpunn.common.names import snake_case
from gpunn.models import Model
from gpunn.saving import load_model

from .chain import chain_of
from .given import given
from .loopback import Loopback
from .playground import playground_page

HEIGHT = 760  # pixels of the frame
# Notebooks show a playground that no variable holds, too: the last of them stay open.
_LAST: deque[Playground] = deque(maxlen=8)


def playground(model: Model, x: Any, y: Any, *, class_names: list[str] | None = None) -> Playground:
    """Open the playground with a model, its weights and its data.

    In a notebook, as the last line of a cell, it is shown below the cell. `Playground.model` gives
    the model back, as it was trained or changed there. Elsewhere, call `Playground.open`.

    The page comes from this process, by an address that only this machine can reach. The browser
    must therefore run on the same machine.

    Args:
        model: a chain of up to eight hidden ``Dense`` layers of up to 24 units, each with an
            optional ``BatchNormalization``, ``Activation`` and ``Dropout`` after it. It is not
            changed. If it is compiled, the page has its loss and optimizer.
        x: one or two columns of numbers. Of more than 2,000 rows the page shows 2,000, evenly
            spread.
        y: numbers, classes from 0, or one-hot rows.
        class_names: names of the classes for the legend.

    Returns:
        the open `Playground`.

    Raises:
        TypeError: if ``model`` is not a model.
        ValueError: if the playground cannot show the model or the data; the message says what it
            can show.

    >>> import gpunn
    >>> from gpunn import playground
    >>> model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1)])
    >>> opened = playground(model, [[0.0, 1.0], [1.0, 0.0]], [0.5, 1.5])
    >>> opened.url.startswith("http://127.0.0.1:")
    True
    >>> opened.close()
    """
    if not isinstance(model, Model):
        raise TypeError(f"playground: model must be a gpunn model; got {model!r:.200}.")
    if not model.built:
        model.predict(np.asarray(x)[:1], verbose=0)
    opened = Playground(model, given(model, x, y, class_names))
    _LAST.append(opened)
    return opened


class Playground:
    """A playground that is open in a notebook or a browser, made by `gpunn.playground`.

    Attributes:
        url: its address, for browsers on this machine.
    """

    def __init__(self, model: Model, state: dict[str, Any]) -> None:
        self._given = copy.deepcopy(model)
        self._server = Loopback(playground_page(state))
        self._close = weakref.finalize(self, self._server.close)
        self.url = self._server.url

    @property
    def model(self) -> Any:
        """A copy of the model, as the page has sent it last.

        While layers, loss and optimizer are as in the given model, it is a copy of
        that model with the new weights. Otherwise it is a new `gpunn.Sequential` of what was chosen
        on the page.
        """
        sent = self._server.received
        if sent is None:
            return copy.deepcopy(self._given)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.gpunn"
            file.write_bytes(sent)
            found = load_model(file)
        own = self._given
        if chain_of(found) != chain_of(own):
            return _for_same_targets(found, own)
        if own.optimizer is not None and _settings(found) != _settings(own):
            return _for_same_targets(found, own)
        same = copy.deepcopy(own)
        same.set_weights(found.get_weights())
        return same

    def open(self) -> None:
        """Open the page in the browser, outside of a notebook."""
        if not webbrowser.open(self.url):
            print(f"No browser was found: open {self.url} yourself.")

    def close(self) -> None:
        """Stop the server: the page stays open, but sends nothing more. `model` stays as it is."""
        self._close()

    def __repr__(self) -> str:
        return f"<gpunn playground at {self.url}>"

    def _repr_html_(self) -> str:
        frame = element(
            "iframe", src=self.url, width="100%", height=str(HEIGHT), allow="clipboard-write",
            title="gpunn playground", frameborder="0",
        )
        hint = element(
            "p", "If the frame is empty, the kernel has stopped or runs on another machine."
        )
        return f"{frame}{hint}"


def _settings(model: Any) -> tuple[str, str, dict[str, Any]]:
    """Return what of a compiled model can be chosen on the page."""
    config = model.optimizer.get_config()
    config["learning_rate"] = np.float32(model.optimizer.learning_rate)
    usual = type(model.optimizer)().get_config()
    changed = {name: value for name, value in config.items() if (value or 0) != (usual[name] or 0)}
    loss = _loss_name(model).removeprefix("sparse_")
    return loss, type(model.optimizer).__name__, {**changed, "name": None}


def _loss_name(model: Any) -> str:
    loss = (model.get_compile_config() or {}).get("loss")
    return snake_case(type(losses.get(loss)).__name__) if loss else ""


def _for_same_targets(found: Any, own: Any) -> Any:
    """Compile a model from the page for integer classes, if the one that was given takes these."""
    loss = _loss_name(own)
    if loss.startswith("sparse_") and _loss_name(found) == loss.removeprefix("sparse_"):
        found.compile(found.optimizer, loss)
    return found
