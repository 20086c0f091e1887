"""Custom tables on the command line: reading, training, evaluation and prediction."""

from __future__ import annotations

import csv
import io
import json
import os
import re

import numpy as np
import pytest
from sklearn import datasets
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.tables import read_table
from gpunn.apps.tables.preparing import feature_of, prepared
from gpunn.apps.tables.reading.kinds import column_of

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")


def table(path, names, rows, separator=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([names, *rows])
    return str(path)


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """A folder with iris.csv and gpunn's model of it, and the printed output."""
    folder = tmp_path_factory.mktemp("iris")
    found = datasets.load_iris()
    names = ["sepal length", "sepal width", "petal length", "petal width", "species"]
    rows = [
        [*x, found.target_names[y]] for x, y in zip(found.data.tolist(), found.target, strict=True)
    ]
    path = table(folder / "iris.csv", names, rows)
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as out:
        patch.setattr("sys.stdout", out)
        patch.setenv("GPUNN_BACKEND", "numpy")
        options = ["--target", "species", "--epochs", "60", "--out", str(folder / "out")]
        assert main(["train", path, *options, "--fast"]) == 0
        return folder, names, rows, out.getvalue()


# -- reading

CELLS = [["größe", "art", "preis"], ["1.5", "a;b", "1"], ["-2.25", "ä", ""], ["1e3", "c", "7"]]


@pytest.mark.parametrize(
    ("separator", "encoding", "decimal"),
    [
        (",", "utf-8", "."), (",", "utf-8-sig", "."), ("\t", "utf-16", "."),
        (";", "latin-1", ","), ("\t", "utf-16-le", "."), ("|", "utf-32", ","),
    ],
)  # fmt: skip
def test_tables_of_every_kind_are_the_same(tmp_path, separator, encoding, decimal):
    path = tmp_path / "a.csv"
    text = io.StringIO(newline="")
    rows = [[c.replace(".", decimal) for c in row] for row in CELLS]
    csv.writer(text, delimiter=separator).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    found = read_table(path)
    assert found.names == CELLS[0]
    assert [list(row) for row in zip(*found.columns, strict=True)] == rows[1:]
    with_commas = found.columns_with(",")
    assert bool(with_commas) == (decimal == ",")
    notes = ", ".join(found.notes)
    assert ("Latin-1" in notes) == (encoding == "latin-1")
    assert ("UTF-16" in notes) == encoding.startswith("utf-16")
    assert ("decimal commas" in notes) == (decimal == ",")


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (",0,1\n0,1.5,2\n", ["Unnamed: 0", "0", "1"]),  # a pandas data frame without names
        ("country,1990,1991\nA,1,2\nB,3,4\n", ["country", "1990", "1991"]),
        ("5.1,setosa\n4.9,setosa\n", ["0", "1"]),
        ("1,2\n3,4\n", ["0", "1"]),
        ("a,b\nx,y\nz,x\n", ["a", "b"]),
        ("a,b,y\n1,2,x\n3,4,y\n", ["a", "b", "y"]),  # a name that is one of the classes
        ("oops,2,y\n1,2,x\n3,4,y\n", ["0", "1", "2"]),  # a mistake in the first row
    ],
)
def test_a_header_is_distinguished_from_a_row(tmp_path, rows, names):
    (tmp_path / "a.csv").write_text(rows)
    assert read_table(tmp_path / "a.csv").names == names


@pytest.mark.in_turn(2)
def test_work_grows_with_the_columns_not_with_their_square(tmp_path):
    """Quadratic work would exceed the time limit."""
    names = [f"c{i}" for i in range(100_000)]
    (tmp_path / "wide.csv").write_text(f"{','.join(names)}\n{','.join(['1'] * len(names))}\n")
    found = read_table(tmp_path / "wide.csv", max_columns=len(names))
    assert found.names == names
    assert all(found.column(name) == ["1"] for name in names)


@pytest.mark.parametrize("kind", ["parquet", "excel"])
def test_files_of_other_kinds_are_read_by_pandas(tmp_path, kind):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow" if kind == "parquet" else "openpyxl")
    frame = pandas.DataFrame({"a": [1.5, None], "b": ["x", "y"], "c": [3, 4]})
    path = str(tmp_path / ("a.parquet" if kind == "parquet" else "a.xlsx"))
    getattr(frame, f"to_{kind}")(path, index=False)
    found = read_table(path)
    assert (found.names, found.columns) == (["a", "b", "c"], [["1.5", ""], ["x", "y"], ["3", "4"]])


