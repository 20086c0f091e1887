"""The layers of the package: imports go downwards, and importing gpunn loads no extra.

Also the folders of the benchmarks: what each imports, and how many files each may have.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

import gpunn

PACKAGE = Path(gpunn.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent.name != "kernels")

# The layers, from the lowest: each folder or module directly under gpunn. A module imports from its
# own folder and from those before it; folders in one line do not import each other.
FLOORS = (
    ("_version", "common"),
    ("backends", "datasets", "distribution"),
    ("core",),
    ("ops",),
    ("activations", "initializers", "regularizers"),
    ("constraints", "losses"),
    ("metrics", "optimizers", "layers"),
    ("structure", "saving"),
    ("feeding", "callbacks"),
    ("training",),
    ("models",),
    ("testing", "compat"),
    ("loaders",),
    ("apps",),
    ("utils", "sklearn", "tensorflow"),
    ("__init__", "__main__"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
# The same for the folders of the backends.
BACKENDS = (
    ("shared",),
    ("contract",),
    ("host",),
    ("numpy",),
    ("compiled", "cupy/launch"),
    ("cupy",),
    ("cupy/driver",),
    ("__init__",),
)
# The folders of the benchmarks, and what else each imports of the project.
BENCHMARKS = {
    "common": {"gpunn"},
    "contestants": {"gpunn"},
    "race": {"gpunn", "common", "contestants"},
    "gpu": {"gpunn", "common", "contestants", "race"},
    "scale": {"gpunn", "common"},
    "counts": {"gpunn", "common"},
    "faults": set(),
    "pages": {"gpunn", "common"},
    "keras_tests": {"common", "gpunn"},
    "programs": {"common", "gpunn"},
    "studies": {"gpunn", "common", "contestants", "race"},
}
MODULES_OF_A_FIT = 204  # of a classifier's; raise it if each of them needs the new module
EXTRAS = (
    "PIL", "cupy", "cupyx", "matplotlib", "mpi4py", "onnx", "onnxruntime", "optuna",
    "pandas", "polars", "pyarrow", "scipy", "sklearn",
    "tensorboard", "tensorboardX", "tensorflow", "torch",
)  # fmt: skip


def place(path: Path) -> str:
    """Return the name of the folder or module directly under gpunn that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def folder_of(path: Path) -> str:
    """Return the name of a file's folder within the backends."""
    inside = path.relative_to(PACKAGE / "backends")
    return "/".join(inside.parts[:-1]) or inside.stem


@cache
def imported(path: Path) -> list[str]:
    """Return everything that a file imports, as full names, down to the imported objects."""
    return [*_imported(path)]


def _imported(path: Path) -> Iterator[str]:
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}" for alias in node.names)


@cache
def files_imported(path: Path) -> set[Path]:
    """Return the files of gpunn that a file imports from."""
    found = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "gpunn":
            continue
        for end in range(len(parts), 1, -1):
            stem = PACKAGE.joinpath(*parts[1:end])
            files = [f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.exists()]
            found.update(files)
            if files:
                break
    return found


def test_the_picture_of_the_floors_is_true() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    pictures = re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for picture, floors in zip(pictures, (FLOORS, BACKENDS), strict=True):
        drawn = [re.split(" {2,}", line)[0].split(", ") for line in picture.splitlines()]
        assert [sorted(names) for names in drawn] == [sorted(names) for names in reversed(floors)]


def test_every_module_has_a_floor() -> None:
    assert {place(path) for path in MODULES} == set(FLOOR)
    assert {folder_of(path) for path in MODULES if place(path) == "backends"} == {
        name for names in BACKENDS for name in names
    }


def test_imports_go_downwards() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), place(other))
        for path in MODULES
        for other in files_imported(path)
        if place(other) != place(path) and FLOOR[place(other)] >= FLOOR[place(path)]
    }
    assert not found


def test_imports_go_downwards_below_the_backends() -> None:
    levels = {name: number for number, names in enumerate(BACKENDS) for name in names}
    found = {
        (str(path.relative_to(PACKAGE)), folder_of(other))
        for path in MODULES
        for other in files_imported(path)
        if place(path) == place(other) == "backends"
        and folder_of(other) != folder_of(path)
        and levels[folder_of(other)] >= levels[folder_of(path)]
    }
    assert not found


