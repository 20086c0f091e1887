"""docs/how-to/sweeps.md: each program runs as written, and gives the numbers of the plain loop."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import ParameterGrid, StratifiedKFold

from gpunn.sklearn import GpunnClassifier

pytestmark = pytest.mark.checks("docs/how-to/sweeps.md")

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "how-to" / "sweeps.md").read_text(encoding="utf-8")
PROGRAMS = {
    block.partition("\n")[0].removeprefix("# "): block
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
}
SHOWN = re.findall(r"```console\n\$ ([^\n]*)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = {command.split()[-1]: command for command, _ in SHOWN}
SAME = [  # as the loop
    pytest.param("with_threads.py"),
    pytest.param("with_processes.py"),
    pytest.param(
        "with_fork.py",
        marks=pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux"),
    ),
    pytest.param("with_joblib.py"),
    pytest.param(
        "with_mpi.py",
        marks=pytest.mark.skipif(sys.platform != "linux", reason="there is no wheel of Open MPI"),
    ),
    pytest.param("with_dask.py", marks=pytest.mark.more),
    pytest.param("with_ray.py", marks=pytest.mark.more),
]
OTHERS = ["loop.py", "with_grid_search.py", "with_optuna.py", "with_optuna_threads.py"]
OF_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # also with fewer than three cores
}  # fmt: skip


def run(name: str, folder: Path, python: str | Path = sys.executable) -> str:
    """Run the command that the page shows for a program; return what it prints."""
    environment = {
        **os.environ, **OF_MPI, "HOME": str(folder), "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(Path(python).parent), os.environ["PATH"]]),
    }  # fmt: skip
    done = subprocess.run(
        shlex.split(COMMANDS[name]), cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of the page as files."""
    made = tmp_path_factory.mktemp("sweeps")
    for name, text in PROGRAMS.items():
        (made / name).write_text(text, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def loop(folder: Path) -> str:
    """What the plain loop prints."""
    return run("loop.py", folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with Dask and Ray, and with what this one has."""
    folder = tmp_path_factory.mktemp("cluster")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    find = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()
    (Path(packages) / "around.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [python, "-m", "pip", "install", "--quiet", "dask[distributed]", "ray"]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python


def test_every_program_is_run_here() -> None:
    here = [str(name.values[0]) for name in SAME] + OTHERS
    assert sorted(here) == sorted(COMMANDS)
    assert sorted([*here, "fits.py"]) == sorted(PROGRAMS)


def test_the_loop_prints_what_the_page_shows(loop: str) -> None:
    ((_, shown),) = [one for one in SHOWN if one[1]]
    assert doctest.OutputChecker().check_output(shown, loop, doctest.ELLIPSIS), loop
    assert len(set(loop.splitlines())) == 4


@pytest.mark.parametrize("name", SAME)
def test_an_engine_gives_the_numbers_of_the_loop(
    name: str, folder: Path, loop: str, request: pytest.FixtureRequest
) -> None:
    own = name in ("with_dask.py", "with_ray.py")
    python = request.getfixturevalue("cluster") if own else sys.executable
    assert run(name, folder, python) == loop


def test_a_grid_search_gives_the_scores_of_a_loop(folder: Path) -> None:
    x, y = load_iris(return_X_y=True)
    expected = []
    choices: dict[str, list[Any]] = {
        "hidden_layer_sizes": [(8,), (32,)], "learning_rate": [0.001, 0.01],
    }  # fmt: skip
    for point in ParameterGrid(choices):
        estimator = GpunnClassifier(epochs=30, random_state=0, **point)
        scores = [
            clone(estimator).fit(x[fitted], y[fitted]).score(x[rest], y[rest])
            for fitted, rest in StratifiedKFold(5).split(x, y)
        ]
        expected.append((point, pytest.approx(sum(scores) / 5, abs=1e-12)))
    lines = run("with_grid_search.py", folder).splitlines()
    found = [eval(line.replace("} ", "}, ")) for line in lines]
    assert found == expected


@pytest.fixture
def fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that all programs import."""
    monkeypatch.syspath_prepend(folder)
    yield __import__("fits")
    del sys.modules["fits"]


def test_optuna_gives_the_numbers_of_each_point(folder: Path, fits: Any) -> None:
    text = run("with_optuna.py", folder)
    trials = rows(text)
    assert text == run("with_optuna.py", folder)
    completed = [trial for trial in trials if trial[2] == "COMPLETE"]
    assert len(trials) == 20 and 5 <= len(completed) < 20
    for units, rate, _, loss in completed:
        assert float(loss) == fits.fit((int(units), float(rate)))


def test_optuna_in_threads_prunes_what_is_above_the_limit(
    folder: Path, loop: str, fits: Any
) -> None:
    class Curve(fits.gpunn.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            losses.append(logs["val_loss"])

    expected = []
    for units, rate, loss in rows(loop):
        losses: list[float] = []
        assert fits.fit((int(units), float(rate)), [Curve()]) == float(loss)
        above = [value for value in losses[20:] if value > 0.6]
        expected.append([units, rate, "PRUNED" if above else "COMPLETE", str((above or losses)[0])])
        if not above:
            expected[-1][-1] = loss
    found = rows(run("with_optuna_threads.py", folder))
    assert found == expected
    assert {row[2] for row in found} == {"PRUNED", "COMPLETE"}
