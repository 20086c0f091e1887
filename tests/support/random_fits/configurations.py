"""Randomly drawn training runs."""

from __future__ import annotations

from .drawing import Config, Draw, Part
from .heads import head_of
from .networks import body_of

AFTER = (
    "fit again", "compile again", "train on a batch", "test on a batch", "freeze", "set a rate",
    "by classes", "in steps", "weights as at first",
)  # fmt: skip


def configuration(number: int, seed: int = 0) -> Config:
    """Return the configuration with this number in the series of a seed."""
    d = Draw([seed, number])
    rows, kind = d.whole(9, 18), d.one(["table"] * 5 + ["image"] * 2 + ["steps"] * 2)
    shape = {"table": [d.whole(2, 5)], "image": [6, 6, d.whole(1, 2)], "steps": [3, 4]}[kind]
    outputs = 2 if kind != "steps" and d.chance(0.3) else 1
    config: Config = {
        "number": number,
        "seed": seed,
        "dtype": "float32" if d.chance(0.15) else "float64",
        "rows": rows,
        "kind": kind,
        "shape": shape,
        "inputs": 2 if kind == "table" and d.chance(0.2) else 1,
        "body": body_of(d, kind),
        "heads": [head_of(d, kind) for _ in range(outputs)],
    }
    if outputs > 1:
        config["loss_weights"] = d.one([None, [0.5, 2.0], [1.0, 0.0], {"out0": 0.3, "out1": 1.0}])
        config["by_name"] = d.chance(0.5)
    elif d.chance(0.1):
        config["loss_weights"] = [d.between(0.1, 3)]
    # Layers before a batch normalization may have gradients that are only rounding errors, which
    # other optimizers divide by their own size.
    normalized = any(part[0] == "BatchNormalization" for part in config["body"])
    config["optimizer"] = _optimizer(d, "SGD" if normalized else None)
    config["fit"] = fit_drawn(d, config)
    config["callbacks"] = callbacks_drawn(d, config)
    config["after"] = d.some(AFTER, 1)
    config["frozen"] = d.one(range(len(config["body"]))) if d.chance(0.15) else None
    plain = not any(part[0] in ("residual", "twice") for part in config["body"])
    config["chain"] = plain and config["inputs"] == outputs == 1 and d.chance(0.5)
    config["x"] = d.one(["float64", "float32", "float32", "int32", "uint8"])
    config["named"] = config["inputs"] > 1 and d.chance(0.5)
    return config


def _schedule(d: Draw, rate: float) -> Part:
    return d.one(
        [
            ["ExponentialDecay", {"decay_steps": 3, "decay_rate": 0.7, "staircase": d.chance(0.5)}],
            ["PolynomialDecay", {"decay_steps": 6, "end_learning_rate": rate / 10, "power": 2.0,
                                 "cycle": d.chance(0.5)}],
            ["InverseTimeDecay", {"decay_steps": 3, "decay_rate": 0.5}],
            ["CosineDecay", {"decay_steps": 7, "alpha": 0.1}],
            ["CosineDecay", {"decay_steps": 7, "warmup_target": 2 * rate, "warmup_steps": 3}],
            ["CosineDecayRestarts", {"first_decay_steps": 3, "t_mul": 1.5, "m_mul": 0.8}],
            ["PiecewiseConstantDecay", {"boundaries": [2, 5], "values": [rate, rate / 2, rate]}],
            ["function", {}],
        ]
    )  # fmt: skip


OPTIMIZERS: dict[str, list[Config]] = {
    "SGD": [{}, {"momentum": 0.8}, {"momentum": 0.8, "nesterov": True}],
    "Adam": [{}, {"amsgrad": True}, {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 0.01}],
    "AdamW": [{}, {"weight_decay": 0.1}],
    "Adamax": [{}],
    "Nadam": [{}],
    "RMSprop": [{}, {"momentum": 0.5}, {"centered": True, "rho": 0.7}],
    "Adagrad": [{}, {"initial_accumulator_value": 0.5}],
    "Adadelta": [{}, {"rho": 0.8}],
    "Lion": [{}],
    "Lamb": [{}],
}


def _optimizer(d: Draw, name: str | None) -> Config:
    name = name or d.one(["SGD", "SGD", "Adam", "Adam", *OPTIMIZERS])
    rate = d.between(0.002, 0.03) if name not in ("SGD", "Adadelta") else d.between(0.01, 0.1)
    arguments = {"learning_rate": rate, **d.one(OPTIMIZERS[name])}
    if d.chance(0.3):
        arguments["learning_rate"] = _schedule(d, rate)
    arguments |= d.options(
        weight_decay=(0.15, lambda: d.one([0.01, 0.1])),
        use_ema=(0.15, lambda: True),
        gradient_accumulation_steps=(0.2, lambda: d.whole(2, 3)),
        loss_scale_factor=(0.1, lambda: 8.0),
    )
    if arguments.get("use_ema"):
        arguments["ema_momentum"] = d.between(0.3, 0.95)
        arguments["ema_overwrite_frequency"] = d.one([None, 1, 2, 3])
    clips = ["clipnorm", "clipvalue", "global_clipnorm"]
    if d.chance(0.25):
        arguments[d.one(clips)] = d.one([0.05, 0.5])
    return {"name": name, "rate": rate, "arguments": arguments}