def test_no_two_modules_import_each_other() -> None:
    """Nor do more than two form a cycle, imports for annotations included."""
    arrows = {path: files_imported(path) - {path} for path in MODULES}
    while free := {path for path, others in arrows.items() if not others & arrows.keys()}:
        arrows = {path: others for path, others in arrows.items() if path not in free}
    assert not [str(path.relative_to(PACKAGE)) for path in arrows]


def test_backends_and_feeding_call_upwards_only_what_they_are_given() -> None:
    """Formulas as their protocols declare them, and functions among the arguments of a call."""
    found: dict[str, set[str]] = {"backends": set(), "feeding": set()}

    def place_of(code: CodeType) -> str:
        path = Path(code.co_filename)
        return place(path) if path.is_relative_to(PACKAGE) else ""

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event != "call" or frame.f_back is None:
            return
        caller, called = place_of(frame.f_back.f_code), place_of(frame.f_code)
        if caller in found and FLOOR.get(called, 0) > FLOOR[caller]:
            found[caller].add(frame.f_code.co_name)

    class Squares(gpunn.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return gpunn.ops.mean(gpunn.ops.square(y_true - y_pred), -1)

    inputs = gpunn.Input((None, 3))  # an axis of any length: data choose the shapes
    model = gpunn.Model(inputs, gpunn.layers.Dense(2)(inputs), backend="numpy")
    model.compile("adam", Squares(), metrics=["mae"])
    x, y = np.ones((8, 4, 3), "float32"), np.ones((8, 4, 2), "float32")
    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        model.fit(x, y, batch_size=4, validation_data=(x, y), verbose=0)
        model.fit([(x, y)], verbose=0)
    finally:
        sys.setprofile(before)
    assert found["feeding"] <= {"_spec_of"}
    assert found["backends"] <= {
        "accumulate", "update", "functor", "slot_names", "schedules", "steps_per_update",
        "finish", "made",  # functions, of which the first updates and the second traces
    }


def test_no_folder_holds_more_than_twenty_files() -> None:
    folders = ("kernels", "benchmarks", "tests", "examples")
    for root in (PACKAGE, *(ROOT / name for name in folders)):
        for folder in {path.parent for path in root.rglob("*.py")}:
            assert len(list(folder.glob("*.py"))) <= 20, folder


def test_folders_of_the_benchmarks_import_what_they_say() -> None:
    found: dict[str, set[str]] = {}
    for path in (ROOT / "benchmarks").glob("*/*.py"):
        names = {name.removeprefix("benchmarks.").split(".")[0] for name in imported(path)}
        there = names & {"gpunn", *BENCHMARKS} - {path.parent.name}
        found.setdefault(path.parent.name, set()).update(there)
    assert found == BENCHMARKS


def test_only_the_backends_import_cupy() -> None:
    for path in MODULES:
        names = {name.split(".")[0] for name in imported(path)}
        assert not names & {"cupy", "cupyx"} or place(path) in ("backends", "apps"), path


def branches(path: Path) -> Iterator[ast.AST]:
    """The conditions and comparisons in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            yield node.test
        elif isinstance(node, ast.Compare):
            yield node


def test_nothing_above_the_backends_asks_which_one_it_is() -> None:
    """No branch outside the backends and the command line names a backend or its module."""
    for path in MODULES:
        if place(path) in ("backends", "apps"):
            continue
        for branch in branches(path):
            for node in ast.walk(branch):
                text = node.value if isinstance(node, ast.Constant) else None
                backends = "cupy", "numpy", "compiled", "emulated"
                assert text not in backends, f"{path}: {text}"
                assert getattr(node, "id", "") not in ("cupy", "CupyBackend", "NumpyBackend"), path


def test_backends_know_formulas_by_the_contract_and_no_layer() -> None:
    """They read no private attribute of a part, except what the protocols of formulas declare."""
    formulas = (gpunn.losses.Loss, gpunn.metrics.Metric, gpunn.activations.Activation)
    flags, of_formulas = (
        {name for cls in classes for name in dir(cls) if re.match("_[^_]", name)}
        for classes in ((gpunn.Model, gpunn.layers.Layer), formulas)
    )
    protocols = vars(gpunn.backends.contract.formulas).values()
    declared = {name for cls in protocols if isinstance(cls, type) for name in vars(cls)}
    assert not declared & flags
    files = [path for path in MODULES if place(path) == "backends"]
    nodes = [(path, node) for path in files for node in ast.walk(ast.parse(path.read_text()))]
    read = [(path, node) for path, node in nodes if isinstance(node, ast.Attribute)]
    own = {node.attr for _, node in read if isinstance(node.ctx, ast.Store)}
    assert not [
        f"{path}: {ast.unparse(node)}"
        for path, node in read
        if node.attr in (flags | of_formulas) - declared - own
        and getattr(node.value, "id", "") != "self"
    ]


def fresh(code: str) -> Any:
    """Return the JSON that ``code`` prints in a new process."""
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
    assert "gpunn.backends.cupy.backend" not in modules
    assert "gpunn.apps.cli" not in modules


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


def test_a_small_fit_imports_only_what_it_uses() -> None:
    """Which of gpunn's modules it imports decides how long a short program takes to begin."""
    modules = fresh(
        "import json, sys\n"
        "import numpy as np\n"
        "import gpunn\n"
        "model = gpunn.Sequential([gpunn.layers.Dense(8, activation='relu'),\n"
        "                          gpunn.layers.Dense(3, activation='softmax')])\n"
        "loss = 'sparse_categorical_crossentropy'\n"
        "model.compile('adam', loss, metrics=['accuracy'])\n"
        "model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)\n"
        "print(json.dumps([n for n in sys.modules if n.split('.')[0] == 'gpunn']))\n"
    )
    assert {"gpunn.layers.dense", "gpunn.optimizers.adam"} <= {*modules}
    others = (
        "gpunn.apps", "gpunn.datasets", "gpunn.layers.convolutional.pooling",
        "gpunn.losses.regression", "gpunn.metrics.auc", "gpunn.optimizers.sgd",
        "gpunn.callbacks.tensorboard", "gpunn.callbacks.progress_bar", "gpunn.ops.indexing",
        "gpunn.training.rehearsal", "gpunn.backends.numpy.convolution",
    )  # fmt: skip
    assert not {*others} & {*modules}
    assert len(modules) <= MODULES_OF_A_FIT, sorted(modules)


FIRST = {
    "losses.get('mae')": "MeanAbsoluteError",
    "metrics.get('auc')": "AUC",
    "optimizers.get('adamw')": "AdamW",
    "initializers.get('zeros')": "Zeros",
    "constraints.get('max_norm')": "MaxNorm",
    "regularizers.get('l2')": "L2",
    "activations.get('relu')": "Relu",
    "callbacks.History()": "History",
    "layers.deserialize({'class_name': 'LSTM', 'config': {'units': 3}})": "LSTM",
    "saving.deserialize_keras_object({'class_name': 'Dense', 'config': {'units': 3}})": "Dense",
    "Sequential()": "Sequential",
    "get_backend()": "",
    "ops.exp(gpunn.Input((3,)))": "SymbolicTensor",
    "Input((3,)) * 2": "SymbolicTensor",
    "Input((3,))[:, 0]": "SymbolicTensor",
    "layers.Masking()(gpunn.Input((4, 3)))": "SymbolicTensor",
    "KerasTensor((None, 3)) + 1": "SymbolicTensor",
}


@pytest.mark.parametrize("call", FIRST)
def test_whatever_a_program_uses_first_is_there(call: str) -> None:
    found = fresh(f"import json, gpunn\nprint(json.dumps(type(gpunn.{call}).__name__))")
    assert FIRST[call] in found


def test_every_operation_has_its_name_before_its_module_is_imported() -> None:
    before, after = fresh(
        "import json, importlib, pkgutil, gpunn\n"
        "from gpunn.core.operators import FUNCTIONS\n"
        "before = sorted(FUNCTIONS)\n"
        "found = pkgutil.walk_packages(gpunn.ops.__path__, 'gpunn.ops.')\n"
        "for module in found:\n"
        "    importlib.import_module(module.name)\n"
        "made = all(callable(FUNCTIONS[name]) for name in before)\n"
        "print(json.dumps([before, sorted(FUNCTIONS) if made else []]))\n"
    )
    assert before == after


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
        "twins = [n for n, m in gpunn.common.registry.entries('layer').items() if n == 'Dense']\n"
        "print(json.dumps([same, gpunn.keras is gpunn, twins, Dense.__module__]))\n"
    )
    assert fresh(code) == [True, True, ["Dense"], "gpunn.layers.dense"]


