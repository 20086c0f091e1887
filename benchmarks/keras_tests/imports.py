"""Imports of ``keras`` and ``keras.src`` that are answered with gpunn's public names.

Keras's tests import what they test from modules of its source: ``keras.src.layers.core.dense``.
Here such a module has the names of the public namespace that contains it: those of `gpunn.layers`.
The tests and their tools are Keras's own files. A name that gpunn does not have stops a test where
it is used, so that the other tests of a file run.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gpunn
from benchmarks import ROOT

# Tools of the tests, which no user imports.
THEIR_OWN = (
    "keras.src.testing", "keras.src.tree", "keras.src.utils.module_utils",
    "keras.src.backend.common.dtypes", "keras.src.backend.common.backend_utils",
)  # fmt: skip
# Namespaces that the public list names with a part of their own, by where Keras's source has them.
ELSEWHERE = {
    "keras.src.backend.random": ("random",),
    "keras.src.backend": ("backend", "ops", "config", "utils", ""),
    "keras.src.models": ("models", "utils", ""),
    "keras.src.trainers": ("utils", "models", ""),
    "keras.src.legacy": ("preprocessing", "utils"),
}
PUBLIC = (ROOT / "tests" / "project" / "keras_names.txt").read_text("utf-8").split("\n")[1:]
# Modules of Keras's source, or of its backends, that are no namespaces of users.
BACKENDS_PARTS = "core", "image", "math", "nn", "numpy", "random"
PARTS = {"tree", *(f"backend.{part}" for part in BACKENDS_PARTS)}
NAMESPACES = {name.rpartition(".")[0] for name in PUBLIC if name}


CLASSES = {"LayerNorm": "layer_normalization", "RMSNorm": "rms_normalization"}
"""Classes of operations that are named otherwise than their functions."""


def operation_class(name: str) -> Any:
    """Return the class that Keras's tests call for an operation: ``Pad(1)(x)`` is ``pad(x, 1)``,
    and ``WhileLoop(cond, body)(x)`` is ``while_loop(cond, body, x)``."""
    words = re.sub("(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name).lower()
    known = (CLASSES.get(name, words), name.lower())
    function = next((getattr(gpunn.ops, n) for n in known if hasattr(gpunn.ops, n)), None)
    if function is None:
        raise AttributeError(name)

    class Called:
        def __init__(self, *args: Any, **options: Any) -> None:
            self.args, self.options = args, options

        def __call__(self, *tensors: Any, **options: Any) -> Any:
            before = name == "Einsum" or any(map(callable, self.args))
            given = (*self.args, *tensors) if before else (*tensors, *self.args)
            return function(*given, **self.options | options)

        symbolic_call = compute_output_spec = call = __call__

    return Called


class NoSuchName(AttributeError):
    """A test uses a name that gpunn does not have."""


class Absent:
    """What an import of an absent name gives: its use is an error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise NoSuchName(self._name)

    __call__ = __iter__ = __getitem__ = __enter__ = __mro_entries__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "pytestmark":
            raise AttributeError(name)
        return Absent(f"{self._name}.{name}")


TOOLS: dict[str, Any] = {  # what the tests' own tools take from Keras's internals
    "backend.is_tensor": lambda x: gpunn.ops.is_tensor(x),
    "is_traceback_filtering_enabled": lambda: False,
    "disable_traceback_filtering": lambda: None,
    "enable_traceback_filtering": lambda: None,
    "clear_session": lambda free_memory=True: gpunn.utils.clear_session(),
    "SUPPORTS_SPARSE_TENSORS": False, "SUPPORTS_RAGGED_TENSORS": False,
    "SUPPORTS_COMPLEX_DTYPES": False, "IS_THREAD_SAFE": True,
    "keras_export": lambda *names, **_: lambda part: part,
    "Functional": gpunn.Model, "GroupedQueryAttention": gpunn.layers.GroupQueryAttention,
    "get_keras_mask": lambda x: getattr(x, "_keras_mask", None),
    "set_keras_mask": lambda x, mask: setattr(x, "_keras_mask", mask),
    "ops.random": gpunn.random, "saving_lib.save_weights_only": gpunn.saving.save_weights,
    "saving_lib.load_weights_only": gpunn.saving.load_weights,
    "_CONFIG_FILENAME": "config.json", "_METADATA_FILENAME": "metadata.json",
    "global_seed_generator": lambda: gpunn.random.SeedGenerator(0),
    "removesuffix": str.removesuffix,
    "random.normal": gpunn.random.normal, "random.uniform": gpunn.random.uniform,
}  # fmt: skip


