"""Outputs with their kind of targets, and the losses and metrics that suit them."""

from __future__ import annotations

from typing import Any

from .drawing import Config, Draw, Part


def _custom_loss(d: Draw) -> Part:
    return ["own", {"scale": d.between(0.5, 2), "as": d.one(["function", "class"])}]


def head_of(d: Draw, kind: str) -> Config:
    task = d.one(["numbers", "positive", "bits", "bits", "classes", "sparse", "sparse", "sides"])
    units = d.one([1, 1, 2, 3]) if task in ("numbers", "positive", "bits", "sides") else 3
    logits = task in ("bits", "classes", "sparse") and d.chance(0.3)
    smoothing = d.options(label_smoothing=(0.25, lambda: 0.1))
    from_logits = {"from_logits": True} if logits else {}
    losses: list[Any]
    metrics: list[Any]
    if task == "numbers":
        activation: Any = d.one([None, None, "tanh"])
        losses = [
            ["MeanSquaredError", {}], ["MeanAbsoluteError", {}], ["Huber", {"delta": 0.6}],
            ["LogCosh", {}], "mse", "mae", _custom_loss(d), "mean_squared_error",
            ["MeanAbsolutePercentageError", {}], ["function", {"name": "log_cosh"}],
        ]  # fmt: skip
        metrics = [
            "mae", "mse", ["RootMeanSquaredError", {}], ["MeanAbsoluteError", {"name": "m"}],
            ["LogCoshError", {}], "mean_absolute_percentage_error", ["own function", {}],
            ["own class", {}], ["function", {"name": "mean_squared_logarithmic_error"}],
            ["MeanSquaredError", {"name": "square"}], "msle",
        ]  # fmt: skip
        if kind != "steps":
            metrics.append(["R2Score", {}])
        if units > 1:
            losses.append(["CosineSimilarity", {}])
            metrics.append(["CosineSimilarity", {}])
    elif task == "positive":
        activation = "softmax" if units > 1 and d.chance(0.4) else d.one(["softplus", "sigmoid"])
        losses = [["Poisson", {}], ["MeanSquaredLogarithmicError", {}]]
        if units > 1:
            losses.append(["KLDivergence", {}])
        metrics = ["poisson", "msle", "mse", ["MeanSquaredLogarithmicError", {"name": "m"}]]
    elif task == "bits":
        activation = None if logits else "sigmoid"
        losses = [["BinaryCrossentropy", {**from_logits, **smoothing}]]
        if not logits:
            losses += ["binary_crossentropy", ["MeanSquaredError", {}],
                       ["function", {"name": "binary_crossentropy"}]]  # fmt: skip
        metrics = [
            ["BinaryCrossentropy", {**from_logits, **smoothing, "name": "bce"}],
            ["BinaryAccuracy", {"threshold": 0.0 if logits else d.between(0.3, 0.7)}],
        ]  # fmt: skip
        if not logits:
            metrics += [
                "accuracy", ["AUC", {"num_thresholds": d.whole(3, 60)}], ["Precision", {}],
                ["AUC", {"curve": "PR", "name": "pr"}], ["Recall", {"thresholds": 0.4}],
                ["TruePositives", {}], ["FalseNegatives", {"thresholds": 0.6}],
                ["FalsePositives", {}], ["TrueNegatives", {}],
                ["Precision", {"thresholds": [0.7, 0.2], "name": "several"}],
            ]  # fmt: skip
            if kind != "steps" and units > 1:
                metrics += [["F1Score", {"threshold": 0.5, "average": "macro"}],
                            ["FBetaScore", {"threshold": 0.4, "average": "weighted", "beta": 2.0}],
                            ["AUC", {"multi_label": True, "name": "labels"}]]  # fmt: skip
            if units > 1:
                metrics.append(["Precision", {"class_id": 1, "name": "of one"}])
    elif task == "classes":
        activation = None if logits else "softmax"
        losses = [["CategoricalCrossentropy", {**from_logits, **smoothing}]]
        if not logits:
            losses += ["categorical_crossentropy", ["KLDivergence", {}],
                       ["function", {"name": "categorical_crossentropy"}]]  # fmt: skip
        metrics = [
            "accuracy", ["CategoricalAccuracy", {"name": "right"}],
            ["TopKCategoricalAccuracy", {"k": 2}], ["CategoricalCrossentropy", {**from_logits}],
        ]  # fmt: skip
        if not logits:
            metrics += [["Precision", {"top_k": 1}], ["Recall", {"class_id": 1}]]
            if kind != "steps":
                metrics.append(["F1Score", {}])
    elif task == "sparse":
        activation = None if logits else "softmax"
        ignored = {"ignore_class": d.one([-1, 255, 1])} if d.chance(0.3) else {}
        losses = [["SparseCategoricalCrossentropy", {**from_logits, **ignored}]]
        if not logits and not ignored:
            losses.append("sparse_categorical_crossentropy")
        metrics = [
            "accuracy", ["SparseCategoricalAccuracy", {"name": "right"}],
            ["SparseCategoricalCrossentropy", {**from_logits, **ignored}],
        ]  # fmt: skip
        if not ignored:  # Keras indexes with the label
            metrics.append(["SparseTopKCategoricalAccuracy", {"k": 2}])
    else:
        activation = d.one([None, "tanh"])
        losses = [["Hinge", {}], ["SquaredHinge", {}], "hinge"]
        metrics = ["hinge", ["SquaredHinge", {}], "mse"]
        if units > 1:
            losses.append(["CategoricalHinge", {}])
            metrics.append(["CategoricalHinge", {}])
    loss = d.one(losses)
    if isinstance(loss, list) and loss[0] not in ("own", "function") and d.chance(0.25):
        loss[1]["reduction"] = d.one(["sum", "mean", "mean_with_sample_weight"])
    chosen = d.some(metrics, 3)
    weighted = [m for m in metrics if m not in chosen]
    form = d.one(["plain", "plain", "int64", "float32", "flat", "column"])
    functions = [part for part in (loss, *metrics) if isinstance(part, list)]
    if task == "bits" or any(part[0].startswith(("own", "func")) for part in functions):
        form = "plain" if form == "flat" else form  # Keras passes them to functions unchanged
    return {
        "y": form, "task": task, "units": units, "activation": activation, "loss": loss,
        "metrics": chosen, "weighted": d.some(weighted, 2) if d.chance(0.4) else [],
    }  # fmt: skip