def test_dir_offers_the_public_names_and_nothing_else() -> None:
    """Completion, help and `import *` offer no layer, and no module that gpunn itself imports."""
    dirs, star, there, page = fresh(
        "import json, pydoc\n"
        "offered = {}\n"
        "exec('from gpunn import *', offered)\n"
        "import gpunn, gpunn.plots, gpunn.apps.cli, gpunn.keras.training.trainer\n"
        "del offered['__builtins__']\n"
        "there = {name: hasattr(gpunn, name) for name in dir(gpunn)}\n"
        "page = pydoc.render_doc(gpunn, renderer=pydoc.plaintext)\n"
        "print(json.dumps([[dir(gpunn), dir(gpunn.keras)], sorted(offered), there, page]))\n"
    )
    assert dirs == [star, star] and all(there.values())
    assert [name for name in star if name.startswith("_")] == ["__version__"]
    floors = {name for names in FLOORS for name in names}
    assert floors & set(star) == {
        "activations", "backends", "callbacks", "constraints", "datasets", "distribution",
        "initializers", "layers", "losses", "metrics", "models", "ops", "optimizers",
        "regularizers", "saving", "testing", "utils",
    }  # fmt: skip
    assert not {"annotations", "importlib", "sys"} & set(star)
    assert "class Sequential(" in page and "fit_least_squares(" in page and "importlib" not in page


