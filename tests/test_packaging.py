"""What is installed: the wheel, away from the tree, on the oldest and the newest Python found."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = {(3, minor) for minor in range(10, 14)}
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "GPUNN", "VIRTUAL_ENV"))
} | {"OPENBLAS_NUM_THREADS": "1"}

TRAIN = """
import numpy as np
import gpunn as keras

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).random((512, 8), dtype=np.float32)
y = (x.sum(axis=1) > 4).astype("int32")
model = keras.Sequential([keras.layers.Dense(16, activation="relu"),
                          keras.layers.Dense(2, activation="softmax")])
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy",
              metrics=["accuracy"])
history = model.fit(x, y, batch_size=16, epochs=10, verbose=0).history
model.save("model.gpunn")
again = keras.saving.load_model("model.gpunn")
assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
print(history["loss"][0], history["loss"][-1], history["accuracy"][-1])
"""

LIST = """
import importlib.util, json
from importlib.resources import files
print(json.dumps({
    "folder": str(files("gpunn")),
    "typed": files("gpunn").joinpath("py.typed").is_file(),
    "kernels": sorted(f.name for f in files("gpunn.kernels").iterdir()
                      if f.name.endswith((".cu", ".cuh"))),
    "stray": importlib.util.find_spec("kernels") is not None,
}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, "\n".join((done.stdout + done.stderr).splitlines()[-20:])
    return done.stdout


def version_of(python: str | Path) -> tuple[int, int] | None:
    """Return the version of a Python that runs and can make environments, else None."""
    script = "import sys, ensurepip, venv; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [str(python), "-c", script], env=ENVIRONMENT, capture_output=True, text=True
        )
    except OSError:
        return None
    if done.returncode != 0:
        return None
    major, minor = done.stdout.split()
    return int(major), int(minor)


def candidates() -> Iterator[str | Path]:
    yield sys.executable
    for major, minor in sorted(SUPPORTED):
        if found := shutil.which(f"python{major}.{minor}"):
            yield found
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip()
        yield from sorted(Path(root).glob("versions/3.*/bin/python"))


@functools.cache
def pythons() -> dict[str, str | Path]:
    """Return the oldest and the newest supported Python of this machine."""
    found = {version: python for python in candidates() if (version := version_of(python))}
    versions = sorted(found.keys() & SUPPORTED) or sorted(found)
    return {"oldest": found[versions[0]], "newest": found[versions[-1]]}


def sources(folder: str) -> set[str]:
    """Return the files below a folder of the tree that an installation has to hold."""
    return {
        path.relative_to(ROOT / folder).as_posix()
        for suffix in ("py", "cu", "cuh", "typed")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
    }


def kernel_sources() -> list[str]:
    names = sorted(name for name in sources("kernels") if not name.endswith(".py"))
    assert names
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive from the tree, and from the archive the wheel.

    Built from a copy, because setuptools also packs whatever an earlier build's `*.egg-info` lists.
    """
    tree = tmp_path_factory.mktemp("clone") / "gpunn"
    left_behind = (".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*left_behind))
    run(sys.executable, "-m", "build", tree, cwd=tree.parent)
    (built,) = tree.glob("dist/*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function: install the wheel for a Python, return its new environment's scripts."""

    @functools.cache
    def install(python: str | Path) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        run(python, "-m", "venv", folder, cwd=folder)
        scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        run(scripts / "python", "-m", "pip", "install", wheel, cwd=folder)
        return scripts

    return install


def test_wheel_holds_the_tree(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"gpunn/{name}" for name in sources("gpunn")}
    for folder in ("kernels", "benchmarks"):
        wanted |= {f"gpunn/{folder}/{name}" for name in sources(folder)}
    missing = sorted(wanted - names)
    packages = sorted({os.path.dirname(name).replace("/", ".") for name in missing})
    assert not missing, f"tool.setuptools in pyproject.toml leaves out {packages}: {missing}"
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gpunn"}


@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_wheel_trains_from_another_folder(
    installed: Callable[..., Path], which: str, tmp_path: Path
) -> None:
    scripts = installed(pythons()[which])
    found = json.loads(run(scripts / "python", "-c", LIST, cwd=tmp_path))
    assert ROOT not in Path(found["folder"]).parents
    assert found["typed"]
    assert found["kernels"] == kernel_sources()
    assert not found["stray"]
    first, last, accuracy = map(float, run(scripts / "python", "-c", TRAIN, cwd=tmp_path).split())
    assert last < 0.7 * first
    assert accuracy > 0.85
    assert "train" in run(scripts / "gpunn", "--help", cwd=tmp_path)
    little = ("--quick", "--tier", "step", "--rows", "64")
    said = run(scripts / "gpunn", "bench", *little, cwd=tmp_path)
    assert "PyTorch, fused optimizer: torch is not installed" in said
    assert "gpunn" in said and (tmp_path / "runs" / "bench" / "bench.json").exists()


def test_editable_install_finds_the_kernels(tmp_path: Path) -> None:
    """The environment of the tests is an editable install, as `make test` makes it."""
    found = json.loads(run(sys.executable, "-c", LIST, cwd=tmp_path))
    assert Path(found["folder"]) == ROOT / "gpunn"
    assert found["typed"]
    assert found["kernels"] == kernel_sources()
    assert not found["stray"]
