"""Installation: the wheel with compiled kernels, and the source archive without a compiler.

Both are tested outside the tree, on the oldest and the newest Python found.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gpunn.backends.compiled import cpu_kernels

pytestmark = pytest.mark.checks(
    "pyproject.toml", "setup.py", "MANIFEST.in", "Makefile", "Dockerfile"
)

ROOT = Path(__file__).resolve().parents[2]
SUPPORTED = {(3, minor) for minor in range(11, 16)}
NEWEST = runpy.run_path(str(ROOT / "tools" / "newest_pythons.py"))["pythons"]()
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "GPUNN", "VIRTUAL_ENV"))
} | {"OPENBLAS_NUM_THREADS": "1"}
# One module of three, not optimized: only its way into the wheel is tested.
LITTLE = {"GPUNN_BUILD": "baseline", "CFLAGS": "-O0"}
NO_COMPILER = {"CC": "/nonexistent/cc", "CXX": "/nonexistent/c++"}
COMPILER = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
THIS = sys.version_info[:2]

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
print(model.backend.name, history["loss"][0], history["loss"][-1], history["accuracy"][-1])
"""

PLANE = """
import gpunn as keras

chain = [keras.Input((2,)), keras.layers.Dense(3, activation="softmax")]
keras.Sequential(chain).save("plane.gpunn")
"""

