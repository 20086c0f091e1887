"""Networks of a search that train one fit after another.

Fits of one structure and seed begin with the same weights. One network, built, compiled and traced
once, trains them in turn, each as if it were new. Nobody may see the network of another fit: this
is for estimators that a search drops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from gpunn.apps.many.kept import digest
from gpunn.common.random import seeded_context
from gpunn.feeding.memory import Kept
from gpunn.models import Model

from .estimator import GpunnEstimator
from .preparation import Pending, Prepared

# Parameters that may differ between fits on one set of rows, and between fits by one network.
NOT_OF_ROWS = frozenset({
    "activation", "dropout", "epochs", "hidden_layer_sizes", "learning_rate", "n_iter_no_change",
    "optimizer", "tol",
})  # fmt: skip
NOT_OF_NETWORK = frozenset({"epochs", "learning_rate", "n_iter_no_change", "tol"})
COPIED = 1 << 24  # bytes of rows up to which a network has its own place for them
NUMBERS = (int, float, np.integer, np.floating)


class Networks:
    """The networks of some fits, and the rows that they train on, which are prepared once."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, tuple[Prepared, dict[str, Any]]] = {}
        self._arrays: dict[str, tuple[Any, Any]] = {}
        self._checked: set[Hashable] = set()
        self._turns = Counter[Hashable]()
        self._alike: dict[Hashable, list[_Network]] = {}

    def lent(
        self, estimator: GpunnEstimator, given: tuple[Any, Any, Any], key: str
    ) -> Lent | None:
        """Return the training of a new estimator, or None if its network is to be its own.

        Args:
            given: X, y and the weights.
            key: of these rows.
        """
        parameters = estimator.get_params(deep=False)
        kinds = {name: plain(value) for name, value in parameters.items()}
        seed, rate = parameters["random_state"], parameters["learning_rate"]
        is_known = isinstance(seed, (int, np.integer)) and isinstance(rate, (*NUMBERS, type(None)))
        if None in kinds.values() or not is_known:
            return None
        checked = tuple(kind for name, kind in kinds.items() if name != "learning_rate")
        if checked not in self._checked:
            estimator._check_parameters()
            self._checked.add(checked)
        of_rows = key, *(kind for name, kind in kinds.items() if name not in NOT_OF_ROWS)
        if of_rows in self._rows:
            rows, known = self._rows[of_rows]
            estimator.__dict__.update(known)
        else:
            rows = estimator._prepared(*given, first=True)
            known = {n: value for n, value in vars(estimator).items() if n not in parameters}
            if rows.y is not None:  # not batches, which one training reads
                arrays = rows.x, rows.y
                rows.x, rows.y = self._arrays.setdefault(digest([*arrays]), arrays)
                self._rows[of_rows] = rows, known
        of_network = (
            rows.columns, tuple(rows.units), known.get("_kind"), rate is None,
            *(kind for name, kind in kinds.items() if name not in NOT_OF_NETWORK),
        )  # fmt: skip
        self._turns[of_network] += 1
        free = self._alike.setdefault(of_network, [])
        return Lent(free, estimator, rows, self._turns[of_network])


class _Network:
    """A network that trains one fit after another."""

    def __init__(self, estimator: GpunnEstimator, rows: Prepared) -> None:
        seeded_context(rows.seed).run(estimator._build, rows.columns, rows.units)
        self.model: Model = estimator.model_
        trainer = self.model._training.current_trainer()
        self._set_back: Callable[[], None] = trainer.setting_back()
        self._weights = [trainer.storage.values, trainer.storage.state]
        self._places: dict[Any, np.ndarray] = {}
        self.kept = Kept()  # of its rows

    def renew(self, rate: Any) -> None:
        """Let it be as a new one of this learning rate; None for the optimizer's own."""
        self._set_back()
        if rate is not None:
            self.model.optimizer.learning_rate = rate

    @property
    def is_free(self) -> bool:
        """Whether it is on this computer's cores, and holds nothing that the next fit would see."""
        model = self.model
        return model.backend.xp is np and model._training.current_trainer().is_simple

    def weights(self) -> list[np.ndarray]:
        return [array.copy() for array in self._weights]

    def take_weights(self, weights: list[np.ndarray]) -> None:
        for array, values in zip(self._weights, weights, strict=True):
            array[...] = values

    def placed(self, name: Any, given: Any) -> Any:
        """Return rows where those of the fit before were: programs contain the address."""
        if isinstance(given, list):
            return [self.placed((name, k), entry) for k, entry in enumerate(given)]
        if not isinstance(given, np.ndarray) or given.nbytes > COPIED:
            return given
        dtype = np.dtype(np.int32) if given.dtype == np.int64 else given.dtype  # classes
        key = name, given.shape, dtype
        if key not in self._places:
            self._places[key] = np.empty(given.shape, dtype)
        np.copyto(self._places[key], given, casting="same_kind")
        return self._places[key]


class Lent:
    """A network for the fit of an estimator, while it trains and while it predicts.

    Args:
        free: networks that differ in their learning rates alone and train no fit now.
        turn: of the fit among those of such networks.
    """

    def __init__(
        self, free: list[_Network], estimator: GpunnEstimator, rows: Prepared, turn: int
    ) -> None:
        self._free, self._estimator, self._rows, self.turn = free, estimator, rows, turn
        self._network: _Network | None = None
        self._weights: list[np.ndarray] | None = None
        epochs, model = int(estimator.epochs), self._any().model
        self.pending: Pending = estimator._pending(rows, epochs, first=True, model=model)

    def _any(self) -> _Network:
        """Return one of the free networks."""
        if not self._free:
            self._free.append(_Network(self._estimator, self._rows))
        return self._free[-1]

    def take(self) -> _Network:
        """Return a network that is as a new one, which the fit has alone until `give_back`."""
        try:
            network = self._free.pop()
        except IndexError:  # others train those that there are
            network = _Network(self._estimator, self._rows)
        network.renew(self._estimator.learning_rate)
        self._network, self._estimator.model_ = network, network.model
        return network

    def give_back(self) -> None:
        """Keep the weights, and let other fits have the network."""
        network = self._network
        if network is not None and network.is_free:
            self._weights = network.weights()
            self._free.append(network)

    def show(self) -> None:
        """Let the estimator predict, until `show` of another one."""
        if self._weights is not None:
            network = self._any()
            network.take_weights(self._weights)
            self._estimator.model_ = network.model


def plain(value: Any) -> Hashable:
    """Return what is equal for equal numbers, texts, None, and lists and dictionaries of them; None
    for anything else.

    >>> plain((1, "a")) == plain((1, "a")) != plain((True, "a")), plain([object()])
    (True, None)
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value), value
    if type(value) is dict:
        value = [part for pair in value.items() for part in pair]
    elif type(value) not in (list, tuple):
        return None
    found = tuple(map(plain, value))
    return None if None in found else (type(value), found)