def test_every_name_that_the_documents_use_is_offered() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.py")]
    name = re.compile(r"(?<![\w./])(?:gpunn|keras)\.([A-Za-z]\w*)")
    texts = [re.sub(r"\]\([^)]*\)", "]", page.read_text()) for page in pages]  # without links
    used = {found for text in texts for found in name.findall(text)}
    # A table refers to the command line, another shows errors; sklearn
    # is imported, if available, on access, as tensorflow is.
    assert used - {"apps", "applications", "training"} <= {*dir(gpunn), "sklearn", "tensorflow"}
    assert hasattr(gpunn, "sklearn") and hasattr(gpunn, "tensorflow")


def test_every_module_that_is_loaded_is_keras_too() -> None:
    code = (
        "import importlib, json, sys\n"
        "import gpunn.layers, gpunn.models\n"
        "names = [n for n in sys.modules if n.startswith('gpunn.') "
        "and not n.startswith('gpunn.keras')]\n"
        "found = {n: importlib.import_module('gpunn.keras' + n[5:]) is sys.modules[n] "
        "for n in names}\n"
        "print(json.dumps(found))\n"
    )
    found = fresh(code)
    assert len(found) > 30
    assert all(found.values()), [name for name, same in found.items() if not same]


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("layers.held", "layers.parameters"),
        ("ops.given", "ops.op_arguments"),
        ("ops.running.call_programs", "ops.running.compiled_calls"),
        ("ops.further.mathematics", "ops.library.mathematics"),
        ("utils.feature_space", "compat.feature_space"),
        ("keras.utils.feature_space", "compat.feature_space"),
        ("random", "ops.random"),
    ],
)
def test_a_module_is_found_under_its_other_names(name: str, now: str) -> None:
    """Pickles of earlier versions use some of them."""
    code = (
        "import importlib, json, gpunn\n"
        f"names = ['gpunn.{name}', 'gpunn.{now}']\n"
        "modules = [importlib.import_module(name) for name in names]\n"
        "print(json.dumps([modules[0] is modules[1], modules[0].__name__]))\n"
    )
    assert fresh(code) == [True, f"gpunn.{now}"]


def test_what_only_some_need_is_not_imported_by_all() -> None:
    """A progress bar and a download take longer to import than all of gpunn."""
    code = (
        "import json, sys\n"
        "import gpunn\n"
        "print(json.dumps([n for n in ('http.client', 'ssl', 'tqdm') if n in sys.modules]))\n"
    )
    assert fresh(code) == []
