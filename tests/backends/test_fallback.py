"""Machines without a usable GPU, each in its own processes: the messages, and the backend used.

A process sees gpunn, the four packages it needs, and the parts of the machine from `machines`; no
other installed packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from machines import COMPLETE, LACKING, Machine

from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.cupy.driver import gpu

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("numpy", "tqdm", "safetensors", "threadpoolctl")
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "GPUNN"))
} | {"OPENBLAS_NUM_THREADS": "1"}
ABSENT = LACKING["CuPy not installed"].line
NO_DRIVER = LACKING["no driver"].line
OLD_DRIVER = "driver too old for CUDA 13"  # a machine with a GPU
CPU = "compiled" if cpu_kernels.why_not() is None else "numpy"  # the choice of "auto" without a GPU

WITH_COMPILER = os.environ.get("PATH", os.defpath)  # which the emulated GPU needs

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def needed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with gpunn as installed and the packages it needs, and no others."""
    folder = tmp_path_factory.mktemp("needed")
    (folder / "gpunn").mkdir()
    for path in [*(ROOT / "gpunn").iterdir(), ROOT / "kernels"]:
        (folder / "gpunn" / path.name).symlink_to(path)
    for name in NEEDED:
        distribution = metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files or ()} - {"..", "__pycache__"}:
            (folder / top).symlink_to(distribution.locate_file(top))
    return folder


