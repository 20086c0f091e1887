"""Generated data instead of downloads: learnable, with the shapes and types of the real data.

Image sets keep their number of rows, since programs hard-code it (`reshape((60000, 784))`); `fit`
and `evaluate` get a part of them. All other network access raises an error.
"""

from __future__ import annotations

import builtins
import socket
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 512  # rows passed to `fit` and `evaluate`
DIFFERENT = 1024  # distinct images in a set
IMAGES = {
    "mnist": (60000, 10000, (28, 28), 10),
    "fashion_mnist": (60000, 10000, (28, 28), 10),
    "cifar10": (50000, 10000, (32, 32, 3), 10),
    "cifar100": (50000, 10000, (32, 32, 3), 100),
}
TABLES = {"boston_housing": (404, 102, 13), "california_housing": (16512, 4128, 8)}
SEQUENCES = {"imdb": (10500, 1000, 2), "reuters": (8982, 2246, 46)}
# Tables that programs download, by file name: rows, and the columns with their contents,
# numbers between two bounds (integers if the bounds are) or one of several words.
HOUSES = {
    "longitude": (-124.3, -114.3), "latitude": (32.5, 42.0), "housing_median_age": (1.0, 52.0),
    "total_rooms": (2.0, 37937.0), "total_bedrooms": (1.0, 6445.0), "population": (3.0, 35682.0),
    "households": (1.0, 6082.0), "median_income": (0.4, 15.0),
    "median_house_value": (14999.0, 500001.0),
}  # fmt: skip
FLOWERS = {
    "sepal_l": (4.3, 7.9), "sepal_w": (2.0, 4.4), "petal_l": (1.0, 6.9), "petal_w": (0.1, 2.5),
    "species": ("Iris-setosa", "Iris-versicolor", "Iris-virginica"),
}  # fmt: skip
FILES: dict[str, tuple[int, dict[str, tuple[Any, ...]]]] = {
    "california_housing_train.csv": (17000, HOUSES),
    "california_housing_test.csv": (3000, HOUSES),
    "iris.csv": (150, FLOWERS),
    "iris_cost.csv": (150, {**FLOWERS, "cost": (1.0, 100.0)}),
    "auto-mpg.csv": (398, {
        "mpg": (9.0, 46.6), "cylinders": (3, 9), "displacement": (68.0, 455.0),
        "horsepower": (46.0, 230.0), "weight": (1613, 5141), "acceleration": (8.0, 24.8),
        "year": (70, 83), "origin": (1, 4), "name": ("ford pinto", "toyota corolla", "amc matador"),
    }),
    "jh-simple-dataset.csv": (2000, {
        "id": (1, 2001), "job": tuple(f"{a}{b}" for a in "rstuvwxyz" for b in "abc"),
        "area": ("a", "b", "c", "d"), "income": (20000.0, 110000.0), "aspect": (5.0, 30.0),
        "subscriptions": (0, 3), "dist_healthy": (0.5, 20.0), "save_rate": (0, 100),
        "dist_unhealthy": (0.5, 20.0), "age": (20, 70), "pop_dense": (0.5, 1.0),
        "retail_dense": (0.1, 1.0), "crime": (0.0, 1.0),
        "product": ("a", "b", "c", "d", "e", "f", "g"),
    }),
    "wcbreast_wdbc.csv": (569, {
        "id": (1, 10000), "diagnosis": ("B", "M"), **{f"x{i}": (0.0, 9.0) for i in range(30)},
    }),
    "heart.csv": (303, {
        "age": (29, 78), "sex": (0, 2), "cp": (0, 5), "trestbps": (94, 201), "chol": (126, 565),
        "fbs": (0, 2), "restecg": (0, 3), "thalach": (71, 203), "exang": (0, 2),
        "oldpeak": (0.0, 6.2), "slope": (1, 4), "ca": (0, 4),
        "thal": ("fixed", "normal", "reversible"), "target": (0, 2),
    }),
    "creditcard.csv": (3000, {
        "Time": (0.0, 170000.0), **{f"V{i}": (-3.0, 3.0) for i in range(1, 29)},
        "Amount": (0.0, 200.0), "Class": (0, 2),
    }),
    "insurance.csv": (1338, {
        "age": (18, 65), "sex": ("female", "male"), "bmi": (15.0, 53.0), "children": (0, 6),
        "smoker": ("no", "yes"), "region": ("northeast", "northwest", "southeast", "southwest"),
        "charges": (1100.0, 63000.0),
    }),
}  # fmt: skip


def images(rows: int, shape: tuple[int, ...], classes: int, seed: int) -> tuple[Any, Any]:
    """Return noisy images with a pattern of their class, as bytes."""
    pattern = np.random.default_rng(0).integers(0, 160, (classes, *shape))
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, DIFFERENT)
    noise = draw.integers(0, 96, (DIFFERENT, *shape))
    which = np.arange(rows) % DIFFERENT
    pictures = (pattern[labels] + noise).astype(np.uint8)
    labels = labels.astype(np.uint8)[which]
    return pictures[which], labels if len(shape) == 2 else labels[:, None]


def table(rows: int, columns: int, seed: int) -> tuple[Any, Any]:
    """Return numbers, and a target that is approximately linear in them."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, columns)) * np.linspace(1, 20, columns) + 5
    y = 20 + x @ np.linspace(-0.5, 0.5, columns) / columns + draw.normal(size=rows)
    return x, y


def sequences(rows: int, classes: int, words: int, seed: int) -> tuple[Any, Any]:
    """Return lists of word indices, some more frequent in one class."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, rows)
    x = np.empty(rows, dtype=object)
    for row, label in enumerate(labels):
        x[row] = [1, *draw.integers(4 + label, words, draw.integers(20, 60)).tolist()]
    return x, labels


