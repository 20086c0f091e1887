"""Randomly drawn layers."""

from __future__ import annotations

from .drawing import ACTIVATIONS, Draw, Part, activation, constraint, regularizer


def _dense(d: Draw, units: int | None = None) -> Part:
    given = {
        "units": units or d.whole(3, 6),
        "activation": activation(d),
        **d.options(
            use_bias=(0.15, lambda: False),
            kernel_regularizer=(0.15, lambda: regularizer(d)),
            bias_regularizer=(0.1, lambda: regularizer(d)),
            activity_regularizer=(0.07, lambda: regularizer(d)),
            kernel_constraint=(0.1, lambda: constraint(d)),
            bias_constraint=(0.05, lambda: constraint(d)),
        ),
    }
    if not given.get("use_bias", True):
        for name in ("bias_regularizer", "bias_constraint"):
            given.pop(name, None)
    return ["Dense", given]


def _between(d: Draw) -> Part:
    """A layer that keeps the shape."""
    return d.one(
        [
            ["BatchNormalization", {"momentum": d.between(0.1, 0.99)}],
            ["BatchNormalization", {"momentum": 0.5, "center": d.chance(0.5),
                                    "scale": d.chance(0.5), "epsilon": 0.01}],
            ["LayerNormalization", d.options(scale=(0.3, lambda: False))],
            ["RMSNormalization", {}],
            ["UnitNormalization", {}],
            ["PReLU", {}],
            ["LeakyReLU", {"negative_slope": 0.2}],
            ["ELU", {"alpha": 0.7}],
            ["ReLU", {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.1}],
            ["Activation", {"activation": d.one(ACTIVATIONS)}],
            ["Rescaling", {"scale": 0.5, "offset": 0.1}],
            ["Dropout", {"rate": 0.0}],
            ["residual", {"activation": activation(d), "merge": d.one(
                ["Add", "Multiply", "Average", "Maximum", "Subtract", "Concatenate", "Minimum"])}],
            ["twice", {"activation": activation(d)}],
            ["own", {}],
        ]
    )  # fmt: skip


def body_of(d: Draw, kind: str) -> list[Part]:
    parts: list[Part] = []
    if kind == "image":
        for _ in range(d.whole(1, 2)):
            padding = "same" if parts else d.one(["same", "valid"])
            parts.append(["Conv2D", {
                "filters": d.whole(2, 3), "kernel_size": d.one([2, 3]), "padding": padding,
                "activation": d.one(["relu", "tanh", None]),
                "strides": d.one([1, 1, 2]) if padding == "same" else 1,
                **d.options(kernel_regularizer=(0.15, lambda: regularizer(d))),
            }])  # fmt: skip
            parts += d.some(
                [["MaxPooling2D", {"pool_size": 2, "padding": "same"}],
                 ["AveragePooling2D", {"pool_size": 2, "padding": "same"}],
                 ["ZeroPadding2D", {"padding": 1}], ["UpSampling2D", {"size": 2}],
                 ["BatchNormalization", {"momentum": 0.8}], ["PReLU", {"shared_axes": [1, 2]}]], 1,
            )  # fmt: skip
        parts.append(d.one(
            [["Flatten", {}], ["GlobalAveragePooling2D", {}], ["GlobalMaxPooling2D", {}]]
        ))  # fmt: skip
    for _ in range(d.whole(0 if kind == "image" else 1, 2)):
        parts.append(_dense(d))
        if d.chance(0.4):
            parts.append(_between(d))
    return parts
