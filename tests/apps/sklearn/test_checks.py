"""All of scikit-learn's estimator checks, without exceptions."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import gpunn
from gpunn.sklearn import (
    GpunnAutoClassifier,
    GpunnAutoRegressor,
    GpunnClassifier,
    GpunnRegressor,
    GpunnSearchCV,
)

# The estimators do not warn; some checks do what scikit-learn itself warns about.
pytestmark = pytest.mark.filterwarnings("ignore")


@parametrize_with_checks([GpunnClassifier(), GpunnRegressor()])
def test_scikit_learn_checks_it(estimator: Any, check: Any) -> None:
    check(estimator)


GRID = {"learning_rate": [0.01, 0.02]}


@pytest.mark.in_turn(4)
@parametrize_with_checks([GpunnSearchCV(GpunnClassifier(random_state=0), GRID, cv=2)])
def test_scikit_learn_checks_a_search(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.more(3)
@parametrize_with_checks([GpunnAutoClassifier(fast=True), GpunnAutoRegressor(fast=True)])
def test_scikit_learn_checks_what_searches(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.in_turn(2)
@pytest.mark.more
def test_the_oldest_release_checks_it_too(tmp_path: Path) -> None:
    """Run the test above with scikit-learn 1.5 in a separate environment."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = next((tmp_path / "venv").glob("[bS]*/python*"))  # in bin or in Scripts
    wanted = ("scikit-learn==1.5.*", "pytest", "safetensors", "threadpoolctl", "tqdm", "joblib")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    root = Path(gpunn.__file__).parents[1]
    subprocess.run(
        [python, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--noconftest",
         "-o", "addopts=", "-c", "/dev/null", f"--rootdir={root}", "-W", "ignore", __file__,
         "-k", "scikit_learn_checks"],
        env={"PYTHONPATH": str(root), "PATH": str(python.parent)}, cwd=tmp_path, check=True,
        stdout=sys.stderr,
    )  # fmt: skip
