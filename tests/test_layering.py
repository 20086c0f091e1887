"""The floors of the package: imports go downwards, and importing it touches no extra."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gpunn

PACKAGE = Path(gpunn.__file__).parent
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent.name != "kernels")

# Floor of each module or package right under gpunn. A module imports from its own floor and
# those below; free-standing ones (0) from free-standing ones only.
FLOORS = {
    "_version": 0,
    "arguments": 0,
    "config": 0,
    "datasets": 0,
    "holds": 0,
    "overrides": 0,
    "perceptron": 0,
    "random": 0,
    "registry": 0,
    "stored": 0,
    "tree": 0,
    "backends": 2,
    "arena": 3,
    "plan": 3,
    "workspace": 3,
    "activations": 4,
    "initializers": 4,
    "layers": 4,
    "regularizers": 4,
    "constraints": 4,
    "losses": 4,
    "metrics": 4,
    "optimizers": 4,
    "callbacks": 5,
    "least_squares": 5,
    "models": 5,
    "saving": 5,
    "testing": 5,
    "utils": 5,
    "cli": 6,
    "plots": 6,
    "__main__": 7,
    "__init__": 7,
}
EXTRAS = (
    "PIL", "cupy", "cupyx", "matplotlib", "mpi4py", "onnx", "pandas", "scipy", "sklearn",
    "tensorboard", "tensorboardX", "tensorflow", "torch",
)  # fmt: skip


def place(path: Path) -> str:
    """Name of the module or package right under gpunn that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """What a file imports anywhere in it, as full names; inside gpunn down to what is named."""
    package = ["gpunn", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}" for alias in node.names)


def upward_imports(path: Path) -> set[tuple[str, str]]:
    own = place(path)
    found = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "gpunn" and len(parts) > 1 and parts[1] in FLOORS:
            above = FLOORS[parts[1]] > FLOORS[own]
            sideways = FLOORS[own] == 0 and parts[1] != own and FLOORS[parts[1]] > 0
            if above or sideways:
                found.add((own, parts[1]))
    return found


def test_every_module_has_a_floor() -> None:
    assert {place(path) for path in MODULES} == set(FLOORS)


def test_imports_go_downwards() -> None:
    found = set().union(*(upward_imports(path) for path in MODULES))
    assert not found


def test_backends_import_nothing_above_but_settings_and_names() -> None:
    for path in MODULES:
        if place(path) == "backends":
            inside = {n.split(".")[1] for n in imported(path) if n.startswith("gpunn.")}
            assert inside <= {"backends", "config", "holds", "kernels", "registry", "tree"}, path


def test_only_the_backends_import_cupy() -> None:
    for path in MODULES:
        names = {name.split(".")[0] for name in imported(path)}
        assert not names & {"cupy", "cupyx"} or place(path) in ("backends", "cli"), path


def branches(path: Path) -> Iterator[ast.AST]:
    """What a file decides by: conditions and comparisons."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            yield node.test
        elif isinstance(node, ast.Compare):
            yield node


def test_nothing_above_the_backends_asks_which_one_it_is() -> None:
    """No branch outside the backends and the command line names a backend or its module."""
    for path in MODULES:
        if place(path) in ("backends", "cli"):
            continue
        for branch in branches(path):
            for node in ast.walk(branch):
                text = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
                backends = "cupy", "numpy", "compiled", "emulated"
                assert text not in backends, f"{path}:{node.lineno}"
                assert getattr(node, "id", "") not in ("cupy", "CupyBackend", "NumpyBackend"), path


def test_kernels_are_named_below_the_layers_only() -> None:
    """A layer, loss or optimizer names functors; launching them is the backend's business."""
    for path in MODULES:
        if FLOORS[place(path)] in (3, 4):
            assert not any("kernel_source" in n or "cuda" in n for n in imported(path)), path


def fresh(code: str) -> Any:
    """What ``code`` prints, as JSON, in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_touches_no_extra(record_property: Any) -> None:
    modules, seconds = fresh(
        "import json, sys, time\n"
        "import numpy\n"
        "start = time.perf_counter()\n"
        "import gpunn\n"
        "seconds = time.perf_counter() - start\n"
        "print(json.dumps([sorted(sys.modules), seconds]))\n"
    )
    record_property("import_seconds_beyond_numpy", round(seconds, 3))
    assert not {name.split(".")[0] for name in modules} & set(EXTRAS)
    assert "gpunn.backends.cupy_backend" not in modules
    assert "gpunn.cli" not in modules


def test_training_touches_no_extra() -> None:
    modules = fresh(
        "import json, sys\n"
        "import numpy as np\n"
        "import gpunn\n"
        "model = gpunn.Sequential([gpunn.layers.Dense(2)], backend='numpy')\n"
        "model.compile('adam', 'mse', metrics=['accuracy'])\n"
        "model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=1)\n"
        "model.predict(np.ones((4, 3)))\n"
        "print()\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    assert not {name.split(".")[0] for name in modules} & set(EXTRAS)


WAYS = {
    "import gpunn as tf": "tf.keras.layers.Dense",
    "import gpunn as keras": "keras.layers.Dense",
    "import gpunn.keras": "gpunn.keras.layers.Dense",
    "import gpunn.keras as keras": "keras.layers.Dense",
    "import gpunn.keras.layers": "gpunn.keras.layers.Dense",
    "import gpunn.keras.layers as layers": "layers.Dense",
    "from gpunn import keras": "keras.layers.Dense",
    "from gpunn.keras import layers": "layers.Dense",
    "from gpunn.keras.layers import Dense": "Dense",
    "from gpunn.keras.layers.dense import Dense": "Dense",
    "from gpunn.keras.models import Sequential": "__import__('gpunn').layers.Dense",
    "from gpunn import *": "keras.layers.Dense",
}


@pytest.mark.parametrize("way", WAYS)
def test_keras_is_the_package_itself(way: str) -> None:
    code = (
        f"import json\n{way}\nDense = {WAYS[way]}\n"
        "import gpunn, gpunn.layers.dense\n"
        "same = Dense is gpunn.layers.Dense is gpunn.layers.dense.Dense\n"
        "twins = [n for n, m in gpunn.registry.entries('layer').items() if n == 'Dense']\n"
        "print(json.dumps([same, gpunn.keras is gpunn, twins, Dense.__module__]))\n"
    )
    assert fresh(code) == [True, True, ["Dense"], "gpunn.layers.dense"]


def test_every_module_that_is_loaded_is_keras_too() -> None:
    code = (
        "import importlib, json, sys\n"
        "import gpunn\n"
        "names = [n for n in sys.modules if n.startswith('gpunn.') "
        "and not n.startswith('gpunn.keras')]\n"
        "found = {n: importlib.import_module('gpunn.keras' + n[5:]) is sys.modules[n] "
        "for n in names}\n"
        "print(json.dumps(found))\n"
    )
    found = fresh(code)
    assert len(found) > 30
    assert all(found.values()), [name for name, same in found.items() if not same]


def test_what_only_some_need_is_not_imported_by_all() -> None:
    """A progress bar and a download take longer to import than all of gpunn."""
    code = (
        "import json, sys\n"
        "import gpunn\n"
        "print(json.dumps([n for n in ('http.client', 'ssl', 'tqdm') if n in sys.modules]))\n"
    )
    assert fresh(code) == []