def fit_drawn(d: Draw, config: Config) -> Config:
    rows, several = config["rows"], len(config["heads"]) > 1
    batch = d.one([4, 5, 7, rows, None])
    fit: Config = {"epochs": d.whole(1, 3), "batch_size": batch}
    fit |= d.options(initial_epoch=(0.1, lambda: 1), steps_per_epoch=(0.2, lambda: d.whole(1, 5)))
    fit["epochs"] += fit.get("initial_epoch", 0)
    fit["data"] = d.one(["arrays"] * 5 + ["generator", "data set", "lists"])
    validation = d.one([None, "split", "data", "data", "weighted data", "generator", "data set"])
    if validation == "split" and fit["data"] in ("generator", "data set"):
        validation = "data"
    fit["validation"] = validation
    if validation is not None:
        fit |= d.options(
            validation_steps=(0.2, lambda: d.whole(1, 3)),
            validation_batch_size=(0.3, lambda: d.whole(2, 9)),
            validation_freq=(0.3, lambda: d.one([1, 2, 3, [1, 3], [2]])),
        )
    if validation == "split":
        fit["validation_split"] = d.between(0.1, 0.5)
    if fit["data"] == "generator":
        fit["steps_per_epoch"] = fit.get("steps_per_epoch") or d.whole(1, 4)
    if fit["data"] in ("generator", "data set"):
        fit["batch_size"] = batch if batch in (4, 5, 7) else 6
    if validation == "generator":
        fit["validation_steps"] = fit.get("validation_steps") or 2
    labelled = config["heads"][0]["task"] in ("bits", "classes", "sparse")
    one_class = config["heads"][0]["units"] in (1, 3) and config["kind"] != "steps"
    weights = d.one([None, None, "rows", "rows", "classes"])
    if weights == "classes":
        bits = config["heads"][0]["task"] == "bits" and config["heads"][0]["units"] > 1
        fine = labelled and one_class and not several and not bits
        weights = "classes" if fine and fit["data"] != "generator" else "rows"
    fit["weights"] = weights
    if weights == "rows" and config["kind"] == "steps":  # Keras rejects sample weights there
        fit["weights"] = "steps"
    if several and weights == "rows":
        # With an ignored class, Keras changes weights in place, also those of the other outputs.
        losses = [head["loss"][1] for head in config["heads"] if isinstance(head["loss"], list)]
        ignored = any("ignore_class" in given for given in losses)
        fit["weights"] = "of each" if ignored else d.one(["rows", "of each"])
    return fit


def callbacks_drawn(d: Draw, config: Config) -> list[Part]:
    monitors = ["loss"]
    if config["fit"]["validation"] is not None and config["fit"].get("validation_freq", 1) == 1:
        monitors.append("val_loss")
    chosen: list[Part] = []
    if d.chance(0.25):  # min_delta: where weights accumulate, two epochs may differ by rounding
        chosen.append(["EarlyStopping", {
            "monitor": d.one(monitors), "patience": d.whole(0, 2),
            "restore_best_weights": d.chance(0.5), "min_delta": d.one([1e-5, 0.01, 0.5]),
            "start_from_epoch": d.one([0, 0, 1]), "mode": d.one(["auto", "min", "max"]),
            "baseline": d.one([None, None, 0.5]),
        }])  # fmt: skip
    numeric = not isinstance(config["optimizer"]["arguments"]["learning_rate"], list)
    if numeric and d.chance(0.2):
        chosen.append(["ReduceLROnPlateau", {
            "monitor": d.one(monitors), "factor": 0.5, "patience": d.whole(0, 1),
            "cooldown": d.one([0, 1]), "min_delta": d.one([0.0001, 0.3]),
            "min_lr": d.one([0, config["optimizer"]["rate"] / 3]),
        }])  # fmt: skip
    if numeric and d.chance(0.2):
        chosen.append(["LearningRateScheduler", {"factor": d.between(0.5, 1.2)}])
    if d.chance(0.1):
        chosen.append(["TerminateOnNaN", {}])
    if config["optimizer"]["arguments"].get("use_ema") and d.chance(0.3):
        chosen.append(["SwapEMAWeights", {"swap_on_epoch": d.chance(0.5)}])
    if d.chance(0.1):
        chosen.append(["stop", {"batch": d.whole(0, 5)}])
    if d.chance(0.07):
        chosen.append(["ModelCheckpoint", {
            "filepath": "{epoch:02d}-{loss:.3f}.weights.h5", "save_weights_only": True,
            "monitor": d.one(monitors), "save_best_only": d.chance(0.6),
            "mode": d.one(["min", "max"]),
            "initial_value_threshold": d.one([None, 1.0]),
        }])  # fmt: skip
        if not chosen[-1][1]["save_best_only"]:  # Keras fails with both
            chosen[-1][1]["save_freq"] = d.one(["epoch", 2])
    if d.chance(0.07):
        chosen.append(["CSVLogger", {"filename": "log.csv", "separator": ";"}])
    return chosen
