"""What completion offers, `dir`, is what users need: the names of ``__all__``, and nothing else.
Each of them is described, with an example."""

from __future__ import annotations

import doctest
import inspect
import types
from collections.abc import Iterator
from operator import attrgetter

import pytest

import gpunn
from gpunn import losses


def modules(path: str) -> Iterator[str]:
    """Yield the names of the public modules in a public module, at any depth."""
    module = attrgetter(path)(gpunn) if path else gpunn
    for name in module.__all__:
        found = getattr(module, name)
        if isinstance(found, types.ModuleType) and found is not gpunn:
            yield (full := f"{path}.{name}".lstrip("."))
            yield from modules(full)


MODULES = sorted(modules(""))


def public(module: types.ModuleType) -> list[str]:
    return [name for name in dir(module) if not name.startswith("_")]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_offers_its_own_names(name: str) -> None:
    module = attrgetter(name)(gpunn)
    assert public(module) == sorted(n for n in module.__all__ if not n.startswith("_"))
    for each in public(module):
        found = getattr(module, each)
        owner = found.__name__ if isinstance(found, types.ModuleType) else found.__module__
        assert owner.split(".")[0] == "gpunn", f"gpunn.{name}.{each} is of {owner}"


@pytest.mark.parametrize("name", MODULES)
def test_all_of_them_can_be_imported(name: str) -> None:
    found: dict[str, object] = {}
    exec(f"from gpunn.{name} import *", found)
    assert found.keys() - {"__builtins__"} == set(attrgetter(name)(gpunn).__all__)


@pytest.mark.parametrize("name", [*MODULES, ""])
def test_each_class_and_function_is_described_with_an_example(name: str) -> None:
    module = attrgetter(name)(gpunn) if name else gpunn
    found = {each: getattr(module, each) for each in public(module)}
    texts = {each: one.__doc__ or "" for each, one in found.items() if callable(one)}
    short = [each for each, text in texts.items() if len(text.split()) < 15 or ">>>" not in text]
    assert short == []


FUNCTIONS = {id(f): n for n in losses.__all__ if inspect.isfunction(f := getattr(losses, n))}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(FUNCTIONS.values()))
def test_the_example_of_a_loss_as_a_function_runs(name: str) -> None:
    """doctest finds no function that is made when it is first used."""
    text = getattr(losses, name).__doc__
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_the_package_offers_its_modules_and_a_few_names() -> None:
    assert "np" not in dir(gpunn) and {"Model", "layers", "GradientTape"} <= {*dir(gpunn)}
    for name in dir(gpunn):
        assert getattr(gpunn, name) is not None
