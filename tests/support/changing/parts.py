"""Custom parts of every kind that read a value, wherever it may be stored."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gpunn
from gpunn import layers, losses, metrics, ops, optimizers, regularizers

from .values import Kind

INPUTS, HIDDEN, OUTPUTS = 4, 3, 2


@dataclass
class Subject:
    """A compiled model and the value that one of its parts reads.

    Attributes:
        get, put: return the value, and replace it.
    """

    model: Any
    get: Callable[[], Any]
    put: Callable[[Any], None]

    def change(self, kind: Kind, how: str) -> None:
        if how == "replaced":
            self.put(kind.second())
        else:
            assert kind.mutate is not None
            kind.mutate(self.get())


class Reads:
    """An object with a value, and what is built from it."""

    value: Any
    read: Callable[[Any], Any]

    def holds(self, kind: Kind) -> Any:
        self.value, self.read = kind.first(), kind.read
        return self

    def factor(self) -> Any:
        return self.read(self.value)


class Scaled(Reads, layers.Layer):
    def call(self, x: Any) -> Any:
        return x * self.factor()


class Around(layers.Layer):
    """A layer that contains other layers."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def call(self, x: Any) -> Any:
        inner = self.inner[0] if isinstance(self.inner, list) else self.inner
        return ops.tanh(inner(x)) + x