# -- preparing


def test_columns_become_what_scikit_learn_makes_of_them(tmp_path):
    random = np.random.default_rng(0)
    numbers = random.standard_normal(60) * 30 + 200
    colours = random.choice(["red", "green", "blue"], 60)
    shown = ["" if i % 7 == 0 else str(value) for i, value in enumerate(numbers)]
    cells = zip(shown, colours, strict=True)
    found = read_table(table(tmp_path / "a.csv", ["n", "t"], cells))
    rows = np.arange(40)
    columns = [column_of(name, found.column(name)) for name in found.names]
    inputs, outputs = prepared([feature_of(column, rows) for column in columns])
    given = {"n": numbers.tolist(), "t": colours.tolist()}
    given["n"][::7] = [None] * len(given["n"][::7])
    x = np.concatenate(gpunn.Model(inputs, outputs).predict(given, verbose=0), axis=1)
    numbers[::7] = np.nan
    filled = SimpleImputer(strategy="median").fit(numbers[rows, None]).transform(numbers[:, None])
    scaled = StandardScaler().fit(filled[rows]).transform(filled)[:, 0]
    assert x[:, 0] == pytest.approx(scaled, abs=1e-5)
    assert x[:, 1].tolist() == np.isnan(numbers).tolist()
    encoded = OneHotEncoder(categories=[columns[1].categories]).fit_transform(colours[:, None])
    assert x[:, 2].max() == 0 and x[:, 3:].tolist() == encoded.toarray().tolist()


def messy(path, rows=160, seed=0):
    """Realistic data: an index, dates, names, gaps, a mistake, a constant, many categories."""
    random = np.random.default_rng(seed)
    x, kind = random.standard_normal(rows), random.integers(0, 3, rows)
    price = 5000 + 900 * x + 400 * kind
    cells = [
        [i, f"2024-01-{i % 28 + 1:02}", f"Person {i}", "" if i % 9 == 0 else f"{x[i]:.4f}",
         ["=low", "mid", "high"][kind[i]], "EUR", f"c{i % 60}", f"{price[i]:.2f}"]
        for i in range(rows)
    ]  # fmt: skip
    cells[4][3] = "oops"
    names = ["", "day", "name", "size", "size filled", "currency", "shop", "price"]
    return table(path, names, cells)


def test_numbers_have_units(tmp_path, capsys):
    random = np.random.default_rng(1)
    size, share = random.uniform(20, 140, 80), random.integers(0, 100, 80)
    price = np.round(1000 * size + 500 * share)
    names = ["size", "share", "seat", "paid", "price"]
    rows = [
        [f"{s:.1f} m²", f"{p}%", f"{p % 4}A", f"USD {p}", f"€ {v:,.0f}"]
        for s, p, v in zip(size, share, price, strict=True)
    ]
    path = table(tmp_path / "flats.csv", names, rows)
    found = [column_of(name, [row[i] for row in rows]) for i, name in enumerate(names)]
    assert [column.unit for column in found] == ["m²", "%", "", "USD", "€"]
    assert found[2].kind == "category"
    np.testing.assert_allclose(found[0].values, np.round(size, 1))
    np.testing.assert_array_equal(found[4].values, price)
    out = str(tmp_path / "out")
    assert main(["train", path, "--target", "price", "--epochs", "5", "--fast", "--out", out]) == 0
    printed = capsys.readouterr().out
    assert "(in m²)" in printed and "target price: regression" in printed and "in €" in printed
    model = f"{out}/model.gpunn"
    assert main(["evaluate", model, "--data", path]) == 0
    assert "not a number" not in capsys.readouterr().out
    # The unit may be missing, but there must be numbers.
    plain = [[row[0].removesuffix(" m²"), *row[1:]] for row in rows[:5]]
    assert main(["predict", model, table(tmp_path / "plain.csv", names, plain)]) == 0
    assert "not a number" not in capsys.readouterr().out
    lost = [["large", *row[1:]] for row in rows[:5]]
    assert main(["predict", model, table(tmp_path / "lost.csv", names, lost)]) == 1
    assert "the column 'size' holds no number, but for example 'large'" in capsys.readouterr().err


