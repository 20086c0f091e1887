"""Test every pair of training options against a plain loop written here.

Parity between backends cannot show that all of them are wrong in the same way."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from properties.pairwise import pairwise

import gpunn
from gpunn import callbacks, layers
from gpunn.optimizers import SGD, Adagrad, Adam, RMSprop

OPTIONS: dict[str, tuple[Any, ...]] = {
    "optimizer": ("SGD", "Adam", "Adagrad", "RMSprop"),
    "clip": (None, "clipnorm", "clipvalue", "global_clipnorm"),
    "frozen": (None, "first", "middle for an epoch"),
    "average": (None, "at the end", "now and then"),
    "decay": (None, "all", "kernels"),
    "penalty": (None, "l1", "l2"),
    "accumulated": (1, 3),
    "schedule": (False, True),
    "resumed": (False, True),
    "weighted": (False, True),
    "rows": (24, 20),  # the last of four batches is as large as the others, or smaller
    "slow": (False, True),  # the output layer learns at half the rate
    "scaled": (None, 64.0),
}
CASES = pairwise(OPTIONS)

BATCH, EPOCHS = 6, 3
LAYERS = ("first", "middle", "output")
RATE, DECAY, LIMIT, KEEP, OVERWRITE, PENALTY = 0.05, 0.2, 0.02, 0.75, 2, 0.03
EPSILON = 0.1  # so large that its position matters

RANDOM = np.random.default_rng(12)
X, Y = RANDOM.normal(size=(24, 5)), RANDOM.normal(size=(24, 3))
WEIGHTS = RANDOM.uniform(0.2, 2.0, 24)
FIRST = {
    f"{layer}/{name}": RANDOM.normal(size=shape)
    for layer, inputs, units in zip(LAYERS, (5, 4, 4), (4, 4, 3), strict=True)
    for name, shape in (("kernel", (inputs, units)), ("bias", (units,)))
}


def phases(case: dict[str, Any]) -> list[tuple[int, int, str | None]]:
    """The first epoch, the end epoch (exclusive), and the frozen layer."""
    if case["frozen"] == "middle for an epoch":
        return [(0, 1, None), (1, 2, "middle"), (2, 3, None)]
    return [(0, EPOCHS, case["frozen"])]


# -- in plain NumPy


class Loop:
    """The same training as a loop over batches, with each parameter on its own, by name."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.w = {name: value.copy() for name, value in FIRST.items()}
        self.slots: dict[str, dict[str, Any]] = {
            name: {
                "sum": 0.0, "average": w.copy(), "m": 0.0,
                "v": 0.1 if case["optimizer"] == "Adagrad" else 0.0,
            }
            for name, w in self.w.items()
        }  # fmt: skip
        self.steps = self.updates = 0

    def train(self) -> list[float]:
        """Return the loss of each epoch."""
        losses = []
        for begin, end, frozen in phases(self.case):
            self.trained = [name for name in self.w if not name.startswith(f"{frozen}/")]
            for name in self.w:
                if name not in self.trained:  # its accumulated sum is not used later
                    self.slots[name]["sum"] = 0.0
            for _ in range(begin, end):
                losses.append(self.epoch())
            if self.case["average"]:
                for name in self.trained:
                    self.w[name] = self.slots[name]["average"].copy()
        return losses

    def epoch(self) -> float:
        total, rows = 0.0, self.case["rows"]
        for at in range(0, rows, BATCH):
            rows_here = slice(at, min(at + BATCH, rows))
            x, y = X[rows_here], Y[rows_here]
            weights = WEIGHTS[rows_here] if self.case["weighted"] else np.ones(len(x))
            loss, gradients = self.gradients(x, y, weights)
            total += loss * len(x)
            self.step(gradients)
        return total / rows

    def gradients(self, x: Any, y: Any, weights: Any) -> tuple[float, dict[str, Any]]:
        w, a = self.w, [x]
        for layer in LAYERS:
            z = a[-1] @ w[f"{layer}/kernel"] + w[f"{layer}/bias"]
            a.append(z if layer == "output" else np.tanh(z))
        loss = float(np.sum(weights * np.mean((a[-1] - y) ** 2, axis=1)) / len(x))
        dz = 2 * (a.pop() - y) * weights[:, None] / y.size
        found = {}
        for layer in reversed(LAYERS):
            below = a.pop()
            found[f"{layer}/kernel"] = below.T @ dz
            found[f"{layer}/bias"] = dz.sum(axis=0)
            dz = (dz @ w[f"{layer}/kernel"].T) * (1 - below**2)
        for name in self.trained:
            if name.endswith("kernel") and self.case["penalty"] == "l1":
                loss += PENALTY * np.abs(w[name]).sum()
                found[name] = found[name] + PENALTY * np.sign(w[name])
            elif name.endswith("kernel") and self.case["penalty"] == "l2":
                loss += PENALTY * np.square(w[name]).sum()
                found[name] = found[name] + PENALTY * 2 * w[name]
        return loss, {name: found[name] for name in self.trained}

    def step(self, gradients: dict[str, Any]) -> None:
        case, every = self.case, self.case["accumulated"]
        before = self.updates
        self.steps += 1
        for name in gradients:
            self.slots[name]["sum"] = self.slots[name]["sum"] + gradients[name]
        if self.steps % every == 0:
            mean = {name: self.slots[name]["sum"] / every for name in gradients}
            for slots in self.slots.values():
                slots["sum"] = 0.0
            mean = self.clipped(mean)
            for name, g in mean.items():
                self.update(name, g)
            self.updates += 1
        if case["average"]:  # as in Keras: after each step, whether or not it was an update
            keep = KEEP if before else 0.0
            for name in gradients:
                slots = self.slots[name]
                slots["average"] = keep * slots["average"] + (1 - keep) * self.w[name]
                if case["average"] == "now and then" and (before + 1) % OVERWRITE == 0:
                    self.w[name] = slots["average"].copy()

    def clipped(self, gradients: dict[str, Any]) -> dict[str, Any]:
        by = self.case["clip"]
        if by == "clipvalue":
            return {name: np.clip(g, -LIMIT, LIMIT) for name, g in gradients.items()}
        norms = {name: np.sqrt(np.sum(g**2)) for name, g in gradients.items()}
        if by == "global_clipnorm":
            norms = dict.fromkeys(norms, np.sqrt(sum(n**2 for n in norms.values())))
        elif by is None:
            return gradients
        return {name: g * min(1.0, LIMIT / norms[name]) for name, g in gradients.items()}

    def update(self, name: str, g: Any) -> None:
        w, slots, t = self.w[name], self.slots[name], self.updates + 1
        before = self.steps - 1  # a schedule counts batches
        rate = RATE * (0.8 ** (before / 3) if self.case["schedule"] else 1.0)
        rate *= 0.5 if self.case["slow"] and name.startswith("output/") else 1.0
        if self.case["decay"] == "all" or (self.case["decay"] and name.endswith("kernel")):
            w = w - rate * DECAY * w
        if self.case["optimizer"] == "SGD":
            slots["m"] = 0.9 * slots["m"] - rate * g
            w = w + slots["m"]
        elif self.case["optimizer"] == "Adam":
            slots["m"] = 0.9 * slots["m"] + 0.1 * g
            slots["v"] = 0.99 * slots["v"] + 0.01 * g**2
            corrected = rate * np.sqrt(1 - 0.99**t) / (1 - 0.9**t)
            w = w - corrected * slots["m"] / (np.sqrt(slots["v"]) + EPSILON)
        elif self.case["optimizer"] == "Adagrad":
            slots["v"] = slots["v"] + g**2
            w = w - rate * g / np.sqrt(slots["v"] + EPSILON)
        else:
            slots["v"] = 0.9 * slots["v"] + 0.1 * g**2
            w = w - rate * g / np.sqrt(slots["v"] + EPSILON)
        self.w[name] = w


