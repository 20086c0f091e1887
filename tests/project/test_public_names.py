"""What completion offers, `dir`, is what users need: the names of ``__all__``, and nothing else."""

from __future__ import annotations

import types

import pytest

import gpunn

MODULES = sorted(
    name for name in gpunn.__all__
    if isinstance(getattr(gpunn, name), types.ModuleType) and getattr(gpunn, name) is not gpunn
)  # fmt: skip


def public(module: types.ModuleType) -> list[str]:
    return [name for name in dir(module) if not name.startswith("_")]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_offers_its_own_names(name: str) -> None:
    module = getattr(gpunn, name)
    assert public(module) == sorted(n for n in module.__all__ if not n.startswith("_"))
    for each in public(module):
        found = getattr(module, each)
        owner = found.__name__ if isinstance(found, types.ModuleType) else found.__module__
        assert owner.split(".")[0] == "gpunn", f"gpunn.{name}.{each} is of {owner}"


@pytest.mark.parametrize("name", MODULES)
def test_all_of_them_can_be_imported(name: str) -> None:
    found: dict[str, object] = {}
    exec(f"from gpunn.{name} import *", found)
    assert found.keys() - {"__builtins__"} == set(getattr(gpunn, name).__all__)


def test_the_package_offers_its_modules_and_a_few_names() -> None:
    assert "np" not in dir(gpunn) and {"Model", "layers", "GradientTape"} <= {*dir(gpunn)}
    for name in dir(gpunn):
        assert getattr(gpunn, name) is not None
