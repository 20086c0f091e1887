"""A configuration as a model of Keras or gpunn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .drawing import Config, Part


def _made(module: Any, kind: str, part: Any) -> Any:
    """Create the object of a part; return a name as it is."""
    if isinstance(part, list):
        return getattr(getattr(module, kind), part[0])(**part[1])
    return part


def _layer(module: Any, part: Part, **more: Any) -> Any:
    name, given = part[0], {**part[1], **more}
    for key, value in given.items():
        kind = key.rpartition("_")[2] + "s"
        if kind in ("regularizers", "constraints"):
            given[key] = _made(module, kind, value)
    return getattr(module.layers, name)(**given)


def _custom_layer(module: Any, **options: Any) -> Any:
    class Own(module.layers.Layer):  # type: ignore[misc]
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="w")
            self.b = self.add_weight(shape=(1,), initializer="zeros", name="b")

        def call(self, x: Any) -> Any:
            return module.ops.tanh(x * self.w + self.b) + module.ops.relu(x)

    return Own(**options)


def _apply(module: Any, part: Part, x: Any, frozen: bool) -> Any:
    given = dict(part[1])
    options = {"trainable": False} if frozen else {}
    if part[0] == "residual":
        merge = getattr(module.layers, given.pop("merge"))()
        return merge([x, module.layers.Dense(x.shape[-1], **given, **options)(x)])
    if part[0] == "twice":
        layer = module.layers.Dense(x.shape[-1], **given, **options)
        return layer(layer(x))
    return _one_layer(module, part, options)(x)


def _one_layer(module: Any, part: Part, options: Config) -> Any:
    return _custom_layer(module, **options) if part[0] == "own" else _layer(module, part, **options)


def model_of(module: Any, config: Config, **of: Any) -> Any:
    """The uncompiled model."""
    if config["chain"]:
        chain = [module.Input(tuple(config["shape"]))]
        for number, part in enumerate(config["body"]):
            frozen = {"trainable": False} if number == config["frozen"] else {}
            chain.append(_one_layer(module, part, frozen))
        head = config["heads"][0]
        chain.append(module.layers.Dense(head["units"], head["activation"]))
        return module.Sequential(chain, **of)
    inputs = [
        module.Input(tuple(config["shape"]), name=f"in{k}") for k in range(config["inputs"])
    ]
    x = inputs[0] if len(inputs) == 1 else module.layers.Concatenate()(inputs)
    for number, part in enumerate(config["body"]):
        x = _apply(module, part, x, number == config["frozen"])
    outputs = [
        module.layers.Dense(head["units"], head["activation"], name=f"out{k}")(x)
        for k, head in enumerate(config["heads"])
    ]
    one = [part[0] if len(part) == 1 else part for part in (inputs, outputs)]
    return module.Model(*one, **of)


def _custom_loss_function(module: Any, scale: float) -> Callable[[Any, Any], Any]:
    def own(y_true: Any, y_pred: Any) -> Any:
        error = module.ops.subtract(y_true, y_pred)
        return module.ops.mean(scale * module.ops.square(error) ** 0.75, axis=-1)

    return own


def _loss(module: Any, head: Config) -> Any:
    loss = head["loss"]
    if isinstance(loss, list) and loss[0] == "function":
        return getattr(module.losses, loss[1]["name"])
    if isinstance(loss, list) and loss[0] == "own":
        function = _custom_loss_function(module, loss[1]["scale"])
        return function if loss[1]["as"] == "function" else _custom_loss_class(module, function)
    return _made(module, "losses", loss)


def _custom_loss_class(module: Any, function: Callable[..., Any]) -> Any:
    class OwnLoss(module.losses.Loss):  # type: ignore[misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return function(y_true, y_pred)

    return OwnLoss()


def _custom_metric_class(module: Any) -> Any:
    class OwnMetric(module.metrics.Metric):  # type: ignore[misc]
        def __init__(self, name: str = "custom_metric") -> None:
            super().__init__(name=name)
            self.total = self.add_weight(shape=(), initializer="zeros", name="total")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            error = module.ops.abs(module.ops.subtract(y_true, y_pred))
            self.total.assign(self.total + module.ops.cast(module.ops.sum(error), "float32"))

        def result(self) -> Any:
            return self.total / 2

    return OwnMetric()


def _metric(module: Any, part: Any) -> Any:
    if isinstance(part, list) and part[0] == "own class":
        return _custom_metric_class(module)
    if isinstance(part, list) and part[0] == "function":
        return getattr(module.metrics, part[1]["name"])
    if isinstance(part, list) and part[0] == "own function":

        def custom_function(y_true: Any, y_pred: Any) -> Any:
            return module.ops.max(module.ops.abs(module.ops.subtract(y_true, y_pred)), axis=-1)

        return custom_function
    return _made(module, "metrics", part)


def optimizer_of(module: Any, config: Config) -> Any:
    given = dict(config["optimizer"]["arguments"])
    rate = given["learning_rate"]
    if isinstance(rate, list):
        name, arguments = rate
        start = {} if name in ("PiecewiseConstantDecay", "function") else {
            "initial_learning_rate": config["optimizer"]["rate"]
        }  # fmt: skip
        if name == "function":
            given["learning_rate"] = _constant(config["optimizer"]["rate"])
        else:
            schedule = getattr(module.optimizers.schedules, name)
            given["learning_rate"] = schedule(**start, **arguments)
    return getattr(module.optimizers, config["optimizer"]["name"])(**given)


def _constant(rate: float) -> Callable[[], float]:
    return lambda: rate


def compile_model(module: Any, model: Any, config: Config, optimizer: Any = None) -> None:
    heads = config["heads"]
    each: dict[str, Any] = {
        "loss": [_loss(module, head) for head in heads],
        "metrics": [[_metric(module, m) for m in head["metrics"]] for head in heads],
        "weighted_metrics": [[_metric(module, m) for m in head["weighted"]] for head in heads],
    }
    if len(heads) == 1:
        each = {name: values[0] for name, values in each.items()}
    elif config["by_name"]:
        each = {
            name: {f"out{k}": value for k, value in enumerate(values)}
            for name, values in each.items()
        }
    weights = config.get("loss_weights")
    if weights is not None:
        each["loss_weights"] = weights
    model.compile(optimizer or optimizer_of(module, config), **each)
