"""Reports: their content, however a run has ended and whatever names its data have."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from report_pages import Page
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, r2_score

import gpunn
from gpunn import layers
from gpunn.apps.reports import Record, Report, read, report

EVIL = "<img src=x onerror=alert(1)></script>\"' &lt; \u202e"


def classifier(sample: tuple[int, ...] = (4, 4), classes: int = 3, name: str = "small") -> Any:
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [gpunn.Input(sample), layers.Rescaling(0.02), layers.Flatten(),
         layers.Dense(5, activation="relu", name="hidden"),
         layers.Dense(classes, activation="softmax", name="answer")],
        name=name,
    )  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def data() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (90, 4, 4)).astype(np.uint8), random.integers(0, 3, 90)


def page_of(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags and "default-src &#x27;none&#x27;;" in text
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)
    return page


def test_a_report_says_what_the_run_was(tmp_path: Path, data: Any) -> None:
    x, y = data
    path = tmp_path / "report.html"
    model = classifier()
    history = model.fit(
        x[:60], y[:60], epochs=3, verbose=0, validation_data=(x[60:], y[60:]),
        callbacks=[gpunn.callbacks.Report(path)],
    ).history  # fmt: skip
    page = page_of(path)
    assert page.headings == [
        "Curves", "Evaluation", "Confusion matrix",
        "Calibration", "The worst mistakes", "Settings", "The data",
        "Weights of the first layer", "Gradients by layer", "Time and memory", "Environment",
        "Repeat the run",
    ]  # fmt: skip
    epochs = page.table("epoch", "loss")
    assert [float(row[1]) for row in epochs] == pytest.approx(history["loss"], rel=1e-3)
    outputs = model.predict(x[60:], verbose=0)
    predicted = outputs.argmax(axis=1)
    matrix = confusion_matrix(y[60:], predicted, labels=[0, 1, 2])
    shown = [[int(cell or 0) for cell in row[1:]] for row in page.table("true \\ predicted")]
    assert np.array_equal(shown, matrix)
    right, stated = calibration_curve(predicted == y[60:], outputs.max(axis=1), n_bins=10)
    bins = page.table("predicted", "correct")
    assert len(bins) > 2
    assert [float(row[0]) for row in bins] == pytest.approx(stated.tolist(), abs=1e-3)
    assert [float(row[1]) for row in bins] == pytest.approx(right.tolist(), abs=1e-3)
    assert f"{(predicted == y[60:]).mean():.4g}" in page.text and "30 rows" in page.text
    assert [row[0] for row in page.table("layer", "gradient")] == ["hidden", "answer"]
    assert gpunn.__version__ in page.text and np.__version__ in page.text
    assert "adam" in page.text.lower() and "Trained for 3 of 3 epochs." in page.text
    assert "90 features" not in page.text and "60 rows of 16 features" in page.text


def test_mistakes_are_the_pictures_themselves(tmp_path: Path, data: Any) -> None:
    x, y = data
    path = tmp_path / "report.html"
    model = classifier()
    model.fit(x, y, epochs=1, verbose=0, validation_data=(x, y), callbacks=[Report(path)])
    outputs = model.predict(x, verbose=0)
    wrong = np.flatnonzero(outputs.argmax(axis=1) != y)
    worst = wrong[outputs[wrong, y[wrong]].argmin()]
    images = page_of(path).images
    assert images[0]["alt"] == f"row {worst}: {y[worst]} taken for {outputs[worst].argmax()}"
    content = base64.b64decode(images[0]["src"].partition(",")[2])
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(content))), x[worst])
    seen = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(images[-1]["src"][22:]))))
    kernel = model.get_layer("hidden").kernel.numpy()
    first = kernel[:, 0].reshape(4, 4) / np.abs(kernel).max()
    assert np.abs(seen[:4, :4] / 127.5 - 1 - first).max() < 0.01


def test_without_data_no_row_is_in_it(tmp_path: Path, data: Any) -> None:
    x, y = data
    path, record = tmp_path / "report.html", tmp_path / "run.jsonl"
    model = classifier()
    options = dict(record=record, show_data=False)
    model.fit(x, y, verbose=0, validation_split=0.5, callbacks=[Report(path, **options)])
    page = page_of(path)
    assert "The worst mistakes" not in page.headings and len(page.images) == 1
    assert read(record).end["results"]["mistakes"] == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("of mine")])
def test_a_run_that_is_interrupted_has_its_report(
    tmp_path: Path, data: Any, error: BaseException
) -> None:
    def stop(epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise error

    path, record = tmp_path / "report.html", tmp_path / "run.jsonl"
    callbacks = [gpunn.callbacks.LambdaCallback(on_epoch_end=stop), Report(path, record=record)]
    model = classifier()
    with pytest.raises(type(error)):
        model.fit(*data, epochs=9, verbose=0, callbacks=callbacks)
    text = page_of(path).text
    message = "Interrupted after 2 of 9 epochs." if not error.args else (
        "Ended by an error after 2 of 9 epochs: ZeroDivisionError: of mine"
    )  # fmt: skip
    assert message in text and "the training rows (90 rows)" in text
    assert len(read(record).epochs) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "run.jsonl"]


def test_a_loss_that_is_not_finite_is_reported(tmp_path: Path) -> None:
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Dense(1)])
    model.compile(gpunn.optimizers.SGD(1e30), "mse")
    path = tmp_path / "report.html"
    x, y = np.ones((64, 2)), np.zeros((64, 1))
    with pytest.raises(gpunn.models.NonFiniteLossError):
        model.fit(x, y, epochs=5, verbose=0, callbacks=[Report(path)])
    text = page_of(path).text
    assert "NonFiniteLossError" in text and "Left out: the model gives values" in text


def test_numbers_are_shown_beside_what_is_true(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((200, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.1 * random.standard_normal(200)
    model = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(1)])
    model.compile(gpunn.optimizers.Adam(0.1), "mse")
    path = tmp_path / "report.html"
    model.fit(x, y, epochs=5, verbose=0, callbacks=[Report(path, data=(x[:50], y[:50]))])
    page = page_of(path)
    assert {"Predicted and true", "The worst mistakes"} <= set(page.headings)
    assert not page.images  # the weights of one unit are a line, not a picture
    predicted = model.predict(x[:50], verbose=0)[:, 0]
    assert f"{r2_score(y[:50], predicted):.4g}" in page.text
    assert page.tags.count("circle") >= 50 and page.tags.count("rect") == 20
    worst = np.abs(predicted - y[:50]).argmax()
    row = page.table("row", "true", "predicted")[0]
    assert row[:2] == [str(worst), f"{y[worst]:.4g}"]
    assert row[4:] == [f"{value:.4g}" for value in x[worst]]


def test_numbers_at_the_ends_of_axes_are_in_the_picture(tmp_path: Path) -> None:
    from matplotlib.textpath import TextPath

    x = np.linspace(-1, 1, 60)[:, None]
    model = gpunn.Sequential([gpunn.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mae")
    path = tmp_path / "r.html"
    model.fit(x, 390_000 * x, epochs=1, verbose=0, callbacks=[gpunn.callbacks.Report(path)])
    checked = 0
    drawn = re.findall(r'<svg [^>]*width="(\d+)".*?>(.*?)</svg>', path.read_text("utf-8"))
    for width, svg in drawn:
        for place, text in re.findall(r'<text x="([\d.]+)"[^>]*"middle">([^<]+)</text>', svg):
            half = TextPath((0, 0), text, size=11).get_extents().width / 2
            assert half <= float(place) <= float(width) - half, text
            checked += text in ("400000", "-400000")
    assert checked


def test_names_are_text_wherever_they_stand(tmp_path: Path, data: Any) -> None:
    path, record = tmp_path / "report.html", tmp_path / "run.jsonl"
    model = gpunn.Sequential(
        [gpunn.Input((16,)), layers.Dense(4, name=EVIL.replace("/", "")),
         layers.Dense(3, activation="softmax")],
        name=EVIL.replace("/", ""),
    )  # fmt: skip
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = data[0].reshape(90, 16) / 255, data[1]
    reporter = Report(path, record=record, data=(x, y), part=EVIL, classes=[EVIL] * 3, command=EVIL)
    model.fit(x, y, verbose=0, callbacks=[reporter])
    page = page_of(path)
    assert page.text.count(EVIL) > 10 and "img" in page.tags
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.images)
    run = read(record)
    again = {name: EVIL for name in ("name", "began", "command", "code")}
    run.begin.update(again, settings={EVIL: EVIL}, environment={EVIL: EVIL}, layers=[[EVIL] * 3])
    tried = {"model": EVIL, "training": EVIL, "chosen": 1, "loss": 1.0, "error": None,
             "figures": {EVIL: 1.0}, "folds": 5, "seconds": None, "parameters": 9}  # fmt: skip
    run.begin.update(trained=EVIL, tried=[tried] * 25)
    run.end.update(ended=EVIL, findings=[EVIL], data={"summary": EVIL, "findings": [[EVIL] * 3]})
    run.epochs[0]["logs"] = {EVIL: 1.0, f"val_{EVIL}": 2.0}
    run.epochs[0]["gradients"][0]["layer"] = EVIL
    run.end["results"]["figures"] = {EVIL: 1.0}
    run.path = EVIL
    for runs in ([run], [run, run]):
        written = tmp_path / "evil.html"
        written.write_text(report(runs), encoding="utf-8")
        assert page_of(written).text.count(EVIL) > 5
        assert html.escape(EVIL.split("<")[0]) in written.read_text(encoding="utf-8")


def test_what_cannot_be_judged_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    x = np.ones((8, 2))
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Dense(3, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    model.fit(x, np.ones((8, 3)), verbose=0, callbacks=[Report(path)])
    assert "several binary predictions" in page_of(path).text
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    batches = [(x, np.ones((8, 1)))] * 2
    model.fit(batches, verbose=0, callbacks=[Report(path)])
    assert "pass Report data=(x, y)" in page_of(path).text


def test_a_callback_that_is_used_again_tells_of_the_last_run(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "report.html"
    reporter, model = Report(path), classifier()
    model.fit(*data, epochs=4, verbose=0, callbacks=[reporter])
    model.fit(*data, epochs=2, verbose=0, callbacks=[reporter])
    assert "Trained for 2 of 2 epochs." in page_of(path).text
    path.unlink()
    with pytest.raises(ZeroDivisionError):  # before training begins
        model.fit(*data, verbose=0, callbacks=[_Broken(), reporter])
    assert not path.exists()


class _Broken(gpunn.callbacks.Callback):
    def on_train_begin(self, logs: Any = None) -> None:
        raise ZeroDivisionError


def test_of_much_data_some_rows_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpunn.apps.reports.callback.CHECKED", 1)
    x = np.random.default_rng(0).standard_normal((1050, 500))
    model = gpunn.Sequential([gpunn.Input((500,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    path = tmp_path / "report.html"
    model.fit(x, x[:, :1], verbose=0, steps_per_epoch=1, callbacks=[Report(path)])
    page = page_of(path)
    assert "Of 1,050 rows, an evenly spaced sample: 1,000 rows of 500 features" in page.text
    assert "amount" not in page.text  # it would describe only the 1,000


def test_a_report_changes_no_bit_of_a_training(tmp_path: Path, data: Any) -> None:
    kernels = []
    for callbacks in ([], [Report(tmp_path / "report.html")]):
        gpunn.utils.set_random_seed(3)
        model = classifier()
        model.fit(*data, epochs=3, verbose=0, callbacks=callbacks)
        kernels.append(model.get_layer("hidden").kernel.numpy())
    assert np.array_equal(*kernels)


def test_it_is_known_before_training_that_it_cannot_be_written(tmp_path: Path, data: Any) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        classifier().fit(*data, verbose=0, callbacks=[Report(tmp_path / "none" / "report.html")])


# -- files


@pytest.fixture
def record(tmp_path: Path, data: Any) -> Path:
    path = tmp_path / "run.jsonl"
    model = classifier()
    reporter = Report(tmp_path / "report.html", record=path)
    model.fit(*data, epochs=2, verbose=0, validation_split=0.3, callbacks=[reporter])
    return path


def test_a_record_is_json_lines(record: Path) -> None:
    lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    assert [set(line) & {"gpunn_run", "epoch", "ended"} for line in lines] == [
        {"gpunn_run"}, {"epoch"}, {"epoch"}, {"ended"}
    ]  # fmt: skip
    run = read(record)
    assert [json.loads(line) for line in run.lines()] == lines
    assert report([run]) == (record.parent / "report.html").read_text(encoding="utf-8")
    assert read(record.parent).begin == run.begin


def test_a_record_of_an_earlier_release_has_a_report(record: Path) -> None:
    first, *lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    expected = report([read(record)])
    begin = json.loads(first)
    del begin["trained"], begin["tried"]
    record.write_text("".join([json.dumps(begin) + "\n", *lines]), encoding="utf-8")
    assert report([read(record)]) == expected


def test_a_run_that_was_killed_has_a_report(record: Path) -> None:
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(lines[:2]))
    assert "Not finished: 1 of 2 epochs are recorded." in Page(report([read(record)])).text
    record.write_bytes(lines[0])
    assert "Not finished: 0 of 2 epochs are recorded." in Page(report([read(record)])).text


BROKEN = {
    "": "is empty",
    "{": "line 1: not a line of JSON",
    "[" * 100_000: "line 1: not a line of JSON",
    "[]": "line 1: the entry '' is []: a dictionary expected.",
    '{"gpunn_run": 2}': "line 1: the entry 'began' is missing.",
    "\udcff": "line 1: not a line of JSON",
}


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_record_raises(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=re.escape(BROKEN[text])):
        read(path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")


CHANGES: list[tuple[int, str, Any, str]] = [
    (0, "gpunn_run", 2, "line 1: the entry 'gpunn_run' is 2"),
    (0, "settings", {"a": 1}, "line 1: the entry 'settings/a' is 1: a text expected."),
    (1, "epoch", 10**30, "line 2: not a line of JSON"),
    (1, "seconds", math.inf, "line 2: the entry 'seconds'"),
    (1, "logs", {"loss": "1"}, "line 2: the entry 'logs/loss' is '1'"),
    (1, "more", 1, "line 2: the entry 'more' is not known."),
    (3, "weights", {"picture": 1}, "line 4: the entry 'weights/"),
    (3, "data", {"summary": 1, "findings": []}, "line 4: the entry 'data/summary' is 1"),
    (3, "results", {"kind": []}, "line 4: the entry 'results' is of an unknown kind."),
]


@pytest.mark.parametrize(("line", "entry", "value", "message"), CHANGES)
def test_a_record_that_was_changed_is_refused(
    record: Path, line: int, entry: str, value: Any, message: str
) -> None:
    lines = [json.loads(one) for one in record.read_text(encoding="utf-8").splitlines()]
    lines[line][entry] = value
    record.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        read(record)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("picture", "https://example.org/a.png"),
        ("picture", "data:image/svg+xml;base64,AAAA"),
        ("picture", 'data:image/png;base64,AA" onerror="alert(1)'),
        ("true", 3),
        ("said", -1),
    ],
)
def test_a_mistake_that_was_changed_is_refused(record: Path, entry: str, value: Any) -> None:
    lines = [json.loads(one) for one in record.read_text(encoding="utf-8").splitlines()]
    lines[3]["results"]["mistakes"][0][entry] = value
    record.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(ValueError, match="line 4"):
        read(record)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Yield the position of every entry in a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for name, one in entries:
        found.append((*path, name))
        if isinstance(one, (dict, list)):
            found += places(one, (*path, name))
    return found


HOSTILE = [
    None, True, 0, 1, -1, 10**17, 1e308, -1e308, 5e-324, math.nan, math.inf, "", EVIL, "a" * 10_000,
    "data:image/png;base64,", [], [[]], {}, {"": 1}, {EVIL: EVIL}, [1e308, -1e308], [EVIL] * 3,
]  # fmt: skip


def test_whatever_stands_in_a_record_there_is_a_page_or_a_sentence(
    tmp_path: Path, record: Path
) -> None:
    """Replace every sixth entry in turn, for a regression run and a classification run."""
    model = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).standard_normal((20, 3))
    other = tmp_path / "numbers.jsonl"
    model.fit(x, x[:, :1], verbose=0, callbacks=[Report(tmp_path / "r.html", record=other)])
    random, pages = np.random.default_rng(0), 0
    for path in (record, other):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for place in places(lines)[::6]:
            changed = json.loads(json.dumps(lines))
            into = changed
            for name in place[:-1]:
                into = into[name]
            into[place[-1]] = HOSTILE[random.integers(len(HOSTILE))]
            path.write_text("\n".join(map(json.dumps, changed)), encoding="utf-8")
            try:
                run = read(path)
            except ValueError as error:
                assert f"{path}, line {place[0] + 1}: " in str(error)
                continue
            pages += 1
            page = Page(report([run]))
            assert "script" not in page.tags and "<h1>" in report([run, run])
    assert pages > 5


def test_runs_are_compared(tmp_path: Path, data: Any) -> None:
    runs: list[Record] = []
    for name, epochs in (("first", 2), ("second", 4)):
        (tmp_path / name).mkdir()
        reporter = Report(tmp_path / "report.html", record=tmp_path / name / "run.jsonl")
        classifier().fit(*data, epochs=epochs, batch_size=epochs, verbose=0, callbacks=[reporter])
        runs.append(read(tmp_path / name))
    (tmp_path / "both.html").write_text(report(runs), encoding="utf-8")
    page = page_of(tmp_path / "both.html")
    assert [row[:2] for row in page.table("run", "epochs")] == [
        ["first", "2 of 2"], ["second", "4 of 4"]
    ]  # fmt: skip
    head, *rows = next(t for t in page.tables if "batch size" in t[0])
    assert [dict(zip(head, row, strict=True))["batch size"] for row in rows] == ["2", "4"]
    assert page.tags.count("svg") == 2 + 2  # the charts, and the lines in their key


def test_of_commands_and_lists_the_comparison_shows_what_differs(
    tmp_path: Path, record: Path
) -> None:
    runs = []
    for name, rate in (("one", "0.1"), ("two", "0.2"), ("three", "0.1")):
        run = read(record)
        run.path = str(tmp_path / name / "run.jsonl")
        run.begin["command"] = f"gpunn train 'my table.csv' --learning-rate {rate} --out '{name} x'"
        run.begin["settings"] |= {"optimizer": f"SGD, learning_rate {rate}, momentum 0.9"}
        runs.append(run)
    page = Page(report(runs))
    assert page.table("run", "optimizer") == [
        ["one", "learning_rate 0.1", "--learning-rate 0.1--out 'one x'"],
        ["two", "learning_rate 0.2", "--learning-rate 0.2--out 'two x'"],
        ["three", "learning_rate 0.1", "--learning-rate 0.1--out 'three x'"],
    ]
    runs[0].begin["command"] = "gpunn train 'no end"
    assert ["one", "learning_rate 0.1", "gpunn train 'no end"] in Page(report(runs)).tables[-1]
    assert "No recorded entry differs" in report([read(record), read(record)])