def load_data(name: str, *args: Any, **options: Any) -> Any:
    """Return generated data for ``keras.datasets.NAME.load_data``."""
    if name in IMAGES:
        train, test, shape, classes = IMAGES[name]
        parts = images(train, shape, classes, 1), images(test, shape, classes, 2)
    elif name in TABLES:
        train, test, columns = TABLES[name]
        parts = table(train, columns, 1), table(test, columns, 2)
    else:
        train, test, classes = SEQUENCES[name]
        words = options.get("num_words") or 10000
        parts = sequences(train, classes, words, 1), sequences(test, classes, words, 2)
    return parts


def put_in_place(keras: Any) -> None:
    """Replace the datasets of ``keras``, and disable network access."""
    for name in (*IMAGES, *TABLES, *SEQUENCES):
        module = getattr(keras.datasets, name)
        module.load_data = lambda *args, _name=name, **kwargs: load_data(_name, *args, **kwargs)
        if name in SEQUENCES:
            module.get_word_index = lambda *args: {f"word{i}": i for i in range(1, 10001)}

    def refused(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no network")

    socket.socket.connect = refused  # type: ignore[method-assign]
    socket.create_connection = refused
    socket.getaddrinfo = refused
    for name, module in list(sys.modules.items()):
        if name.endswith("keras.utils") and "gpunn" not in name and hasattr(module, "plot_model"):
            module.__dict__["plot_model"] = lambda *args, **kwargs: None  # requires graphviz
    sklearn_data()
    tables_of_files()


def tables_of_files() -> None:
    """Replace the tables that pandas would download."""
    try:
        import pandas
    except ImportError:
        return
    real = pandas.read_csv

    def read_csv(path: Any, *args: Any, **kwargs: Any) -> Any:
        name = str(path).split("/")[-1]
        if not str(path).startswith(("http:", "https:")) or name not in FILES:
            return real(path, *args, **kwargs)
        rows, columns = FILES[name]
        draw = np.random.default_rng(4)

        def column(values: tuple[Any, ...]) -> Any:
            if isinstance(values[0], str):
                return draw.choice(values, rows)
            if isinstance(values[0], int):
                return draw.integers(*values, size=rows)
            return np.round(draw.uniform(*values, size=rows), 2)

        return pandas.DataFrame({name: column(values) for name, values in columns.items()})

    pandas.read_csv = read_csv
    dummies = pandas.get_dummies  # numbers, as before pandas 2
    pandas.get_dummies = lambda *a, **k: dummies(*a, **{"dtype": np.uint8, **k})


def sklearn_data() -> None:
    """Replace the data that scikit-learn would download."""
    try:
        import sklearn.datasets as data
        from sklearn.utils import Bunch
    except ImportError:
        return

    def california(*args: Any, return_X_y: bool = False, **kwargs: Any) -> Any:
        x, y = table(20640, 8, 3)
        names = ["MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup",
                 "Latitude", "Longitude"]  # fmt: skip
        return (x, y) if return_X_y else Bunch(
            data=x, target=y, feature_names=names, DESCR="", target_names=["MedHouseVal"]
        )  # fmt: skip

    def openml(name: str = "", *args: Any, return_X_y: bool = False, **kwargs: Any) -> Any:
        if "mnist" not in name:
            raise OSError("no network")
        x, y = images(70000, (28, 28), 10, 1)
        x, y = x.reshape(len(x), -1).astype(float), y.astype(str)
        return (x, y) if return_X_y else Bunch(data=x, target=y)

    data.fetch_california_housing = california
    data.fetch_openml = openml


def fewer(data: Any) -> Any:
    """Return the first rows of the data that a program passes to ``fit``."""
    if isinstance(data, dict):
        return {name: fewer(part) for name, part in data.items()}
    if isinstance(data, (tuple, list)):
        inner = data and (hasattr(data[0], "shape") and getattr(data[0], "ndim", 0) > 0)
        return type(data)(map(fewer, data)) if inner else data[:ROWS]
    if hasattr(data, "iloc"):
        return data.iloc[:ROWS]
    if getattr(data, "ndim", 0) and len(data) > ROWS:
        return data[:ROWS]
    return data


def quiet_pictures() -> None:
    """Make matplotlib draw without output."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg", force=True)
    import matplotlib.pyplot as plt

    plt.show = lambda *args, **kwargs: plt.close("all")


def folders_of_pictures() -> None:
    """Let Pillow make the folder of a picture that it writes: programs have theirs beside them."""
    try:
        from PIL import Image
    except ImportError:
        return
    real = Image.Image.save

    def save(self: Any, fp: Any, *args: Any, **options: Any) -> None:
        if isinstance(fp, str):
            Path(fp).parent.mkdir(parents=True, exist_ok=True)
        real(self, fp, *args, **options)

    Image.Image.save = save


def notebook() -> None:
    """Make notebook features do nothing: the module IPython and two built-in names."""

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    shown = ("display", "Image", "clear_output", "HTML", "SVG", "Markdown")
    contents: dict[str, dict[str, Any]] = {
        "IPython": {"get_ipython": nothing, "version_info": (9, 0)},
        "IPython.core": {},
        "IPython.core.magic": {"register_cell_magic": lambda function: function},
        "IPython.display": dict.fromkeys(shown, nothing),
    }
    for name, values in contents.items():
        module = types.ModuleType(name)
        module.__path__ = []
        module.__dict__.update(values)
        sys.modules[name] = module
        if "." in name:
            setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module)
    builtins.display = nothing  # type: ignore[attr-defined]
    builtins.get_ipython = nothing  # type: ignore[attr-defined]
    builtins.input = lambda *args: ""
