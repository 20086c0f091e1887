"""Packages of parts export what their modules define."""

from __future__ import annotations

import importlib
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import gpunn
from gpunn.common import registry

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "exports.py"))


@pytest.mark.parametrize("package", TOOL["PACKAGES"])
def test_the_files_are_as_they_would_be_written(package: str) -> None:
    path = ROOT / "gpunn" / package / "__init__.py"
    assert TOOL["written"](path.parent) == path.read_text(), "run make exports"


@pytest.mark.parametrize("package", TOOL["PACKAGES"])
def test_every_part_is_exported(package: str) -> None:
    module = importlib.import_module(f"gpunn.{package.replace('/', '.')}")
    parts = (getattr(module, name) for name in dir(module))
    kind = next(part._kind for part in parts if "_kind" in getattr(part, "__dict__", {}))
    registered = {
        cls
        for name, cls in registry.entries(kind).items()
        if cls.__module__.rpartition(".")[0] == module.__name__ and ">" not in name
    }
    exported: dict[str, Any] = {}
    exec(f"from {module.__name__} import *", exported)
    assert len(registered) > 5 and registered <= {v for v in exported.values() if callable(v)}
    assert {*exported} - {"__builtins__"} == {*module.__all__} == {*dir(module)}
    assert not [n for n, v in exported.items() if isinstance(v, ModuleType) and n != "schedules"]


@pytest.mark.parametrize("package", [name for name in dir(gpunn) if name != "__version__"])
def test_every_name_that_completion_offers_exists(package: str) -> None:
    module = getattr(gpunn, package)
    for name in dir(module) if isinstance(module, ModuleType) else ():
        assert hasattr(module, name), f"gpunn.{package}.{name}"


def printed(code: str) -> str:
    """Return what ``code`` prints in a new process, in which few parts are imported."""
    command = [sys.executable, "-c", f"import gpunn\nfrom gpunn.common import registry\n{code}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("layer", "MaxPool2D", "MaxPooling2D"),
        ("layer", "gaussian_noise", "GaussianNoise"),
        ("activation", "swish", "Silu"),
        ("activation", "SiLU", "Silu"),
        ("loss", "kld", "KLDivergence"),
        ("metric", "rmse", "RootMeanSquaredError"),
        ("metric", "mae", "MeanAbsoluteError"),
        ("optimizer", "RMSProp", "RMSprop"),
        ("schedule", "cosine_decay", "CosineDecay"),
        ("callback", "CSVLogger", "CSVLogger"),
    ],
)
def test_a_part_is_found_by_name_before_it_is_imported(kind: str, name: str, found: str) -> None:
    assert printed(f"print(registry.lookup({kind!r}, {name!r}).__name__)") == found


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("kind", ["activation", "loss", "layer"])
def test_the_parts_of_a_kind_are_in_the_same_order_whatever_was_used_before(kind: str) -> None:
    """Files are generated in this order."""
    found = f"print(*registry.entries({kind!r}))"
    order = printed(found)
    assert printed(f"registry.lookup({kind!r}, {order.split()[-1]!r})\n{found}") == order


def test_an_unknown_name_brings_the_closest_of_all_names() -> None:
    code = "try: {}\nexcept Exception as error: print(error)"
    assert "Did you mean 'gaussian_noise'?" in printed(
        code.format("registry.lookup('layer', 'gausian_noise')")
    )
    assert "Did you mean 'MaxPooling2D'?" in printed(code.format("gpunn.layers.MaxPoling2D"))


def test_a_custom_class_does_not_take_the_name_of_a_part_that_is_not_imported() -> None:
    found = printed(
        "@gpunn.saving.register_serializable()\n"
        "class GaussianNoise(gpunn.layers.Layer): pass\n"
        "print(registry.lookup('layer', 'GaussianNoise').__module__)\n"
        "print(registry.lookup('layer', 'Custom>GaussianNoise').__module__)"
    )
    assert found.split() == ["gpunn.layers.noise", "__main__"]