# -- and with fit


class Crash(Exception):
    pass


class Crashing(callbacks.Callback):
    """Ends a run after the first batch of its second epoch, in the middle of an accumulation."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.epoch == 1:
            raise Crash


def optimizer(case: dict[str, Any]) -> Any:
    kinds = {
        "SGD": lambda **o: SGD(momentum=0.9, **o),
        "Adam": lambda **o: Adam(beta_2=0.99, epsilon=EPSILON, **o),
        "Adagrad": lambda **o: Adagrad(epsilon=EPSILON, **o),
        "RMSprop": lambda **o: RMSprop(rho=0.9, epsilon=EPSILON, **o),
    }
    schedule = gpunn.optimizers.schedules.ExponentialDecay(RATE, 3, 0.8)
    return kinds[case["optimizer"]](
        learning_rate=schedule if case["schedule"] else RATE,
        weight_decay=DECAY if case["decay"] else None,
        use_ema=bool(case["average"]),
        ema_momentum=KEEP,
        ema_overwrite_frequency=OVERWRITE if case["average"] == "now and then" else None,
        loss_scale_factor=case["scaled"],
        gradient_accumulation_steps=case["accumulated"] if case["accumulated"] > 1 else None,
        **({case["clip"]: LIMIT} if case["clip"] else {}),
    )


def network(case: dict[str, Any], backend: str) -> Any:
    kinds = {None: None, "l1": gpunn.regularizers.L1(PENALTY), "l2": gpunn.regularizers.L2(PENALTY)}
    penalty = {"kernel_regularizer": kinds[case["penalty"]]}
    slow = {"learning_rate_multiplier": 0.5} if case["slow"] else {}
    model = gpunn.Sequential(
        [
            layers.Input((5,)),
            layers.Dense(4, "tanh", name="first", **penalty),
            layers.Dense(4, "tanh", name="middle", **penalty),
            layers.Dense(3, name="output", **penalty, **slow),
        ],
        dtype="float64", backend=backend, name="network",
    )  # fmt: skip
    if case["decay"] == "kernels":
        for parameter in model.weights:
            parameter.decay = parameter.name == "kernel"
    model.set_weights(list(FIRST.values()))
    model.compile(optimizer(case), "mse")
    return model


def fitted(case: dict[str, Any], backend: str, folder: Path) -> tuple[Any, list[float]]:
    """The model, and the loss of each epoch."""
    rows, model, losses = case["rows"], network(case, backend), []
    weights = WEIGHTS[:rows] if case["weighted"] else None

    def fit(model: Any, begin: int, end: int, frozen: str | None, *listeners: Any) -> list[float]:
        for layer in model.layers:
            layer.trainable = layer.name != frozen
        history = model.fit(
            X[:rows], Y[:rows], batch_size=BATCH, initial_epoch=begin, epochs=end,
            sample_weight=weights, shuffle=False, verbose=0, callbacks=list(listeners),
        )  # fmt: skip
        return list(history.history["loss"])

    for begin, end, frozen in phases(case):
        if case["resumed"] and begin <= 1 < end:
            with pytest.raises(Crash):
                backup = callbacks.BackupAndRestore(folder, save_freq=1)
                fit(model, begin, end, frozen, backup, Crashing())
            model = network(case, backend)
            backup = callbacks.BackupAndRestore(folder, save_freq=1)
            losses += fit(model, begin, end, frozen, backup)
        else:
            losses += fit(model, begin, end, frozen)
    return model, losses


def label(case: dict[str, Any]) -> str:
    return ", ".join(
        str(value) if isinstance(value, str) else f"{name} {value}"
        for name, value in case.items()
        if value not in (None, False)
    )


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
@pytest.mark.parametrize("case", CASES, ids=label)
def test_two_options_together(case: dict[str, Any], backend: str, tmp_path: Path) -> None:
    loop = Loop(case)
    expected = loop.train()
    model, losses = fitted(case, backend, tmp_path)
    np.testing.assert_allclose(losses, expected[-len(losses) :], rtol=1e-10)
    for path, values in model.weights_dict().items():
        np.testing.assert_allclose(values, loop.w[path], rtol=1e-8, atol=1e-11, err_msg=path)


def test_every_two_values_meet() -> None:
    for a, b in combinations(OPTIONS, 2):
        together = {(case[a], case[b]) for case in CASES}
        assert together == set(product(OPTIONS[a], OPTIONS[b])), (a, b)
    assert len(CASES) < 2 * len(OPTIONS["optimizer"]) * len(OPTIONS["clip"])
