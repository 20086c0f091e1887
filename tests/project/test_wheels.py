"""Wheels of Linux and the source archive: contents, sizes, audits, and the ARM64 wheel under QEMU.

`make wheels` builds and audits all wheels; here it builds those of one Python.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from scripts import tool

pytestmark = pytest.mark.checks(
    "pyproject.toml", "setup.py", "MANIFEST.in", "tools/wheels.py", "tools/zig.py"
)

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000
LEFT_BEHIND = tool("wheels")["LEFT_BEHIND"]
THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "GPUNN", "VIRTUAL_ENV"))
} | {"OPENBLAS_NUM_THREADS": "1"}

TRAIN = """
import platform
import numpy as np
import gpunn as keras

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).random((512, 8), dtype=np.float32)
y = (x.sum(axis=1) > 4).astype("int32")
model = keras.Sequential([keras.layers.Dense(16, activation="relu"),
                          keras.layers.Dense(2, activation="softmax")])
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
losses = model.fit(x, y, batch_size=16, epochs=10, verbose=0).history["loss"]
print(platform.machine(), model.backend.name, losses[0], losses[-1])
"""

SOCKETS = """
import json, sys
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
import gpunn
print(json.dumps([opened, gpunn.Sequential([]).backend.name]))
import socket
socket.socket().close()
print(json.dumps(opened))
"""


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=ENVIRONMENT | environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, "\n".join((done.stdout + done.stderr).splitlines()[-20:])
    return done.stdout


def files(path: Path) -> set[str]:
    """Return the names of the files in a wheel, or of those below an archive's only folder."""
    if path.suffix == ".whl":
        return set(zipfile.ZipFile(path).namelist())
    with tarfile.open(path) as file:
        return {one.name.partition("/")[2] for one in file if one.isfile()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the oldest Python, and the source archive."""
    pytest.importorskip("ziglang", reason="make .venv/.for-wheels installs what builds wheels")
    if sys.platform != "linux" or not shutil.which("python3.11"):
        pytest.skip("needs Linux and a Python 3.11")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "tools/wheels.py", "--dist", folder, "--pythons", "3.11", "--no-audit")
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, built from a copy of the tree."""
    folder = tmp_path_factory.mktemp("archive")
    shutil.copytree(ROOT, folder / "tree", ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    run(sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", folder / "dist",
        cwd=folder / "tree", GPUNN_BUILD="none")  # fmt: skip
    (made,) = (folder / "dist").iterdir()
    return made


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree


def tracked(*folders: str) -> set[str]:
    """Return the files of the repository below folders, without results of benchmarks."""
    listed = run("git", "ls-files", "-z", "--", *folders).split("\0")
    return {name for name in listed if name and not name.startswith("benchmarks/results/")}


@pytest.mark.more
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_source_archive_holds_what_is_in_the_repository(archive: Path) -> None:
    wanted = tracked("gpunn", "kernels", "tests", "docs", "examples", "tools", "benchmarks")
    names = files(archive)
    assert not sorted(wanted - names)
    tops = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"}
    assert tops | {"pyproject.toml", "setup.py", "kernels/cpu/module.cpp", "tools/web.py"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".so"))]


@pytest.mark.more
def test_the_wheel_of_the_archive_is_that_of_the_tree(unpacked: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    contents = []
    for source in (unpacked, tree):
        made = tmp_path / f"wheel of {source.name}"
        run(sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", made, cwd=source,
            GPUNN_BUILD="none")  # fmt: skip
        (wheel,) = made.iterdir()
        contents.append({n: zipfile.ZipFile(wheel).read(n) for n in files(wheel)})
    assert contents[0].keys() == contents[1].keys()
    ours = {name for name in contents[0] if not name.endswith("/RECORD")}
    assert [name for name in sorted(ours) if contents[0][name] != contents[1][name]] == []


@pytest.mark.more
def test_tests_run_from_the_source_archive(unpacked: Path) -> None:
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "Dense")
    output = run(*command, "tests/layers/test_gradients.py", cwd=unpacked,
                 PYTHONPATH=str(unpacked))  # fmt: skip
    assert " passed" in output


@pytest.mark.more
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_wheels_are_small_and_stripped(dist: Path, machine: str, tmp_path: Path) -> None:
    (wheel,) = dist.glob(f"*-cp311-cp311-manylinux_2_28_{machine}.whl")
    assert wheel.stat().st_size <= 4 * MEGABYTE
    with zipfile.ZipFile(wheel) as file:
        assert sum(one.file_size for one in file.infolist()) <= 20 * MEGABYTE
        file.extractall(tmp_path)
    modules = sorted(tmp_path.rglob("_kernels_*.so"))
    sets = ["avx2", "avx512", "baseline", "chooser"] if machine == "x86_64" else [
        "baseline", "chooser"]  # fmt: skip
    assert [path.name.split(".")[0].removeprefix("_kernels_") for path in modules] == sets
    for module in modules:
        content = module.read_bytes()
        assert content[:4] == b"\x7fELF"
        assert int.from_bytes(content[18:20], "little") == {"x86_64": 62, "aarch64": 183}[machine]
        assert b".symtab" not in content and b".debug_info" not in content


@pytest.mark.more
@pytest.mark.timeout(3000)
@pytest.mark.skipif(THIS != "3.11" or platform.machine() != "x86_64", reason="another machine's")
def test_the_wheel_trains_here(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*-cp311-cp311-manylinux_2_28_x86_64.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    output = run(sys.executable, "-c", TRAIN, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert_learned(output, "x86_64")
    script = "from gpunn.backends.compiled import cpu_kernels; print(*cpu_kernels.available())"
    output = run(sys.executable, "-c", script, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert output.split() == sets_of_this_cpu()


@pytest.mark.more
@pytest.mark.timeout(3000)
def test_the_arm64_wheel_trains_under_qemu(tmp_path: Path) -> None:
    """With the Python of `make arm64-python`, and a wheel of the stable interface."""
    python = tool("arm64_python")["command"]()
    if not python:
        pytest.skip("make arm64-python fetches Debian's Python for ARM64 and QEMU")
    pytest.importorskip("ziglang", reason="make .venv/.for-wheels installs what builds wheels")
    build = ("--dist", tmp_path, "--machines", "aarch64", "--pythons", "3.12", "--no-audit")
    run(sys.executable, "tools/wheels.py", *build)
    (wheel,) = tmp_path.glob("*-cp312-abi3-manylinux_2_28_aarch64.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "wheel")
    site = ROOT / "build" / "arm64" / "site"
    path = f"{tmp_path / 'wheel'}:{site}"
    assert_learned(run(*python, "-c", TRAIN, cwd=tmp_path, PYTHONPATH=path), "aarch64")


def sets_of_this_cpu() -> list[str]:
    """Return the instruction sets that the system names."""
    found = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = set(found.partition("flags")[2].partition("\n")[0].split())
    wanted = {"avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}}
    return ["baseline", *(name for name, needed in wanted.items() if needed <= flags)]


def assert_learned(output: str, machine: str) -> None:
    where, backend, first, last = output.split()
    assert (where, backend) == (machine, "compiled")
    assert float(last) < 0.7 * float(first)


def test_importing_opens_no_socket(tmp_path: Path) -> None:
    """The last line shows that the hook sees one that is opened."""
    output = run(sys.executable, "-c", SOCKETS, cwd=tmp_path, PYTHONPATH=str(ROOT)).splitlines()
    assert json.loads(output[0])[0] == []
    assert json.loads(output[1])


def test_the_compiler_of_the_wheels_is_not_required_of_a_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    assert not [one for one in needed if "zig" in one]