def test_what_is_found_in_a_messy_table_is_reported(tmp_path, capsys):
    path = messy(tmp_path / "sales.csv")
    options = ["--target", "price", "--epochs", "40", "--out", str(tmp_path), "--batch-size", "8"]
    assert main(["train", path, *options, "--fast", "--max-categories", "20"]) == 0
    output = capsys.readouterr().out
    lines = reversed(output.splitlines())  # a column's first line counts
    rows = {line.split("  ")[0]: re.sub(" +", " ", line) for line in lines}
    assert rows["Unnamed: 0"] == "Unnamed: 0 left out an identifier: it counts the rows"
    assert rows["day"] == "day date 2024-01-01 to 2024-01-28"
    different = "left out texts that are nearly all different (160 different ones in 160 rows)"
    assert rows["name"] == f"name {different}"
    assert rows["size"].endswith("('oops' in row 5) 19") or "'oops' in row 5) 19" in rows["size"]
    assert rows["size filled"].startswith("size filled category 3: ")
    assert rows["currency"] == "currency left out constant: always 'EUR'"
    assert "40 rare categories count as one" in rows["shop"]
    assert "target price: regression, from " in output
    assert "deviations and the categories of 2 columns: no rows" in output
    results = {k: float(v.split()[-1]) for k, v in rows.items() if k in ("mean", "network")}
    assert results["network"] > 0.6 > results["mean"]  # R2, for a target around 5,000


def test_one_row_is_no_rows(tmp_path, capsys):
    prices = [*range(100, 160), "", "unknown"]
    shops = [*"ab" * 30, "c", "a"]
    cells = [[i % 7, shop, price] for i, (shop, price) in
             enumerate(zip(shops, prices, strict=True))]  # fmt: skip
    path = table(tmp_path / "sales.csv", ["stock", "shop", "price"], cells)
    options = ["--target", "price", "--epochs", "1", "--out", str(tmp_path)]
    assert main(["train", path, *options, "--fast", "--max-categories", "2"]) == 0
    output = capsys.readouterr().out
    assert "  1 row without a target is left out\n" in output
    assert "  1 row whose target is not a number is left out\n" in output
    assert "1 rare category counts as unknown" in output


def test_a_file_without_its_classes_is_refused(iris, tmp_path, capsys):
    """Its probabilities would be taken for the numbers of three times as many rows."""
    folder, *_ = iris
    model = gpunn.saving.load_model(folder / "out" / "model.gpunn")
    model.trained_on = {k: v for k, v in model.trained_on.items() if k != "classes"}
    model.save(tmp_path / "model.gpunn", announce=False)
    assert main(["predict", str(tmp_path / "model.gpunn"), str(folder / "iris.csv")]) == 1
    assert "3 outputs but 0 classes" in capsys.readouterr().err


