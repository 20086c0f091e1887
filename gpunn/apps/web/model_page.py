"""Make a page for a trained model: a single file that shows its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gpunn import activations, layers
from gpunn.apps import trained_on
from gpunn.apps.pictures.samples import picture_shape
from gpunn.apps.tables.table_model import TableModel
from gpunn.common.markup import element, joined

from .page import as_json, pack, page
from .program import forward_program
from .table_form import POINTS, table_form

_HERE = Path(__file__).parent
PLACES = 72 * 72  # points of the plane computed at once: SIDE of js/playground/plane.js
COLOURS = 6  # maximum number of classes on the plane, one colour each
# Layers that pass on their input: their pictures would repeat the previous layer's.
_SILENT = (layers.Flatten, layers.Reshape, layers.Dropout, layers.Rescaling)


def model_page(model: Any, name: str = "model", like: str | None = None) -> str:
    """Return the page of a model, to be written as UTF-8 and opened from disk.

    The page has a pad to draw on for a model of pictures, the plane for a model of two inputs, and
    a form for a model trained on a table.

    Args:
        model: a model with weights; it is not changed.
        like: ``"mnist"`` to prepare pictures as MNIST's digits although the model's file does not
            record it.

    Raises:
        ValueError: if a page cannot show the model; the message gives the reason.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(3, "softmax")])
    >>> model_page(model, "<three>").split("<title>")[1].split("</title>")[0]
    '&lt;three&gt;'
    """
    description = described(model, like)
    kind = description["kind"]
    rows = {"plane": PLACES, "table": POINTS}.get(kind, 1)
    program = forward_program(model, rows, gradient=kind == "picture")
    return page(
        name,
        joined(
            element("header", element("h1", name)),
            element("main", element("p", id="message", role="status"), element("div", id="model")),
            element(
                "footer",
                element(
                    "p",
                    "Made by gpunn. The model runs in this page, with the same formulas as in "
                    "Python; no data leave it.",
                    class_="quiet",
                ),
            ),
        ),
        scripts=[_HERE / "js" / "model" / "main.js"],
        styles=[_HERE / "model.css", _HERE / "form.css"],
        data={
            "constants": program.pop("constants"),  # weights, which do not compress
            "known": pack(as_json({"description": description, "program": program}).encode()),
            "engine": pack((_HERE / "gpunn.wasm").read_bytes()),
        },
        wasm=True,
        packed=True,
    )


def described(model: Any, like: str | None = None) -> dict[str, Any]:
    """Return what the page knows of the model besides its weights; see `js/model/main.js`."""
    model._require_values("A page")
    table = TableModel.of(model)
    if table is not None:
        return table_form(model, table)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"A page shows models of one input and one output; this one has {len(model.inputs)} "
            f"and {len(model.outputs)}."
        )
    if model._plan.host is not None:
        raise ValueError(
            "A page cannot show this model: it takes strings, whole numbers or missing values, "
            "which neither a pad nor the plane can enter."
        )
    sample = tuple(model.inputs[0].sample)
    if sample == (2,):
        return _plane(model)
    known = trained_on.known(model)
    like_mnist = (like or known.get("prepared")) == "mnist"
    shape = picture_shape(sample, like_mnist)
    if None not in shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)):
        return _picture(model, shape, known, like_mnist)
    raise ValueError(
        f"A page shows models of tables, of pictures, grey (height, width) or in colour (height, "
        f"width, 3), and of two numbers (2,); this model's samples have shape {sample}."
    )


def _picture(
    model: Any, shape: tuple[int, ...], known: dict[str, Any], centred: bool
) -> dict[str, Any]:
    channels = 1 if len(shape) == 2 else 3
    if centred and channels == 3:
        raise ValueError("MNIST's digits are grey, but the model takes pictures in colour.")
    low, high = trained_on.scaled(np.array([0, 255], np.uint8), known)[0].tolist()
    answer = _answer(model, (min(low, high), max(low, high)))
    if answer["answer"] == "number":
        raise ValueError(
            "The model's outputs are not class probabilities: a page for pictures needs a model "
            "with a softmax, or a sigmoid of one unit."
        )
    return {
        "kind": "picture",
        **answer,
        "height": shape[0],
        "width": shape[1],
        "channels": channels,
        "centred": centred,
        "as_is": channels == 3 or known.get("prepared") == "scaled",
        "scale": [(high - low) / 255, low],
        "hidden": [layer.name for layer in model.layers if isinstance(layer, _SILENT)],
    }


def _plane(model: Any) -> dict[str, Any]:
    low, high = trained_on.known(model).get("range") or (-1.0, 1.0)
    edge = 0.05 * (high - low) or 1.0
    answer = _answer(model, (low, high))
    if len(answer["classes"]) > COLOURS:
        raise ValueError(
            f"The plane shows up to {COLOURS} classes; this model has {len(answer['classes'])}."
        )
    bounds = [[low - edge, high + edge]] * 2
    return {"kind": "plane", **answer, "bounds": bounds, "names": ["x₁", "x₂"]}


def _answer(model: Any, values: tuple[float, float]) -> dict[str, Any]:
    """Return the kind of the outputs, and their classes."""
    known = trained_on.known(model)
    rng = np.random.default_rng(0)
    rows = rng.uniform(*values, (4, *model.inputs[0].sample)).astype(np.float32)
    outputs = model.predict(rows, verbose=0)
    width = outputs.shape[1] if outputs.ndim == 2 else 0
    sums = outputs.sum(axis=1) if width > 1 else np.zeros(1)
    if width == 1:
        last = getattr(model.layers[-1], "activation", None)
        kind = "share" if isinstance(last, activations.Sigmoid) else "number"
    elif width and outputs.min() >= 0 and np.allclose(sums, 1, atol=1e-3):
        kind = "shares"
    else:
        raise ValueError(
            "The model's outputs are neither class probabilities nor a single number: it needs a "
            "softmax, or one unit."
        )
    if kind == "number":
        return {"answer": kind, "classes": []}
    count = max(width, 2)
    names = known.get("classes") or [str(k) for k in range(count)]
    if len(names) != count:
        raise ValueError(f"The model has {count} classes but {len(names)} class names.")
    doubt = {"unsure_below": known.get("unsure_below", 0.0), "rows": known.get("validated_on", 0)}
    return {"answer": kind, "classes": names, **doubt}