class Names(types.ModuleType):
    """A module of Keras's source with gpunn's names."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "pytestmark":
            raise AttributeError(name)
        found = self._find(name)
        setattr(self, name, found)
        return found

    def _find(self, name: str) -> Any:
        path = f"{self.__name__}.{name}"
        if path == "keras.src":
            return importlib.import_module(path)
        inside = path.removeprefix("keras.").removeprefix("src.")
        if inside in NAMESPACES or inside in PARTS:  # has modules of its own
            return importlib.import_module(path)
        for tool in (inside, ".".join(inside.split(".")[-2:]), name):
            if tool in TOOLS:
                return TOOLS[tool]
        if source(path) is not None:  # a module, such as that of a function of its name
            return importlib.import_module(path)
        for space in self._spaces():
            with contextlib.suppress(AttributeError, ImportError):
                found = getattr(space, name)
                if not isinstance(found, types.ModuleType):
                    return found
        if inside.startswith("ops.") and name[0].isupper():
            with contextlib.suppress(AttributeError):
                return operation_class(name)
        return Absent(path)

    def _spaces(self) -> Sequence[Any]:
        """The public namespaces whose names this module may have, the nearest first."""
        inside = self.__name__.removeprefix("keras").removeprefix(".src").removeprefix(".")
        parts = inside.split(".") if inside else []
        names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        names = [name for name in names if name in NAMESPACES]
        for start, others in ELSEWHERE.items():
            if self.__name__.startswith(start):
                names += others
        spaces = []
        for name in [*names, *([""] if not parts else [])]:
            space: Any = gpunn
            with contextlib.suppress(AttributeError, ImportError):
                for part in filter(None, name.split(".")):
                    space = getattr(space, part)
                spaces.append(space)
        return spaces


def source(name: str) -> Path | None:
    """Return Keras's file of a module, or the folder of a package."""
    spec = importlib.machinery.PathFinder.find_spec("keras")
    if spec is None or spec.origin is None:
        raise ImportError("Keras is not installed: pip install keras")
    path = Path(spec.origin).parent.joinpath(*name.split(".")[1:])
    if (path / "__init__.py").exists():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").exists() else None


class Finder(importlib.machinery.PathFinder):
    """Find ``keras`` and what is in it before Python does."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.split(".")[0] != "keras":
            return None
        file = source(fullname)
        if file is not None and (fullname.startswith(THEIR_OWN) or fullname.endswith("_test")):
            places = [str(file.parent)] if file.name == "__init__.py" else None
            return importlib.util.spec_from_file_location(
                fullname, file, submodule_search_locations=places
            )
        return importlib.machinery.ModuleSpec(fullname, cls, is_package=True)

    @staticmethod
    def create_module(spec: Any) -> Any:
        return Names(spec.name)

    @staticmethod
    def exec_module(module: Any) -> None:
        module.__path__ = []


def install() -> None:
    """Answer imports of Keras with gpunn's names, in this process."""
    sys.meta_path.insert(0, Finder)
    with contextlib.suppress(ImportError):
        import ml_dtypes  # noqa: F401  NumPy then knows bfloat16, which lists of cases name
    from keras.src.testing import test_case  # type: ignore[import-not-found]

    whole = test_case.TestCase.run_layer_test

    def run_layer_test(self: Any, layer_cls: Any, init_kwargs: Any, **options: Any) -> Any:
        """Check a layer, without what only Keras's own parts can have.

        These are half precision, which gpunn refuses, and the number of generators of seeds, since
        layers of gpunn draw from the stream of their step.
        """
        options["run_mixed_precision_check"] = False
        options["expected_num_seed_generators"] = 0
        options["expected_num_non_trainable_variables"] = None
        return whole(self, layer_cls, init_kwargs, **options)

    class ByCall(type(gpunn.losses.Loss)):  # type: ignore[misc]
        """The tools' own loss replaces ``__call__``, with weights that it does not read."""

        def __new__(cls, name: str, bases: Any, body: dict[str, Any]) -> Any:
            if called := body.pop("__call__", None):
                body["call"] = lambda self, y_true, y_pred: called(self, y_true, y_pred)
            return super().__new__(cls, name, bases, body)

    test_case.Loss = ByCall("Loss", (gpunn.losses.Loss,), {"__module__": "gpunn"})
    test_case.TestCase.run_layer_test = run_layer_test
    test_case.get_seed_generators = lambda layer: []