def test_a_regression_is_in_the_targets_units_and_splits_by_order(tmp_path, capsys):
    path = messy(tmp_path / "sales.csv")
    options = ["--target", "price", "--split", "order", "--leave-out", "shop", "day"]
    short = ["--epochs", "30", "--hidden", "16", "--fast", "--out", str(tmp_path)]
    assert main(["train", path, *options, *short]) == 0
    output = capsys.readouterr().out
    assert re.search("^shop +left out +as --leave-out says$", output, re.MULTILINE)
    assert "128 to learn from, 32 held out for the verdict, the last ones" in output
    model = str(tmp_path / "model.gpunn")
    messy(tmp_path / "sales.csv")
    lines = (tmp_path / "sales.csv").read_text().splitlines()
    (tmp_path / "last.csv").write_text("\n".join([lines[0], *lines[-32:]]))
    assert main(["evaluate", model, "--data", str(tmp_path / "last.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    network = next(line.split() for line in output.splitlines() if line.startswith("network  "))
    # It has learned from these rows too; what was printed is of a model that has not.
    assert found["MAE"] < float(network[1].replace(",", ""))
    assert main(["predict", model, path]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    prices = np.array([[float(r["price"]), float(r["predicted price"])] for r in rows])
    assert abs(prices[:, 1].mean() - 5400) < 500
    assert {row["size filled"] for row in rows} == {"'=low", "mid", "high"}
    assert main(["predict", model, path, "--raw"]) == 0
    assert ",=low," in capsys.readouterr().out
    # The file holds the preprocessing; the table does not need the target.
    rows = [["", "new", "x"], [1, "mid", 0]]
    short = table(tmp_path / "new.csv", ["price", "size filled", "size"], rows)
    assert main(["predict", model, short]) == 0
    printed, warned = capsys.readouterr()
    assert "size: 1 cell is not a number, such as 'x'" in warned
    assert "size filled: not among the categories of training: 'new'" in warned
    assert len(printed.splitlines()) == 3


def test_a_classification_beats_the_baseline_and_is_saved(iris, tmp_path, capsys):
    folder, names, rows, output = iris
    lines = output.splitlines()
    assert lines[1] == "target species: classification, setosa 50, versicolor 50, virginica 50"
    held = r"rows: 1(20|19) .*, 3[01] held out for the verdict, stratified by class; equal rows"
    assert re.search(held, output)  # one row is equal to another
    found = {line.split("  ")[0]: line.split()[-3] for line in lines if "  " in line}
    assert float(found["network"]) >= 0.9 and float(found["majority class"]) == 0.3333
    model = str(folder / "out" / "model.gpunn")
    assert sorted(os.listdir(folder / "out")) == ["model.gpunn", "run.jsonl"]
    assert main(["evaluate", model, "--data", str(folder / "iris.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.93
    assert main(["predict", model, str(folder / "iris.csv"), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    # Columns in another order, with additional ones, and without the target.
    other = table(tmp_path / "b.csv", ["colour", *names[3::-1]], [["red", *r[3::-1]] for r in rows])
    out = str(tmp_path / "out.csv")
    assert main(["predict", model, other, "--out", out]) == 0
    with open(out, newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0])[5:] == list(plain[0])
    assert [{k: str(v) for k, v in row.items()} for row in plain] == [
        {k: row[k] for k in plain[0]} for row in written
    ]
    capsys.readouterr()
    assert main(["predict", model, other, "--out", out]) == 1
    assert "already exists: choose another name or pass --force" in capsys.readouterr().err


def test_each_command_takes_as_many_columns_as_max_columns_allows(iris, capsys):
    folder = iris[0]
    path, model = str(folder / "iris.csv"), str(folder / "out" / "model.gpunn")
    for command in (["evaluate", model, "--data", path], ["predict", model, path],
                    ["check-data", path, "--target", "species"]):  # fmt: skip
        assert main([*command, "--max-columns", "4"]) == 1
        assert "has 5 columns in its first row, but --max-columns is 4" in capsys.readouterr().err
        main([*command, "--max-columns", "5"])
        assert "max-columns" not in capsys.readouterr().err


def test_a_path_wins_over_the_name_of_a_data_set(iris, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").write_bytes((iris[0] / "iris.csv").read_bytes())
    assert main(["train", "mnist", "--target", "species", "--epochs", "1", "--fast"]) == 0
    printed, stderr = capsys.readouterr()
    assert "mnist is a file here: using it" in stderr
    assert "mnist: 150 rows" in printed and (tmp_path / "runs/mnist/model.gpunn").exists()
    assert main(["train", str(tmp_path / "mnits.csv")]) == 2
    assert "Did you mean 'mnist'?" in capsys.readouterr().err


# -- mistakes


def _numbered(count, targets):
    rows = (f"{i * i % 7},{i % 3}.5,{targets[i]}" for i in range(count))
    return "\n".join(["a,b,t", *rows])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", "--target t", "is empty"),
        ("\n\n", "--target t", "only line breaks"),
        ("a,b,t\n", "--target t", "has column names but no rows"),
        ("a,b,t\n1,2.5,x\n", "--target t", "'x' in all rows: there is nothing to learn"),
        (_numbered(4, "xyxy"), "--target t", "There are 4 rows to learn from; at least 10"),
        (_numbered(30, "x" * 30), "--target t", "the target 't' is 'x' in all rows"),
        (_numbered(30, [""] * 30), "--target t", "the target 't' is empty in all 30 rows"),
        (_numbered(30, "-" * 30), "--target t", "the target 't' is '-' in all rows"),
        (_numbered(30, "-." * 15), "--target t --task regression",
         "not a number in 30 of 30 rows, such as '-': regression needs numbers"),
        (_numbered(30, range(30)), "--target t --task classification", "too many classes"),
        (_numbered(30, "xy" * 15), "--target t --task regression", "regression needs numbers"),
        (_numbered(30, [f"2024-01-0{i % 9 + 1}" for i in range(30)]), "--target t", "holds dates"),
        (_numbered(30, range(500, 560, 2)).replace("b,t", "b,t_id"), "--target t_id",
         "looks like an identifier: whole numbers, all different"),
        (_numbered(30, "xy" * 15), "", "Pass --target NAME, one of: a, b, t"),
        (_numbered(30, "xy" * 15), "--target T", "no column 'T'. Did you mean 't'?"),
        (_numbered(30, "xy" * 15), "--target t --leave-out c", "--leave-out: "),
        (_numbered(30, "xy" * 15), "--target t --leave-out a b", "no column to learn from"),
        ("a,b,b\n1,2,3\n", "--target a", "2 columns are named 'b' (numbers 2, 3)"),
        ("a," * 10**6 + "t\n1", "--target t", "1,000,001 columns"),
        ("a,t\n1,2\n3\n", "--target t", "the row in line 3 has 1 cells, the first row has 2"),
        ('a,t\n"1,2\n3,4\n', "--target t",
         "a quotation mark in the row that begins in line 2 has no second one"),
        ('a,t\n1,"x\ny"\n2,"p\n' + "3,q\n" * 30, "--target t",
         "a quotation mark in the row that begins in line 4 has no second one"),
        ("a\0b,t\n", "--target t", "zero bytes"),
        ("PK\3\4", "--target t", "is an archive, not a table"),
        (_numbered(30, "xy" * 15), "--target t --dropout 2", "rate must be from 0 to 1; got 2.0"),
        (_numbered(30, "xy" * 15), "--target t --learning-rate -1", "learning_rate must be"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_learnt_from(tmp_path, capsys, text, options, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert main(["train", str(path), *options.split(), "--out", str(tmp_path / "out")]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("gpunn: error: ") and complaint.count("\n") == 1
    assert message in complaint
    assert not (tmp_path / "out").exists()  # before any work


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_model_of_tables_says_what_it_is_to_be_given(iris, tmp_path, capsys, command):
    model = str(iris[0] / "out" / "model.gpunn")
    (tmp_path / "leaf.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "broken.csv").write_bytes(b"a,b\n1,\0\n")
    data = ["--data"] if command == "evaluate" else []
    for file, why in (("leaf.png", "is a picture"), ("broken.csv", "holds zero bytes")):
        assert main([command, model, *data, str(tmp_path / file)]) == 1
        stderr = capsys.readouterr().err
        assert f"{file} {why}" in stderr
        assert "This model was trained on a table to predict 'species'" in stderr
        assert "with the columns 'sepal length', 'sepal width', 'petal length', 'petal" in stderr
    if command == "predict":
        assert main([command, model, str(tmp_path)]) == 1
        assert "is a folder. This model was trained on a table" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_a_model_of_many_parts_is_taken_when_max_parts_allows_it(iris, tmp_path, capsys, command):
    model, table_ = str(iris[0] / "out" / "model.gpunn"), str(iris[0] / "iris.csv")
    last = {"predict": [table_], "evaluate": ["--data", table_],
            "export": [str(tmp_path / "page.html")]}  # fmt: skip
    assert main([command, model, *last[command], "--max-parts", "9"]) == 1
    wanted = re.search(r"commands take (--max-parts \d+)\.", capsys.readouterr().err)
    assert wanted is not None
    assert main([command, model, *last[command], *wanted[1].split()]) == 0


def test_tables_that_a_model_does_not_know(iris, tmp_path, capsys):
    folder, names, rows, _ = iris
    model = str(folder / "out" / "model.gpunn")
    path = table(tmp_path / "a.csv", [*names[:3], "x"], [row[:4] for row in rows])
    for command in (["predict", model, path], ["evaluate", model, "--data", path]):
        assert main(command) == 1
    stderr = capsys.readouterr().err
    assert "lacks the column 'petal width'; it has 'sepal length'" in stderr
    assert "lacks the target 'species'" in stderr
    strange = table(tmp_path / "b.csv", names, [[*r[:4], "rose"] for r in rows[:20]])
    assert main(["evaluate", model, "--data", strange]) == 1
    assert "no row has a target 'species' that the model knows" in capsys.readouterr().err
    assert main(["evaluate", model]) == 1
    assert "pass --data FILE" in capsys.readouterr().err


def test_the_file_knows_the_ranges_of_the_training_rows(iris):
    model = gpunn.saving.load_model(iris[0] / "out" / "model.gpunn")
    x = np.array([row[:4] for row in iris[2]])
    for column, values in zip(model.trained_on["table"]["columns"], x.T, strict=True):
        low, high = column["range"]
        assert values.min() <= low < values.mean() < high <= values.max()
        assert {low, high} <= {*values} and column["whole"] is False
        first, last = column["percentiles"]
        assert low <= first < last <= high and {first, last} <= {*values}
    found = column_of("floor", ["3", "0", "", "7", "3", "12", "4"])
    assert feature_of(found, np.arange(5)).range == (0, 7, True, (0, 7))
    assert feature_of(found, np.array([2])).range is None


@pytest.mark.parametrize(
    "place",
    [
        "target",
        "columns",
        "columns/0/name",
        "columns/0/kind",
        "columns/0/range",
        "columns/0/percentiles",
    ],
)
def test_what_a_model_says_of_its_table_is_checked(iris, tmp_path, capsys, place):
    model = gpunn.saving.load_model(iris[0] / "out" / "model.gpunn")
    *way, last = (int(k) if k.isdecimal() else k for k in place.split("/"))
    inside = model.trained_on["table"]
    for key in way:
        inside = inside[key]
    inside[last] = None
    model.save(tmp_path / "m.gpunn")
    assert main(["predict", str(tmp_path / "m.gpunn"), str(iris[0] / "iris.csv")]) == 1
    assert f"the entry 'trained_on/table/{place}' is None" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
@pytest.mark.parametrize(
    ("task", "classes", "message"),
    [
        ("classification", [], "3 outputs but 0 classes"),
        ("classification", ["a", "b"], "3 outputs but 2 classes"),
        ("classification", ["a", "b", "a"], "'trained_on/classes' has a class twice"),
        ("regression", ["a", "b", "c"], "3 outputs but 3 classes, for the regression in"),
        ("regression", [], "3 outputs but 0 classes"),
    ],
)
def test_a_file_whose_classes_are_not_those_of_the_model_is_refused(
    iris, tmp_path, capsys, command, task, classes, message
):
    model = gpunn.saving.load_model(iris[0] / "out" / "model.gpunn")
    model.trained_on["table"]["task"] = task
    model.trained_on["table"].pop("intervals")
    model.trained_on["classes"] = classes
    model.save(tmp_path / "m.gpunn", announce=False)
    data = str(iris[0] / "iris.csv")
    last = {"predict": [data], "evaluate": ["--data", data], "export": [str(tmp_path / "m.html")]}
    assert main([command, str(tmp_path / "m.gpunn"), *last[command]]) == 1
    assert message in capsys.readouterr().err


def test_a_figure_that_few_rows_do_not_have_is_null(tmp_path, capsys):
    """JSON has no NaN: of one class there is no AUC, and of equal targets no R2."""

    def refused(name):
        raise AssertionError(name)

    x = np.random.default_rng(0).normal(size=60).round(3)
    for target, figure in ((np.where(x > 0, "yes", "no"), "AUC"), (x * 2, "R2")):
        data = table(tmp_path / "a.csv", ["x", "y"], zip(x, target, strict=True))
        options = ["--target", "y", "--fast", "--epochs", "1", "--out", str(tmp_path), "--force"]
        assert main(["train", data, *options]) == 0
        one = table(tmp_path / "one.csv", ["x", "y"], [[x[0], target[0]]])
        capsys.readouterr()
        model = str(tmp_path / "model.gpunn")
        assert main(["evaluate", model, "--data", one, "--json"]) == 0
        found = json.loads(capsys.readouterr().out, parse_constant=refused)
        assert found["rows"] == 1 and found[figure] is None


def test_predictions_of_predictions_have_columns_of_their_own(iris, tmp_path, capsys):
    """What is written can be read again: no two columns have the same name."""
    model, table = str(iris[0] / "out" / "model.gpunn"), str(iris[0] / "iris.csv")
    for number in (1, 2, 3):
        out = str(tmp_path / f"{number}.csv")
        assert main(["predict", model, table, "--why", "--out", out]) == 0, capsys.readouterr().err
        table = out
    assert read_table(table).names[-1] == "why (3)"