class OfSettings(layers.Layer):
    """A layer whose values are stored in an object."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = {"all": [settings]}

    def call(self, x: Any) -> Any:
        return x * self.settings["all"][0].factor()


class OwnDense(Reads, layers.Dense):
    def call(self, x: Any) -> Any:
        return super().call(x) * self.factor()


class Network(Reads, gpunn.Model):
    def __init__(self, backend: Any) -> None:
        super().__init__(backend=backend)
        self.hidden, self.last = layers.Dense(HIDDEN, activation="tanh"), layers.Dense(OUTPUTS)

    def call(self, x: Any, training: Any = None) -> Any:
        return self.last(self.hidden(x) * self.factor())


class Distance(Reads, losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.abs(y_true - y_pred), axis=-1) * self.factor()


class Total(Reads, metrics.Metric):
    def __init__(self) -> None:
        super().__init__(name="own")
        self.sum = self.add_variable((), "zeros", name="sum")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.sum.assign_add(ops.sum(ops.abs(y_true - y_pred)) * self.factor())

    def result(self) -> Any:
        return self.sum


class Penalty(Reads, regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        return 0.1 * ops.sum(ops.square(x)) * self.factor()

    def get_config(self) -> dict[str, Any]:
        return {}


class Rate(Reads, optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> Any:
        return 0.02 * number(self.factor())


class Descent(Reads, optimizers.Optimizer):
    def update(
        self, backend: Any, w: Any, g: Any, slots: Any, learning_rate: Any, updates: Any, decay: Any
    ) -> None:
        w -= learning_rate * number(self.factor()) * g


class Curve(Reads):
    """An object that is called with a tensor."""

    def __call__(self, x: Any) -> Any:
        return ops.tanh(x) * self.factor()


def number(x: Any) -> float:
    return float(np.asarray(ops.convert_to_tensor(x)).reshape(()))


def network(
    backend: Any, middle: Any = None, optimizer: Any = None, loss: Any = "mse", metric: Any = None,
    **options: Any,
) -> Any:  # fmt: skip
    gpunn.utils.set_random_seed(3)
    chain = [layers.Dense(HIDDEN, **{"activation": "tanh", **options})]
    chain += [] if middle is None else [middle]
    model = gpunn.Sequential(
        [layers.Input((INPUTS,)), *chain, layers.Dense(OUTPUTS)], backend=backend
    )
    compile_model(model, optimizer, loss, metric)
    return model


def compile_model(model: Any, optimizer: Any = None, loss: Any = "mse", metric: Any = None) -> None:
    rate = gpunn.optimizers.SGD(0.02) if optimizer is None else optimizer
    model.compile(rate, loss, metrics=[] if metric is None else [metric])


def of(part: Any, make: Callable[[Any], Any]) -> Callable[[Kind, Any], Subject]:
    """Return the subject whose part is an object with the attribute ``value``."""

    def subject(kind: Kind, backend: Any) -> Subject:
        gpunn.utils.set_random_seed(2)
        own = part().holds(kind)
        model = make(own)(backend)
        return Subject(model, lambda: own.value, lambda value: setattr(own, "value", value))

    return subject


def in_network(name: str, around: Callable[[Any], Any] = lambda part: part) -> Any:
    return lambda own: lambda backend: network(backend, **{name: around(own)})


def custom_network(kind: Kind, backend: Any) -> Subject:
    gpunn.utils.set_random_seed(3)
    model = Network(backend).holds(kind)
    compile_model(model)
    return Subject(model, lambda: model.value, lambda value: setattr(model, "value", value))


Function = Callable[[Callable[[], Any]], Callable[..., Any]]


def of_functions(name: str, form: Function, wrap: Any = lambda f: f) -> Any:
    """Yield subjects whose part is a function that reads the value.

    The value is in a closure, in a global of its module, in an attribute of a global object, read
    by a function of its module, or a default.
    """

    def closure(kind: Kind, backend: Any) -> Subject:
        value = kind.first()

        def put(new: Any) -> None:
            nonlocal value
            value = new

        model = network(backend, **{name: wrap(form(lambda: kind.read(value)))})
        return Subject(model, lambda: value, put)

    def in_module(line: str, **further: Any) -> Callable[[Kind, Any], Subject]:
        def subject(kind: Kind, backend: Any) -> Subject:
            module = types.ModuleType("of_a_user")
            held = vars(module)
            held.update(read=kind.read, form=form, settings=Reads().holds(kind), value=kind.first())
            exec(f"def factor():\n    {line}\ndef function():\n    return read(value)", held)
            model = network(backend, **{name: wrap(form(held["factor"]))})
            if "settings" in line:
                settings = held["settings"]
                return Subject(
                    model, lambda: settings.value, lambda value: setattr(settings, "value", value)
                )
            return Subject(model, lambda: held["value"], lambda value: held.update(value=value))

        return subject

    return {
        "in a closure": closure,
        "global": in_module("return read(value)"),
        "attribute of a global": in_module("return settings.read(settings.value)"),
        "read by another function": in_module("return function()"),
    }


def class_attribute(kind: Kind, backend: Any) -> Subject:
    class Own(Scaled):
        value, read = kind.first(), staticmethod(kind.read)

    model = network(backend, Own())
    return Subject(model, lambda: Own.value, lambda value: setattr(Own, "value", value))


def lambda_arguments(kind: Kind, backend: Any) -> Subject:
    layer = layers.Lambda(lambda x, value: x * kind.read(value), arguments={"value": kind.first()})
    held = layer.arguments
    model = network(backend, layer)
    return Subject(model, lambda: held["value"], lambda value: held.update(value=value))


FUNCTIONS: dict[str, Any] = {
    "loss": of_functions(
        "loss", lambda factor: lambda t, p: ops.mean(ops.square(t - p), axis=-1) * factor()
    ),
    "metric": of_functions(
        "metric", lambda factor: lambda t, p: ops.mean(ops.square(t - p), axis=-1) * factor()
    ),
    "activation": of_functions("activation", lambda factor: lambda x: ops.tanh(x) * factor()),
    "Lambda": of_functions("middle", lambda factor: lambda x: x * factor(), layers.Lambda),
    "regularizer": of_functions(
        "kernel_regularizer", lambda factor: lambda w: 0.1 * ops.sum(ops.abs(w)) * factor()
    ),
    "activity regularizer": of_functions(
        "activity_regularizer", lambda factor: lambda x: 0.1 * ops.sum(ops.abs(x)) * factor()
    ),
    "constraint": of_functions(
        "kernel_constraint",
        lambda factor: lambda w: ops.clip(w, -0.5, 0.5) * (1 - 0.01 * factor()),
    ),
    "schedule": of_functions(
        "optimizer", lambda factor: lambda step: 0.02 * number(factor()), optimizers.SGD
    ),
}

PARTS: dict[str, Callable[[Kind, Any], Subject]] = {
    "layer": of(Scaled, in_network("middle")),
    "layer in a layer": of(Scaled, in_network("middle", Around)),
    "layer in a list": of(Scaled, in_network("middle", lambda own: Around([own]))),
    "layer in a model": of(
        Scaled, in_network("middle", lambda own: gpunn.Sequential([layers.Input((HIDDEN,)), own]))
    ),
    "object of a layer": of(Reads, in_network("middle", OfSettings)),
    "layer of a class of ours": of(
        lambda: OwnDense(HIDDEN, kernel_initializer="ones"), in_network("middle")
    ),
    "class of a layer": class_attribute,
    "arguments of a Lambda": lambda_arguments,
    "model": custom_network,
    "loss": of(Distance, in_network("loss")),
    "metric": of(Total, in_network("metric")),
    "activation": of(Curve, in_network("activation")),
    "regularizer": of(Penalty, in_network("kernel_regularizer")),
    "activity regularizer": of(Penalty, in_network("activity_regularizer")),
    "schedule": of(Rate, in_network("optimizer", optimizers.SGD)),
    "optimizer": of(lambda: Descent(0.02), in_network("optimizer")),
    **{
        f"{name} {where}": subject
        for name, subjects in FUNCTIONS.items()
        for where, subject in subjects.items()
    },
}
"""What makes a subject of a kind of value and a backend."""
