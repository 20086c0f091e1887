"""Test that every registered object survives a JSON round trip."""

from __future__ import annotations

import json

import numpy as np
import pytest
import registered

from gpunn.common import registry
from gpunn.common.names import snake_case

# Names without examples, and the reason.
WITHOUT = {
    ("metric", "MeanMetricWrapper"): "wraps a bare function, which no file can hold",
}
CASES = [
    (kind, name, arguments)
    for kind in registered.KINDS
    for name, arguments in registered.cases(kind, sequences=True)
]


@pytest.mark.parametrize("kind", registered.KINDS)
def test_everything_registered_has_examples(kind: str) -> None:
    without = {name for of, name in WITHOUT if of == kind}
    found = {name for name, _ in registered.cases(kind, sequences=True)}
    assert found | without == set(registered.names(kind))


@pytest.mark.parametrize(("kind", "name", "arguments"), CASES, ids=registered.label)
def test_serialize_and_deserialize(kind: str, name: str, arguments: dict) -> None:
    entry = registered.make(kind, name, arguments)
    document = registry.serialize(entry)
    stored = json.loads(json.dumps(document))
    again = registry.deserialize(stored, kind)
    assert type(again) is type(entry)
    assert json.loads(json.dumps(registry.serialize(again))) == stored
    for argument, value in arguments.items():
        # Layers have an attribute of this name that says more.
        named = argument == "output_shape"
        kept = again.get_config()[argument] if named else getattr(again, argument)
        check_kept(kept, value, argument)


def check_kept(kept: object, value: object, argument: str) -> None:
    if isinstance(kept, list) and isinstance(kept[0], registry.Entry):
        for one, given in zip(kept, value, strict=True):
            check_kept(one, given, argument)
    elif isinstance(kept, registry.Entry):  # passed by name or as a dictionary
        assert kept._kind in ("activation", "initializer", "layer")
        assert type(kept) is type(registry.get(kept._kind, value)), argument
        if isinstance(value, dict):
            assert registry.serialize(kept)["config"].items() >= value["config"].items()
    else:
        if isinstance(kept, tuple) and isinstance(value, int):  # one number for each axis
            value = (value,) * len(kept)
        assert np.array_equal(kept, value), argument


@pytest.mark.parametrize("name", [n for n in registered.names("layer") if n != "InputLayer"])
def test_what_all_layers_take(name: str) -> None:
    shared = {"name": "mine", "trainable": False, "dtype": "float64", "input_shape": (3, 4)}
    layer = registered.make("layer", name, {**registered.examples("layer", name)[0], **shared})
    again = registry.deserialize(json.loads(json.dumps(registry.serialize(layer))), "layer")
    found = (again.name, again.trainable, again.dtype, again._given_input_shape)
    assert found == ("mine", False, "float64", (3, 4))


@pytest.mark.parametrize("kind", registered.KINDS)
@pytest.mark.parametrize("form", ["name", "snake", "aliases"])
def test_names_lead_to_the_class(kind: str, form: str) -> None:
    for name in registered.names(kind):
        cls = registry.entries(kind)[name]
        known = {
            "name": [name],
            "snake": [snake_case(name)],
            "aliases": list(vars(cls).get("aliases", ())),
        }[form]
        for alias in known:
            assert registry.lookup(kind, alias) is cls


def test_a_seeded_initializer_that_comes_back_draws_the_same() -> None:
    for name, arguments in registered.cases("initializer", sequences=True):
        initializer = registered.make("initializer", name, arguments)
        again = registry.deserialize(registry.serialize(initializer), "initializer")
        random = hasattr(initializer, "seed") and initializer.seed is None
        assert np.array_equal(initializer((2, 2)), again((2, 2))) != random, name
