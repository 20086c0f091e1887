"""Describe, as JSON, how data are encoded on the host before a model's forward pass.

`encoded` in ``js/model/encodings.js`` performs the encoding in a page.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.core.plan import INPUT
from gpunn.layers import (
    CategoryEncoding,
    DatetimeEncoder,
    HashingVectorizer,
    InputLayer,
    IntegerLookup,
    MissingIndicator,
    SimpleImputer,
    StringLookup,
)

EXACT = 1 << 24
"""float32 holds every whole number up to this one."""


def encodings(model: Any) -> dict[str, Any]:
    """Return the steps that turn given data into a model's inputs.

    Data are numbered as in `gpunn.core.plan.HostPart`: -1 and below are the inputs, 0 and above the
    outputs of the steps. ``of`` is the number of a step's input. A layer whose encoding a page does
    not support raises ValueError.

    >>> from gpunn import Sequential, layers
    >>> lookup = layers.StringLookup(vocabulary=["oak", "elm"])
    >>> found = encodings(Sequential([layers.Input((1,), dtype="string"), lookup,
    ...                               layers.CategoryEncoding(3)]))
    >>> found["inputs"][0]["shape"], found["steps"][0]["tokens"], found["fed"]
    ([1], ['oak', 'elm'], [0])
    """
    graph, host = model._graph, model._plan.host
    inputs = [
        {"name": name, "shape": [*tensor.sample]}
        for name, tensor in zip(graph.input_names, graph.inputs, strict=True)
    ]
    if host is None:
        fed = [INPUT - k for k in range(len(inputs))]
        return {"inputs": inputs, "steps": [], "checks": [], "fed": fed}
    reads = {n: model._plan.dtypes[INPUT - k] for k, n in enumerate(host.fed)}
    return {
        "inputs": inputs,
        "steps": [{"layer": layer.name, "of": n, **_step(layer)} for layer, n in host.steps],
        "checks": [
            {"layer": layer.name, "of": n, **_check(layer, reads.get(n))}
            for layer, n in host.checks
        ],
        "fed": [*host.fed],
    }


def _step(layer: Any) -> dict[str, Any]:
    if type(layer) is SimpleImputer:
        if layer.statistics is None:
            raise ValueError(f"{layer.name} has no values to fill in yet: adapt it first.")
        return {"kind": "fill", "with": np.atleast_1d(layer.statistics).tolist()} | _markers(layer)
    if type(layer) is MissingIndicator:
        return {"kind": "missing"} | _markers(layer)
    if type(layer) in (StringLookup, IntegerLookup):
        return _lookup(layer)
    if type(layer) is DatetimeEncoder:
        return {
            "kind": "date",
            "features": [[name, *layer.row_of(name)] for name in layer.features],
            "dayFirst": layer.day_first,
            "takesTimes": layer.takes_times,
        }
    if type(layer) is HashingVectorizer:
        return {
            "kind": "words",
            "count": layer.n_features,
            "norm": layer.norm,
            "signed": layer.alternate_sign,
        }
    raise _not_in_a_page(f"what {type(layer).__name__} does on the host")


def _markers(layer: SimpleImputer | MissingIndicator) -> dict[str, Any]:
    """Return the numbers that stand for a missing one."""
    known = layer.missing_values
    return {} if known is None else {"markers": np.atleast_1d(known).tolist()}


def _lookup(layer: StringLookup | IntegerLookup) -> dict[str, Any]:
    """Return the step of a lookup layer, with integers as strings: JSON may not hold 64 bits."""
    if layer.invert:
        raise _not_in_a_page(f"{layer.name}, which converts codes to values")
    hashes = isinstance(layer, StringLookup) or layer.oov_method == "farmhash"
    if layer.num_oov_indices > 1 and hashes:
        raise _not_in_a_page(f"the hashes by which {layer.name} distinguishes unknown values")
    tokens = layer.get_vocabulary(include_special_tokens=False)
    if not tokens:
        raise ValueError(f"{layer.name} has no vocabulary yet: adapt it first.")
    first = layer.vocabulary_size() - len(tokens)
    mask = layer.mask_token
    return {
        "kind": "text" if isinstance(layer, StringLookup) else "integer",
        "tokens": [str(token) for token in tokens],
        "first": first,  # code of the first token; the codes of unknown values precede it
        "unknown": layer.num_oov_indices,
        "mask": None if mask is None else [str(mask), layer.masked_code()],
        "fold": isinstance(layer, StringLookup) and layer.fold,
    }


def _check(layer: Any, dtype: str | None) -> dict[str, Any]:
    """Return the bounds of valid data: whole numbers from 0, or ``from``, and less than ``below``.

    ``dtype`` is the dtype in which steps read them: pages pass them in float32.
    """
    if type(layer) is CategoryEncoding:
        return {"below": layer.num_tokens}
    if type(layer) is InputLayer and layer.data_dtype == "bool":
        return {"below": 2}
    if type(layer) is InputLayer and dtype is not None:
        return {"from": -EXACT, "below": EXACT + 1}
    if type(layer) is InputLayer:
        return {"below": None}
    raise _not_in_a_page(f"how {type(layer).__name__} checks data")


def _not_in_a_page(what: str) -> ValueError:
    return ValueError(f"A page cannot compute this model: pages do not support {what}.")