LIST = """
import importlib.util, json
from importlib.resources import files
print(json.dumps({
    "folder": str(files("gpunn")),
    "typed": files("gpunn").joinpath("py.typed").is_file(),
    "kernels": sorted(f"{folder.name}/{f.name}" for folder in files("gpunn.kernels").iterdir()
                      if folder.is_dir() for f in folder.iterdir()
                      if f.name.endswith((".cu", ".cuh"))),
    "stray": importlib.util.find_spec("kernels") is not None,
}))
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Return what the command prints; what does not end in ten minutes fails with its stacks."""
    with subprocess.Popen(
        [str(part) for part in command], cwd=cwd, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=ENVIRONMENT | {"PYTHONFAULTHANDLER": "1"} | environment,
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(timeout=600)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            output, errors = process.communicate()
    assert process.returncode == 0, "\n".join((output + errors).splitlines()[-120:])
    return output


def test_the_extras_for_users_are_in_the_guide() -> None:
    """Those of contributors bring tests, documents and tools."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {"bench", "bench-tables", "dev", "docs", "sass", "test", "trackers", "web", "wheels"}
    guide = (ROOT / "docs" / "how-to" / "install.md").read_text()
    rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in row.split("`")[1::2]}
    assert set(about["optional-dependencies"]) == named | ours


def test_the_images_install_extras_that_exist() -> None:
    """pip only warns of an extra that a wheel does not have."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = re.findall(r'pip install "\$1\[(.+?)\]"', (ROOT / "Dockerfile").read_text())
    assert len(installed) == 2, "one for each target"
    for names in installed:
        assert {"image", "tables"} <= set(names.split(",")) <= set(about["optional-dependencies"])


def refusal(*command: str | Path, cwd: Path) -> str:
    """Return the message, in one line, of a command that ends with an error."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith("gpunn: error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def version_of(python: str | Path) -> tuple[int, int] | None:
    """Return the version of a Python that runs and can create environments, otherwise None."""
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
    yield from NEWEST
    for major, minor in sorted(SUPPORTED):
        if found := shutil.which(f"python{major}.{minor}"):
            yield found
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip()
        yield from sorted(Path(root).glob("versions/3.*/bin/python"))


@functools.cache
def pythons() -> dict[str, str | Path]:
    """Return this Python, and the oldest and the newest supported Python of this machine."""
    found = {version: python for python in candidates() if (version := version_of(python))}
    versions = sorted(found.keys() & SUPPORTED) or sorted(found)
    ends = {"oldest": found[versions[0]], "newest": found[versions[-1]]}
    return {"this": sys.executable, **ends}


def sources(folder: str) -> set[str]:
    """Return the files below a folder of the tree that an installation has to hold."""
    return {
        path.relative_to(ROOT / folder).as_posix()
        for suffix in ("py", "cu", "cuh", "typed", "js", "css", "html", "wasm")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
    }


def lowest_versions() -> list[str]:
    """Return the lowest version of each package that gpunn needs: ``numpy==2.0``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert all(">=" in needed for needed in project["dependencies"])
    return [needed.replace(">=", "==") for needed in project["dependencies"]]


def is_of(version: str, installed: str) -> bool:
    """Whether ``numpy==2.0.0`` is ``numpy==2.0``."""
    return f"{installed}.".startswith(f"{version}.")


def kernel_sources() -> list[str]:
    names = sorted(name for name in sources("kernels") if not name.endswith(".py"))
    assert names
    return names


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, without build outputs."""
    copied = tmp_path_factory.mktemp("clone") / "gpunn"
    left_behind = (".*", "build", "dist", "runs", "*.egg-info", "__pycache__", "_kernels_*",
                   "not_built.json")  # fmt: skip
    shutil.copytree(ROOT, copied, ignore=shutil.ignore_patterns(*left_behind))
    return copied


@pytest.fixture(scope="module")
def built(tree: Path) -> Path:
    """Build the source archive from the tree and the wheel from it; return the folder of both.

    The tree is a copy, because setuptools also packs whatever an old `*.egg-info` lists.
    """
    run(sys.executable, "-m", "build", tree, cwd=tree.parent, **LITTLE)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def archive(built: Path) -> Path:
    (found,) = built.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def pure_wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel from an archive without compiling: a wheel for every Python."""
    folder = tmp_path_factory.mktemp("pure")
    build = (sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps")
    run(*build, archive, cwd=folder, GPUNN_BUILD="none")
    (found,) = folder.glob("gpunn-*-py3-none-any.whl")
    return found


@pytest.fixture(scope="module")
def installed(
    wheel: Path, pure_wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Return a function that installs the wheel for a Python in a new environment, with given
    versions of what it needs, or the newest ones.

    The function returns the folder of the environment's scripts.
    """

    @functools.cache
    def install(python: str | Path, *versions: str) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        run(python, "-m", "venv", folder, cwd=folder)
        scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        fitting = wheel if version_of(python) == THIS else pure_wheel
        run(scripts / "python", "-m", "pip", "install", fitting, *versions,
            cwd=folder, **NO_COMPILER)  # fmt: skip
        return scripts

    return install


@pytest.mark.more
def test_wheel_holds_the_tree(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"gpunn/{name}" for name in sources("gpunn")}
    wanted |= {f"gpunn/kernels/{name}" for name in sources("kernels")}
    missing = sorted(wanted - names)
    packages = sorted({os.path.dirname(name).replace("/", ".") for name in missing})
    assert not missing, f"PACKAGES in setup.py leaves out {packages}: {missing}"
    assert not [name for name in names if name.endswith((".cpp", ".hpp"))]
    assert not [name for name in names if "bench" in name and not name.startswith("gpunn/apps/cli")]
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gpunn"}


@pytest.mark.more
def test_source_archive_holds_the_benchmarks(archive: Path) -> None:
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {f"benchmarks/{name}" for name in sources("benchmarks")} <= names
    assert {"kernels/chooser.cpp", "kernels/cpu/module.cpp", "setup.py"} <= names


def assert_learned(first: str, last: str, accuracy: str) -> None:
    assert float(last) < 0.7 * float(first)
    assert float(accuracy) > 0.85


@pytest.mark.more
@pytest.mark.parametrize("which", ["this", "oldest", "newest"])
def test_wheel_trains_from_another_folder(
    installed: Callable[..., Path], which: str, tmp_path: Path
) -> None:
    versions = lowest_versions() if which == "oldest" else []
    scripts = installed(pythons()[which], *versions)
    there = run(scripts / "python", "-m", "pip", "freeze", cwd=tmp_path).split()
    assert all(any(is_of(version, one) for one in there) for version in versions)
    found = json.loads(run(scripts / "python", "-c", LIST, cwd=tmp_path))
    assert ROOT not in Path(found["folder"]).parents
    assert found["typed"]
    assert found["kernels"] == kernel_sources()
    assert not found["stray"]
    path = str(scripts)  # no compiler there, or anything else
    backend, *figures = run(scripts / "python", "-c", TRAIN, cwd=tmp_path, PATH=path).split()
    has_kernels = version_of(pythons()[which]) == THIS and COMPILER
    assert backend == ("compiled" if has_kernels else "numpy")
    assert_learned(*figures)
    output = run(scripts / "gpunn", "doctor", cwd=tmp_path, PATH=path)
    assert ("Compiled   baseline (available: baseline)" in output) == has_kernels
    assert "train" in run(scripts / "gpunn", "--help", cwd=tmp_path)
    run(scripts / "python", "-c", PLANE, cwd=tmp_path, PATH=path)
    run(scripts / "gpunn", "export", "plane.gpunn", "plane.html", cwd=tmp_path, PATH=path)
    run(scripts / "gpunn", "playground", "--save", "play.html", cwd=tmp_path, PATH=path)
    assert all((tmp_path / f"{name}.html").stat().st_size > 99_000 for name in ("plane", "play"))
    assert "Get gpunn's source tree" in refusal(scripts / "gpunn", "bench", cwd=tmp_path)
    if which == "oldest":
        little = ("--quick", "--tier", "step", "--rows", "64")
        tree = {"PYTHONPATH": str(ROOT)}
        output = run(scripts / "python", "-m", "gpunn", "bench", *little, cwd=tmp_path, **tree)
        assert "PyTorch, fused optimizer: torch is not installed" in output
        assert "gpunn" in output and (tmp_path / "runs" / "bench" / "bench.json").exists()


# Tests that need only the compiled kernels and pytest: the use of Python's classes, functions,
# frames and threads.
ON_THE_NEWEST = (
    "tests/common", "tests/core", "tests/layers/test_custom_call.py",
    "tests/layers/test_custom_state.py", "tests/callbacks/test_callbacks.py",
    "tests/optimizers/test_optimizers.py",
    "tests/training/test_custom_parts.py", "tests/training/test_custom_functions.py",
    "tests/training/test_threads.py", "gpunn/common", "gpunn/layers",
)  # fmt: skip


@pytest.mark.more
@pytest.mark.timeout(1200)
def test_one_wheel_serves_all_later_pythons(tree: Path, tmp_path: Path) -> None:
    """From Python 3.12 on: built by one Python, it trains with its kernels on a newer one."""
    if len(NEWEST) < 2:
        reason = "make newest-pythons fetches those of Debian testing"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    own = []
    for number, python in enumerate(NEWEST[-2:]):
        run(python, "-m", "venv", tmp_path / f"env{number}", cwd=tmp_path)
        own.append(tmp_path / f"env{number}" / "bin" / "python")
    builder, user = own
    install = ("-m", "pip", "install", "--quiet", "--only-binary=:all:")
    run(builder, *install, "numpy>=2.0", "setuptools>=77", cwd=tmp_path)
    copied = shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns("_kernels_*"))
    wheels = ("setup.py", "--quiet", "bdist_wheel", "--dist-dir", tmp_path / "dist")
    run(builder, *wheels, cwd=copied, **LITTLE)
    (made,) = (tmp_path / "dist").glob("gpunn-*-cp312-abi3-*.whl")
    with zipfile.ZipFile(made) as packed:
        kernels = [name for name in packed.namelist() if "_kernels_" in name and "abi3" in name]
    assert len(kernels) == 2
    run(user, *install, made, cwd=tmp_path)
    backend, *figures = run(user, "-W", "error", "-c", TRAIN, cwd=tmp_path).split()
    assert backend == "compiled"
    assert_learned(*figures)


@pytest.mark.more
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("age", [0, 1], ids=["newest", "one before"])
def test_the_newest_pythons_train_with_kernels_of_their_own(
    age: int, tree: Path, tmp_path: Path
) -> None:
    """On Debian testing's Pythons: imports, trains, pickles, and passes tests of custom parts."""
    if len(NEWEST) <= age:
        reason = "make newest-pythons fetches those of Debian testing"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    python = NEWEST[-1 - age]
    run(python, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    own = tmp_path / "env" / "bin" / "python"
    needed = ("numpy>=2.0", "safetensors", "threadpoolctl", "tqdm", "setuptools>=77",
              "pytest>=9.0", "pytest-timeout", "hypothesis")  # fmt: skip
    run(own, "-m", "pip", "install", "--quiet", "--only-binary=:all:", *needed, cwd=tmp_path)
    run(own, "setup.py", "--quiet", "build_ext", "--inplace", cwd=tree, **LITTLE)
    backend, *figures = run(own, "-W", "error", "-c", TRAIN, cwd=tree).split()
    assert backend == "compiled"
    assert_learned(*figures)
    (tree / "model.gpunn").unlink()
    assert "Compiled   baseline" in run(own, "-m", "gpunn", "doctor", cwd=tree)
    # Hypothesis counts references as in Python 3.13 and older, and warns of its own generators.
    quiet = ("-W", "ignore:It looks like `register_random`:hypothesis.errors.HypothesisWarning")
    once = ("-x", "-o", "timeout=100", "-o", "faulthandler_timeout=150")  # all take 45 s
    command = (own, "-m", "pytest", "-q", "-p", "no:cacheprovider", *once, *quiet)
    run(*command, *ON_THE_NEWEST, cwd=tree)


@pytest.mark.more
def test_source_archive_installs_without_a_compiler(archive: Path, tmp_path: Path) -> None:
    """As pure Python: it installs silently and trains, and doctor reports what it lacks."""
    install = (sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps")
    nothing = {**NO_COMPILER, "PATH": str(tmp_path)}
    output = run(*install, "--target", tmp_path / "site", archive, cwd=tmp_path, **nothing)
    assert "Successfully installed gpunn" in output
    here = {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path / "site")}
    assert str(tmp_path) in run(
        sys.executable, "-c", "import gpunn; print(gpunn.__file__)", cwd=tmp_path, **here
    )
    backend, *figures = run(sys.executable, "-c", TRAIN, cwd=tmp_path, **here).split()
    assert backend == "numpy"
    assert_learned(*figures)
    output = " ".join(run(sys.executable, "-m", "gpunn", "doctor", cwd=tmp_path, **here).split())
    assert "The compiled kernels were not built: install a C++ compiler" in output
    assert NO_COMPILER["CXX"] in output.partition("the compiler reported: ")[2].partition("CuPy")[0]


FAILING = """#!/bin/sh
echo "In file included from all.hpp:1:" >&2
echo "all.hpp:2:10: fatal error: Python.h: No such file or directory" >&2
exit 3
"""


@pytest.mark.skipif(os.name == "nt", reason="another compiler there")
def test_a_wheel_without_kernels_is_tagged_so_and_keeps_the_output_of_the_compiler(
    tmp_path: Path,
) -> None:
    """With `setup.py`, without the half minute of an isolated build."""
    compiler = tmp_path / "c++"
    compiler.write_text(FAILING)
    compiler.chmod(0o755)
    tree = tmp_path / "tree"
    for name in ("kernels", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        tree.mkdir(exist_ok=True)
        copied(ROOT / name, tree / name)
    compiled = tree / "gpunn" / "backends" / "compiled"
    compiled.mkdir(parents=True)
    for name in ("__init__.py", "_version.py", "backends/__init__.py",
                 "backends/compiled/__init__.py"):  # fmt: skip
        shutil.copy2(ROOT / "gpunn" / name, tree / "gpunn" / name)
    failing = {"CC": str(compiler), "CXX": str(compiler)}
    run(sys.executable, "setup.py", "-q", "bdist_wheel", cwd=tree, **failing)
    (wheel,) = (tree / "dist").iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as file:
        reasons = json.loads(file.read("gpunn/backends/compiled/not_built.json"))
        about = file.read(next(n for n in file.namelist() if n.endswith("/WHEEL"))).decode()
    assert reasons.keys() >= {"chooser", "baseline"}
    assert all("all.hpp:2:10: fatal error: Python.h" in words for words in reasons.values())
    assert "Root-Is-Purelib: true" in about and "Tag: py3-none-any" in about
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    asked = {**ENVIRONMENT, **failing, "GPUNN_BUILD": "baseline"}
    done = subprocess.run(command, cwd=tree, env=asked, capture_output=True, text=True)
    assert done.returncode != 0
    assert "GPUNN_BUILD asks for 'baseline'" in done.stderr
    assert "fatal error: Python.h" in done.stderr
    run(*command, cwd=tree, **failing)
    assert json.loads((compiled / "not_built.json").read_text())["baseline"] == reasons["baseline"]


# A compiler that logs its arguments, does not support AVX-512, and writes empty files, except for
# the program that reports the instruction sets of this CPU.
PRETENDED = """#!{python}
import os, sys
from pathlib import Path
asked = sys.argv[1:]
with open(os.environ["LOG"], "a") as file:
    print(*asked, file=file)
if any("chooser" in name for name in asked) and {real!r} != "None":
    os.execv({real!r}, ["c++", *asked])
if "-mavx512f" in asked:
    sys.exit("unrecognized command-line option")
if "-o" in asked:
    Path(asked[asked.index("-o") + 1]).touch()
"""


def pretended(folder: Path) -> dict[str, str]:
    """The environment of a build with that compiler, which writes its log to the folder."""
    compiler = folder / "c++"
    real = str(shutil.which("c++") or shutil.which("g++"))
    compiler.write_text(PRETENDED.format(python=sys.executable, real=real))
    compiler.chmod(0o755)
    return {"CC": str(compiler), "CXX": str(compiler), "LOG": str(folder / "log")}


def modules(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[0] for path in folder.rglob("_kernels_*"))


def of_modules(*names: str) -> list[str]:
    return sorted(f"_kernels_{name}" for name in ("chooser", *names))


@pytest.mark.skipif(os.name == "nt", reason="another compiler there, and only the baseline")
@pytest.mark.parametrize("target", ["aarch64", "x86_64"])
def test_the_instruction_sets_are_those_of_the_target(target: str, tmp_path: Path) -> None:
    """A compiler for another machine gets no flags of this one's."""
    compiler = tmp_path / "c++"
    compiler.write_text(f"#!/bin/sh\necho '#define __{target}__ 1'\n")
    compiler.chmod(0o755)
    there = {"CC": str(compiler), "CXX": str(compiler), "GPUNN_BUILD": "none of them"}
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, env=ENVIRONMENT | there,
        capture_output=True, text=True,
    )  # fmt: skip
    known = "baseline, avx2, avx512" if target == "x86_64" else "baseline"
    assert f"must be all, none, or some of {known} here" in done.stderr


@pytest.mark.more
@pytest.mark.skipif(os.name == "nt", reason="another compiler there, and only the baseline")
def test_an_instruction_set_that_the_compiler_does_not_know_is_left_out(tmp_path: Path) -> None:
    """The modules are built from the same files at the same time, each with its flags."""
    log = tmp_path / "log"
    folders = ("--build-lib", tmp_path / "lib", "--build-temp", tmp_path / "temp")
    asked = {**pretended(tmp_path), "GPUNN_BUILD": "all"}
    run(sys.executable, "setup.py", "build_ext", *folders, cwd=ROOT, **asked)
    known = ["avx2", "baseline"] if platform.machine() in ("x86_64", "amd64") else ["baseline"]
    assert modules(tmp_path / "lib") == of_modules(*known)
    compiled = [line.split() for line in log.read_text().splitlines() if " -c " in line]
    objects = [command[command.index("-o") + 1] for command in compiled]
    objects = [o for o in objects if "avx512" not in o]  # compiled again for its error message
    assert len(objects) == len(set(objects))
    assert len(compiled) >= len(known) * len(list((ROOT / "kernels" / "cpu").glob("*.cpp")))
    flags = {flag for command in compiled for flag in command}
    assert {"-O3", "-std=c++17", "-ffp-contract=off"} <= flags
    assert not {"-march=native", "-ffast-math", "-Ofast"} & flags


@pytest.mark.more
@pytest.mark.skipif(
    bool(cpu_kernels.why_not()) or os.name == "nt", reason="nothing to compile with"
)
def test_a_wheel_has_the_baseline_and_what_suits_this_cpu_unless_asked(tmp_path: Path) -> None:
    """Of three instruction sets two, and the next best of one that cannot be compiled."""
    folders = ("--build-lib", tmp_path / "lib", "--build-temp", tmp_path / "temp")
    run(sys.executable, "setup.py", "build_ext", *folders, cwd=ROOT, **pretended(tmp_path))
    best = [name for name in cpu_kernels.of_this_cpu() if name != "avx512"][-1]
    assert modules(tmp_path / "lib") == of_modules(*{"baseline", best})
    log = (tmp_path / "log").read_text()
    if cpu_kernels.of_this_cpu()[-1] == "avx2":
        assert "-mavx512f" not in log
    else:  # tried, and rejected
        assert "-mavx512f" in log or best == "baseline"


@pytest.mark.more
@pytest.mark.skipif(
    bool(cpu_kernels.why_not()) or os.name == "nt", reason="nothing to compile with"
)
def test_a_source_tree_is_built_for_this_cpu_unless_asked(tmp_path: Path) -> None:
    """A build for all keeps existing files; after a change of a kernel, nothing older remains."""
    for name in ("kernels", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copied(ROOT / name, tmp_path / name)
    there = tmp_path / "gpunn" / "backends" / "compiled"
    there.mkdir(parents=True)
    shutil.copy2(ROOT / "gpunn" / "_version.py", tmp_path / "gpunn")
    log = tmp_path / "log"

    def build(**environment: str) -> int:
        """Return how many files an in-place build compiles."""
        log.unlink(missing_ok=True)
        command = (sys.executable, "setup.py", "build_ext", "--inplace")
        run(*command, cwd=tmp_path, **pretended(tmp_path), **environment)
        return sum(" -c " in line for line in log.read_text().splitlines()) if log.exists() else 0

    sources = len(list((ROOT / "kernels" / "cpu").glob("*.cpp")))
    best = [name for name in cpu_kernels.of_this_cpu() if name != "avx512"][-1]
    # Tried and rejected, and once more for what the compiler says.
    unknown = sources + 1 if "avx512" in cpu_kernels.of_this_cpu() else 0
    assert sources < build() <= 1 + sources + unknown
    assert modules(there) == of_modules(best)
    build(GPUNN_BUILD="all")
    known = ["avx2", "baseline"] if platform.machine() in ("x86_64", "amd64") else ["baseline"]
    assert modules(there) == of_modules(*known)
    assert build(GPUNN_BUILD=best) == 0
    assert modules(there) == of_modules(*known)
    changed = tmp_path / "kernels" / "cpu" / "module.cpp"
    os.utime(changed, (later := time.time() + 10, later))
    assert build(GPUNN_BUILD="baseline") == sources
    assert modules(there) == of_modules("baseline")


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_the_module_compiles_against_other_pythons(which: str, tmp_path: Path) -> None:
    script = "import sysconfig; print(sysconfig.get_path('include'))"
    include = run(pythons()[which], "-c", script, cwd=tmp_path).strip()
    folders = [f"-I{folder}" for folder in (include, np.get_include())]
    check = ("g++", "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-cast-function-type")
    check += ("-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-unknown-pragmas")
    run(*check, "-DMODULE=_kernels_x", *folders, "kernels/cpu/module.cpp", cwd=ROOT)


def test_editable_install_finds_the_kernels(tmp_path: Path) -> None:
    """The tests run in an editable install, as created by `make test`."""
    found = json.loads(run(sys.executable, "-c", LIST, cwd=tmp_path))
    assert Path(found["folder"]) == ROOT / "gpunn"
    assert found["typed"]
    assert found["kernels"] == kernel_sources()
    assert not found["stray"]


@pytest.mark.skipif(not COMPILER, reason="there is no compiler")
def test_editable_install_has_every_instruction_set_of_this_machine() -> None:
    assert cpu_kernels.why_not() is None
    best = cpu_kernels.INSTRUCTIONS.index(cpu_kernels.chosen())
    assert cpu_kernels.available() == cpu_kernels.INSTRUCTIONS[: best + 1]


@pytest.mark.parametrize("inside", [(), ("gpunn",)], ids=["empty", "as a clone"])
def test_a_folder_of_that_name_does_not_hide_an_editable_installation(
    inside: tuple[str, ...], tmp_path: Path
) -> None:
    """As in a clone's parent folder: a folder without __init__.py is not a package."""
    (tmp_path / "gpunn").joinpath(*inside).mkdir(parents=True)
    script = "import gpunn, gpunn.kernels; print(gpunn.__file__, gpunn.Sequential.__name__)"
    output = run(sys.executable, "-c", script, cwd=tmp_path)
    assert output.split() == [str(ROOT / "gpunn" / "__init__.py"), "Sequential"]


WHERE = """
from gpunn.backends.cupy.launch import kernel_source
from gpunn.common.source_root import source_root
print(kernel_source.text("types.cuh").splitlines()[-1])
print(*kernel_source.files(".cu"))
try:
    print(source_root("benchmarks"))
except FileNotFoundError:
    print("no benchmarks")
"""
BESIDE, INSIDE = ".", "gpunn"  # where a copy's folders are: in a source tree, in an installation


def another_copy(folder: Path, place: str, *names: str) -> None:
    """Copy gpunn, with its own folders in ``place``, which all differ from those of this tree."""
    (folder / "gpunn").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    for path in (ROOT / "gpunn").iterdir():
        (folder / "gpunn" / path.name).symlink_to(path)
    for name in names:
        (folder / place / name).mkdir()
    for file in ("types.cuh", "only_there.cu") if "kernels" in names else ():
        (folder / place / "kernels" / "cuda").mkdir(exist_ok=True)
        (folder / place / "kernels" / "cuda" / file).write_text("// of the other copy\n")


@pytest.mark.parametrize("place", [BESIDE, INSIDE], ids=["source tree", "installed"])
def test_a_copy_before_an_editable_installation_keeps_its_kernels(
    place: str, tmp_path: Path
) -> None:
    """Otherwise its Python code would be compiled with the CUDA source of another copy."""
    another_copy(tmp_path, place, "kernels", *(["benchmarks"] if place == BESIDE else []))
    output = run(sys.executable, "-c", WHERE, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    benchmarks = str(tmp_path / "benchmarks") if place == BESIDE else "no benchmarks"
    assert output.splitlines() == ["// of the other copy", "only_there.cu", benchmarks]


@pytest.mark.parametrize("stranger", [False, True], ids=["none", "a package of that name"])
def test_a_copy_without_kernels_takes_nobody_elses(stranger: bool, tmp_path: Path) -> None:
    """Neither those of the editable installation, nor other folders of that name beside it."""
    another_copy(tmp_path, BESIDE, *(["kernels", "benchmarks"] if stranger else []))
    (tmp_path / "pyproject.toml").unlink()  # not a source tree: a folder of installed packages
    done = subprocess.run(
        [sys.executable, "-c", WHERE], cwd=tmp_path, capture_output=True, text=True,
        env={**ENVIRONMENT, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "FileNotFoundError: This copy of gpunn lacks its folder kernels" in done.stderr
    assert str(tmp_path / "gpunn" / "kernels") in done.stderr