@pytest.fixture(scope="session")
def without_kernels(needed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder, as an installation without a compiler leaves it."""
    folder = tmp_path_factory.mktemp("without")
    inside = folder / "gpunn" / "backends" / "compiled"
    inside.mkdir(parents=True)
    for place in (needed, needed / "gpunn", needed / "gpunn" / "backends"):
        for path in place.iterdir():
            link = folder / path.relative_to(needed)
            if not link.exists():
                link.symlink_to(path.resolve())
    for path in (ROOT / "gpunn" / "backends" / "compiled").iterdir():
        if not path.name.startswith("_kernels_"):
            (inside / path.name).symlink_to(path)
    return folder


@pytest.fixture
def run(needed: Path, tmp_path: Path) -> Run:
    def run(
        machine: Machine, *arguments: str, packages: Path = needed, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python on that machine."""
        site = tmp_path / "site"
        if not site.exists():
            site.mkdir()
            machine.write(site)
        path = os.pathsep.join(map(str, (site, packages, ROOT / "tests" / "support")))
        return subprocess.run(
            [sys.executable, "-S", "-W", "error", *arguments],
            cwd=tmp_path,
            env={**ENVIRONMENT, "PYTHONPATH": path, "PATH": str(site / "bin"), **environment},
            capture_output=True,
            text=True,
        )

    return run


def result(done: subprocess.CompletedProcess[str]) -> Any:
    """Return what the program printed; fail the test if the program failed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def announced(name: str, compiled: bool = CPU == "compiled") -> str:
    """Return the message about the chosen backend on that machine: nothing without a GPU."""
    machine = LACKING[name]
    if not (machine.nvidia_smi or (machine.distributions and gpu.is_on_bus())):
        return ""
    if compiled:
        return f"gpunn: using the compiled backend ({cpu_kernels.chosen()}). {machine.line}\n"
    return f"gpunn: using the NumPy backend. {machine.line} {NOT_BUILT}\n"


NOT_BUILT = "The compiled kernels were not built: install a C++ compiler, then gpunn again."


def refused(line: str | None) -> str:
    return f"The CuPy backend cannot be used. {line}"


MODEL = """
import json, sys
import numpy as np

x = np.random.default_rng(0).random((64, 4), dtype=np.float32)
y = (x[:, 0] > x[:, 1]).astype("int32")

def make(**options):
    gpunn.utils.set_random_seed(0)
    hidden = gpunn.layers.Dense(8, activation="relu")
    model = gpunn.Sequential([gpunn.layers.Input((4,)), hidden, gpunn.layers.Dropout(0.2),
                              gpunn.layers.Dense(2, activation="softmax")], **options)
    model.compile(gpunn.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    return model

def train(model, epochs=3, first=0):
    losses = model.fit(x, y, batch_size=24, epochs=epochs, initial_epoch=first, verbose=0)
    return losses.history["loss"]

def tried(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as error:
        return [type(error).__name__, str(error)]
"""

AUTO_AND_CUPY = f"""
import gpunn
{MODEL}
untouched = not {{"cupy", "cuda"}} & set(sys.modules)
models = [make(), make(backend="auto")]
losses = [train(model) for model in models]
gpunn.use_backend("auto")
models.append(make())
losses.append(train(models[-1]))
print(json.dumps({{
    "untouched": untouched,
    "losses": losses,
    "refused": [tried(gpunn.use_backend, "cupy"), tried(gpunn.get_backend, "cupy"),
                tried(lambda: train(make(backend="cupy")))],
    "chosen": gpunn.get_backend().name,
    "models": [model.backend.name for model in models],
}}))
"""


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("name", LACKING)
def test_auto_takes_the_cpu_and_says_so_once_if_there_is_a_gpu_and_cupy_refuses(
    name: str, run: Run
) -> None:
    machine = LACKING[name]
    done = run(machine, "-c", AUTO_AND_CUPY)
    found = result(done)
    assert done.stderr == announced(name)
    assert found["untouched"], "import gpunn imports CuPy"
    assert found["models"] == [CPU] * 3 and found["chosen"] == CPU
    assert all(losses[-1] < losses[0] for losses in found["losses"])
    assert found["refused"] == [["RuntimeError", refused(machine.line)]] * 3


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.more] if number % 5 else [])
        for number, name in enumerate(LACKING)  # the test above checks the line
    ],
)
def test_the_command_line_refuses_in_one_line(name: str, run: Run) -> None:
    machine = LACKING[name]
    done = run(machine, "-m", "gpunn", "train", "mnist", "--backend", "cupy")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"gpunn: error: {refused(machine.line)}\n"


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", ["CuPy not installed", "CuPy broken", "no driver"])
def test_doctor_says_it_too(name: str, run: Run) -> None:
    machine = LACKING[name]
    assert machine.line is not None
    done = run(machine, "-m", "gpunn", "doctor", "--backend", "cupy")
    assert done.returncode == 1 and not done.stderr
    assert refused(machine.line) in " ".join(done.stdout.split())
    done = run(machine, "-m", "gpunn", "doctor")
    assert done.returncode == 0 and not done.stderr
    output = " ".join(done.stdout.split())
    assert f"Backend {CPU} (auto was requested) Kernels none on a GPU. {machine.line}" in output
    assert f"Self-test {CPU}: ok" in output and "Self-test numpy: ok" in output
    assert "cupy:" not in output


def test_the_command_line_trains_on_the_cpu_after_saying_so(
    run: Run, mnist: tuple, tmp_path: Path
) -> None:
    arguments = ("train", "mnist", "--hidden", "--batch-size", "1000", "--epochs", "1")
    done = run(LACKING[OLD_DRIVER], "-m", "gpunn", *arguments, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert announced(OLD_DRIVER) in done.stderr and done.stderr.count("gpunn:") == 1
    assert f", {CPU}\n" in done.stdout


@pytest.mark.parametrize("name", COMPLETE)
def test_nothing_is_missing(name: str, run: Run) -> None:
    """The fake machines are not rejected for being fake."""
    program = (
        "import json; from gpunn.backends.cupy.driver.gpu import why_not; "
        "print(json.dumps(why_not()))"
    )
    assert result(run(COMPLETE[name], "-c", program)) is None


def test_a_gpu_that_fails_is_not_left_for_numpy(run: Run) -> None:
    """Unexpected failures are errors even under "auto": backends are never switched silently."""
    program = f"import gpunn\n{MODEL}\nprint(json.dumps(tried(lambda: train(make()))))"
    done = run(COMPLETE["RTX 2060, CUDA 13"], "-c", program)
    assert result(done) == ["MemoryError", "the GPU is full"]
    assert not done.stderr


ORDERS = {
    "gpunn, cupy": "import gpunn\nimport cupy",
    "cupy, gpunn": "import cupy\nimport gpunn",
    "cupy's part, gpunn": "import cupy.cuda.runtime\nimport gpunn",
    "a model, cupy": "import gpunn\ngpunn.get_backend()\nimport cupy",
    "a backend, cupy": "import gpunn\ngpunn.use_backend('auto')\nimport cupy",
    "gpunn's GPU, gpunn": "import gpunn.backends.cupy.driver.gpu\ngpunn.backends.gpu.why_not()",
    "gpunn as keras": "import gpunn.keras.layers as layers, gpunn",
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_imports_does_not_matter(order: str, run: Run) -> None:
    done = run(LACKING[OLD_DRIVER], "-c", ORDERS[order] + AUTO_AND_CUPY)
    found = result(done)
    assert done.stderr == announced(OLD_DRIVER)
    assert found["models"] == [CPU] * 3
    assert found["refused"] == [["RuntimeError", refused(LACKING[OLD_DRIVER].line)]] * 3


def test_a_broken_cupy_that_was_tried_before(run: Run) -> None:
    program = "try:\n    import cupy\nexcept ImportError:\n    pass" + AUTO_AND_CUPY
    assert run(LACKING["CuPy broken"], "-c", program).stderr == announced("CuPy broken")


# -- without compiled kernels

WITHOUT = f"""
import gpunn
{MODEL}
before = [tried(gpunn.use_backend, "compiled"), tried(lambda: train(make(backend="compiled")))]
models = [make(), make(backend="auto"), make(backend="numpy")]
losses = [train(model) for model in models]
print(json.dumps([before, [model.backend.name for model in models], losses]))
"""


def test_numpy_takes_over_where_there_are_no_compiled_kernels(
    run: Run, without_kernels: Path
) -> None:
    done = run(LACKING[OLD_DRIVER], "-c", WITHOUT, packages=without_kernels)
    refusals, names, losses = result(done)
    assert done.stderr == announced(OLD_DRIVER, compiled=False)
    assert refusals == [["RuntimeError", NOT_BUILT]] * 2
    assert names == ["numpy"] * 3
    assert losses[0] == losses[1] == losses[2] and losses[0][-1] < losses[0][0]


def test_doctor_says_that_they_are_missing_and_how_to_get_them(
    run: Run, without_kernels: Path
) -> None:
    done = run(LACKING["no driver"], "-m", "gpunn", "doctor", packages=without_kernels)
    assert done.returncode == 0 and not done.stderr
    output = " ".join(done.stdout.split())
    assert f"Compiled {NOT_BUILT}" in output and "Backend numpy (auto was requested)" in output
    assert "Self-test numpy: ok" in output and "compiled:" not in output


def test_compiled_kernels_that_do_not_load(run: Run, without_kernels: Path, tmp_path: Path) -> None:
    """For example those of another system: the message contains the linker's reason."""
    broken = tmp_path / "broken"
    shutil.copytree(without_kernels, broken, symlinks=True)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    kernels = broken / "gpunn" / "backends" / "compiled" / f"_kernels_baseline{suffix}"
    kernels.write_bytes(b"no library")
    done = run(LACKING[OLD_DRIVER], "-c", WITHOUT, packages=broken)
    refusals, names, _ = result(done)
    assert [kind for kind, _ in refusals] == ["RuntimeError"] * 2 and names == ["numpy"] * 3
    assert refusals[0][1].startswith("The compiled kernels cannot be loaded: ")
    assert done.stderr.count("\n") == 1 and refusals[0][1] in done.stderr


# -- GPUNN_BACKEND

FIRST_USE = f"""
import gpunn
{MODEL}
first = tried(gpunn.get_backend)
print(json.dumps([first, tried(lambda: train(make())), gpunn.use_backend("numpy"),
                  make().backend.name, len(train(make())), "cupy" in sys.modules]))
"""


@pytest.mark.parametrize(
    ("value", "error", "imported"),
    [
        ("cupy", ["RuntimeError", refused(NO_DRIVER)], True),
        (
            "cupi",
            [
                "ValueError",
                "GPUNN_BACKEND must be one of auto, numpy, compiled, cupy; got 'cupi'. "
                "Did you mean 'cupy'?",
            ],
            False,
        ),
        ("numpy", None, False),
    ],
)  # fmt: skip
def test_the_environments_choice_is_taken_at_first_use(
    value: str, error: list[str] | None, imported: bool, run: Run
) -> None:
    """Importing works; the first use fails repeatedly until another backend is chosen."""
    done = run(LACKING["no driver"], "-c", FIRST_USE, GPUNN_BACKEND=value)
    assert result(done) == [error, error, None, "numpy", 3, imported]
    assert not done.stderr


@pytest.mark.parametrize("value", ["", "auto"])
def test_the_environment_says_auto(value: str, run: Run) -> None:
    done = run(LACKING[OLD_DRIVER], "-c", AUTO_AND_CUPY, GPUNN_BACKEND=value)
    assert result(done)["chosen"] == CPU and done.stderr == announced(OLD_DRIVER)


@pytest.mark.parametrize(
    ("value", "message"), [("cupy", refused(ABSENT)), ("cupi", "GPUNN_BACKEND must be one of")]
)
def test_the_command_line_and_the_environment(value: str, message: str, run: Run) -> None:
    machine = LACKING["CuPy not installed"]
    done = run(machine, "-m", "gpunn", "train", "mnist", GPUNN_BACKEND=value)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"gpunn: error: {message}")


# -- several backends in one process

SIDE_BY_SIDE = f"""
import gpunn
import emulated
{MODEL}
which = sys.argv[1:]
models = {{}}
for name in which:
    gpunn.use_backend(name)
    models[name] = make()
for epoch in range(3):
    for name in which:
        train(models[name], epoch + 1, epoch)
        models[name].evaluate(x, y, verbose=0)
        gpunn.use_backend(which[0])
print(json.dumps({{
    name: [model.backend.name, [w.tobytes().hex() for w in model.get_weights()],
           model.predict(x, verbose=0).tobytes().hex()]
    for name, model in models.items()
}}))
"""


def test_two_backends_in_one_process_do_not_meet(run: Run) -> None:
    """Each gives bitwise the results it computes alone, whichever was chosen last."""
    machine = LACKING["CuPy not installed"]

    def found(*which: str) -> Any:
        done = run(machine, "-c", SIDE_BY_SIDE, *which, PATH=WITH_COMPILER)
        assert not done.stderr, "nothing was left to choose"
        return result(done)

    alone = found("numpy") | found("emulated")
    assert {name: values[0] for name, values in alone.items()} == {
        "numpy": "numpy",
        "emulated": "emulated",
    }
    assert alone["numpy"][1] != alone["emulated"][1], "they are two, and round differently"
    assert found("numpy", "emulated") == found("emulated", "numpy") == alone


STAYS = f"""
import gpunn
import emulated
{MODEL}
layer = gpunn.layers.Dense(2, activation="softmax")
gpunn.use_backend("emulated")
late = gpunn.Sequential([gpunn.layers.Dense(2, activation="softmax")])  # not built yet
first = gpunn.Sequential([gpunn.layers.Input((4,)), layer])
gpunn.use_backend("numpy")
second = gpunn.Sequential([gpunn.layers.Input((4,)), layer])  # takes the layer's parameters
for model in (late, first, second, first):
    model.compile("sgd", "sparse_categorical_crossentropy")
    train(model)
print(json.dumps([model.backend.name for model in (late, first, second)]))
"""


def test_a_model_stays_where_it_was_made(run: Run) -> None:
    """Built late or given its layers back, after another backend was chosen."""
    found = result(run(LACKING["CuPy not installed"], "-c", STAYS, PATH=WITH_COMPILER))
    assert found == ["emulated", "emulated", "numpy"]


@pytest.mark.skipif(CPU == "numpy", reason="there are no compiled kernels")
def test_the_best_that_was_built_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: dict[str, Any] = {}
    monkeypatch.setattr(cpu_kernels, "of_this_cpu", lambda: cpu_kernels.INSTRUCTIONS)
    monkeypatch.setattr(cpu_kernels, "module", loaded.setdefault)
    monkeypatch.setattr(cpu_kernels, "is_built", lambda name: name != "avx512")
    cpu_kernels.load.__wrapped__(None)
    with pytest.raises(RuntimeError, match=r"requests avx512, but it was not built; available"):
        cpu_kernels.load.__wrapped__("avx512")
    monkeypatch.setattr(cpu_kernels, "is_built", lambda name: True)
    monkeypatch.setattr(cpu_kernels, "of_this_cpu", lambda: ("baseline", "avx2"))
    with pytest.raises(RuntimeError, match=r"requests avx512, but this CPU does not have it"):
        cpu_kernels.load.__wrapped__("avx512")
    assert list(loaded) == ["avx2"]
    monkeypatch.setattr(cpu_kernels, "is_built", lambda name: name == "avx512")
    with pytest.raises(RuntimeError, match=r"built for avx512, which this CPU does not have: ins"):
        cpu_kernels.load.__wrapped__(None)
