"""Gradient boosting as a program, on CSV files that pandas reads: `train`, and `predict`."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pandas as pd

from benchmarks.studies.tables.rivals import Request, boosting


def train(table: str, target: str, model: str) -> None:
    columns = pd.read_csv(table)
    y = columns.pop(target).to_numpy()
    fitted = boosting(Request("regression", columns, seed=0)).fit(columns, y)
    Path(model).write_bytes(pickle.dumps((target, fitted)))


def predict(model: str, table: str, predictions: str) -> None:
    target, fitted = pickle.loads(Path(model).read_bytes())  # written by `train`
    columns = pd.read_csv(table).drop(columns=target, errors="ignore")
    pd.DataFrame({f"predicted {target}": fitted.predict(columns)}).to_csv(predictions, index=False)


if __name__ == "__main__":
    {"train": train, "predict": predict}[sys.argv[1]](*sys.argv[2:])
