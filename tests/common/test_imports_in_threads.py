"""What threads get that import modules, or use names first, at the same time."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

import gpunn
from gpunn.core.operators import Functions

ALIAS = """
import faulthandler, sys, threading
faulthandler.dump_traceback_later(60, exit=True)
from gpunn.common.importing.aliases import AliasFinder

searched = threading.Event()

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "pack.other":
            searched.set()

sys.meta_path[:0] = [Watch(), AliasFinder({"pack.other": "pack.real.inner"})]
import pack
pack.searched = searched
found = []

def by_alias():
    import pack.other
    found.append(pack.other)

pack.second = threading.Thread(target=by_alias)
first = threading.Thread(target=lambda: __import__("pack.real"))
first.start()
first.join()
pack.second.join()
print(found[0] is sys.modules["pack.real.inner"], found[0].value)
"""


def test_an_alias_is_found_while_another_thread_imports_the_package_around_it(
    tmp_path: Path,
) -> None:
    """The search holds the lock of all imports, which the other thread needs to finish."""
    (tmp_path / "pack" / "real").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "real" / "__init__.py").write_text(
        "import pack\npack.second.start()\npack.searched.wait()\nimport colorsys\n"
    )
    (tmp_path / "pack" / "real" / "inner.py").write_text("value = 3\n")
    (tmp_path / "program.py").write_text(ALIAS)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(gpunn.__file__).parents[1])},
    )  # fmt: skip
    assert done.stdout == "True 3\n", done.stderr


NAMES = """
import faulthandler, random, sys, threading
faulthandler.dump_traceback_later(60, exit=True)
import gpunn

names = (
    "layers.Dense Sequential ops.fft keras.layers Model losses.MeanSquaredError optimizers.Adam "
    "callbacks.EarlyStopping fit_many search layers.RNN utils.to_categorical saving.load_model "
    "metrics.Accuracy random.normal Variable device plots.history initializers.GlorotUniform "
    "activations.softmax models.load_model losses.mse get_backend backends.numpy GradientTape grad"
).split()
names = random.Random(int(sys.argv[1])).sample(names, 12)
sys.setswitchinterval(1e-5)
together = threading.Barrier(len(names))
failed = []

def use(name):
    together.wait()
    found = gpunn
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        failed.append((name, error))

threads = [threading.Thread(target=use, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed)
"""


@pytest.mark.parametrize("seed", range(6))
def test_threads_may_use_different_names_first(seed: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NAMES, str(seed)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr


def test_an_operation_is_found_when_its_whole_module_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is registered before what it calls is there."""
    (tmp_path / "late_operations.py").write_text(
        "def first():\n    return second()\n"
        "functions['first'] = first\n"
        "other.start()\nother.join(0.1)\n"
        "def second():\n    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    functions, found = Functions(), list[int]()
    functions.later("pack", {"late_operations": "first"})
    other = threading.Thread(target=lambda: found.append(functions["first"]()))
    monkeypatch.setattr(builtins, "functions", functions, raising=False)
    monkeypatch.setattr(builtins, "other", other, raising=False)
    monkeypatch.setitem(sys.modules, "pack", ModuleType("pack"))
    sys.modules["pack"].__path__ = [str(tmp_path)]
    assert functions["first"]() == 3
    other.join()
    assert found == [3]


OWN_BACKEND = """
import sys, threading
import numpy as np
import gpunn
from gpunn.backends import register_backend
from gpunn.backends.numpy.backend import NumpyBackend

counted = []

class Counts(NumpyBackend):
    def _max_pooling(self, call):
        counted.append(call.x.shape)
        super()._max_pooling(call)

register_backend("counts", Counts)
print("gpunn.backends.numpy.convolution" in sys.modules)
sys.setswitchinterval(1e-6)
x = np.arange(16.0).reshape(1, 4, 4, 1)
found = []

def pool(backend):
    model = gpunn.Sequential([gpunn.Input((4, 4, 1)), gpunn.layers.MaxPooling2D()], backend=backend)
    found.append(model.predict(x, verbose=0).ravel().tolist())

threads = [threading.Thread(target=pool, args=(name,)) for name in ("counts", "numpy") * 3]
for one in threads:
    one.start()
for one in threads:
    one.join()
print(found == [[5.0, 7.0, 13.0, 15.0]] * 6, len(counted) > 0)
"""


def test_operations_that_are_imported_later_are_inherited_and_shared_by_threads() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OWN_BACKEND], capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\nTrue True\n", done.stderr
