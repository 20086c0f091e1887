"""The other frameworks' programs in the benchmarks compute what they claim to compute.

Every variant that can run without a GPU answers in a separate process (one per file, and for Keras
one per backend). This file is also that process's program. If a framework of the `bench` extra is
missing, its variants are not collected.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.backends.compiled import cpu_kernels

pytestmark = pytest.mark.checks("benchmarks")

FOLDER = Path(__file__).parents[2] / "benchmarks" / "contestants"
FILES = {path.stem: runpy.run_path(str(path)) for path in sorted(FOLDER.glob("*.py"))}
FILES = {stem: file for stem, file in FILES.items() if "VARIANTS" in file and "ONLY" not in file}
# The CUDA graph program without the capture itself.
UNCAPTURED = {"PyTorch, CUDA graph of 3 steps, without a graph": {"fused": True, "graph": 3}}
YARDSTICK = "bare_products"
SLOW = ("Keras 3 on PyTorch, jit_compile",)  # compiles for half a minute: is asked less
STEPS, EPOCHS = 3, 6
SIZES = (784, 24, 16, 10)
ROWS = 60  # of the data of STEPS, one batch
# The epsilon that a framework adds to the root of Adam's second moment, and whether before or after
# dividing the moment by 1 - beta ** t.
EPSILON = {
    "gpunn_fit": (1e-7, "before"), "keras_mlp": (1e-7, "before"), "sklearn_mlp": (1e-8, "before"),
}  # fmt: skip


def variants(stem: str) -> dict[str, dict]:
    """Return the variants of a file that need no GPU."""
    own = {k: v for k, v in FILES[stem]["VARIANTS"].items() if "(card)" not in k}
    return own | (UNCAPTURED if stem == "torch_mlp" else {})


def can_run(stem: str, options: dict) -> bool:
    if options.get("backend") == "compiled" and cpu_kernels.why_not() is not None:
        return False
    packages = [*FILES[stem]["REQUIRES"], *([options["backend"]] if stem == "keras_mlp" else [])]
    return all(importlib.util.find_spec(package) is not None for package in packages)


CONTESTANTS = [
    (stem, name) for stem in FILES for name, options in variants(stem).items()
    if can_run(stem, options) and stem != YARDSTICK
]  # fmt: skip


CONVOLVING = [
    (stem, name) for stem, name in CONTESTANTS if "CONVOLVES" in FILES[stem] and name not in SLOW
]


LIGHT = ("gpunn_fit", "numpy_tutorial")


def rare(stem: str, name: str) -> bool:
    """Return whether a variant compiles or starts processes for many seconds: not in every run."""
    long = "torch.compile" in name or "DataLoader" in name
    return stem in ("jax_mlp", "keras_mlp") or long


def case(stem: str, name: str, *more: str) -> Any:
    marks = [pytest.mark.more(3)] if rare(stem, name) or "momentum" in more else []
    return pytest.param(stem, name, *more, id="-".join((name, *more)), marks=marks)


def optimizers_of(name: str) -> tuple[str, ...]:
    again = name in SLOW or "steps per execution" in name  # compiles the same again
    return ("adam",) if again else ("sgd", "momentum", "adam")


each = pytest.mark.parametrize(("stem", "name"), [case(*who) for who in CONTESTANTS])
each_optimizer = pytest.mark.parametrize(
    ("stem", "name", "optimizer"),
    [case(*who, rule) for who in CONTESTANTS for rule in optimizers_of(who[1])],
)


# -- the data


def initial_weights(sizes: tuple[int, ...], convolutions: tuple[int, ...] = ()) -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    weights = []
    shapes = [(3, 3, n_in, n_out) for n_in, n_out in itertools.pairwise((1, *convolutions))]
    for *window, n_in, n_out in [*shapes, *itertools.pairwise(sizes)]:
        deviation = (n_in * np.prod(window)) ** -0.5
        kernel = generator.normal(0, deviation, (*window, n_in, n_out))
        weights.append(kernel.astype(np.float32))
        weights.append(generator.normal(0, 0.1, n_out).astype(np.float32))
    return weights


def some_data(sizes: tuple[int, ...], optimizer: str, batch: int, dropout: float) -> dict:
    """Return ROWS images of noise: no pixel is dark in all of them."""
    generator = np.random.default_rng(5)
    x, y = generator.integers(0, 256, (ROWS, 28, 28), np.uint8), np.arange(ROWS) % 10
    data = {"x": x, "y": y.astype(np.uint8), "weights": initial_weights(sizes), "threads": 1}
    data |= {"x_test": x, "y_test": data["y"], "seed": 0}
    work = {"sizes": sizes, "optimizer": optimizer, "batch": batch, "dropout": dropout}
    return data | {"workload": work}


def images_data() -> dict:
    """The same, for a small network with two convolutions, whose output is 5 x 5 x 4."""
    data, convolutions = some_data((100, 10), "adam", ROWS, 0.0), (3, 4)
    data["workload"]["convolutions"] = convolutions
    return data | {"weights": initial_weights((100, 10), convolutions)}


def scaled(x: np.ndarray) -> np.ndarray:
    return (x.reshape(len(x), -1) / 255).astype(np.float32)


# -- the other process


def answer(stem: str, name: str, digits: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return a variant's answers to all questions."""
    program, options, optimizers = FILES[stem]["prepare"], variants(stem)[name], optimizers_of(name)
    answers: dict[str, Any] = {}
    for optimizer in optimizers:
        data = some_data(SIZES, optimizer, ROWS, 0.0)
        trained = program(data, **options)
        if optimizer == optimizers[0]:
            for rows in (ROWS,) if name in SLOW else (ROWS, 1):
                x = scaled(data["x"][:rows])
                answers[f"predict {rows}"] = trained.predict(x)
                if hasattr(trained, "predict_on_batch"):
                    answers[f"predict_on_batch {rows}"] = trained.predict_on_batch(x)
            answers["first accuracy"] = trained.accuracy()
        figures = [trained.epoch() for _ in range(STEPS)]
        answers[f"figures {optimizer}"] = np.array(figures, float)
        for number, array in enumerate(trained.weights()):
            answers[f"{optimizer} {number}"] = array
        answers[f"afterwards {optimizer}"] = trained.predict(scaled(data["x"]))
    if (stem, name) in CONVOLVING:
        trained = program(images_data(), **options)
        answers["figures of images"] = np.array([trained.epoch() for _ in range(STEPS)], float)
        for number, array in enumerate(trained.weights()):
            answers[f"images {number}"] = array
    data = some_data((784, 1000, 10), "sgd", ROWS, 0.5) | {"y": np.zeros(ROWS, np.uint8)}
    ones, first = np.ones(1000, np.float32), np.zeros((1000, 10), np.float32)
    first[:, 0] = 1 / 1000  # so that the first output is the mean of the hidden units: of ones
    data["weights"] = [np.zeros((784, 1000), np.float32), ones, first, np.zeros(10, np.float32)]
    answers["loss of halves"] = program(data, **options).epoch()[0]
    batch = 25 if name in SLOW else 24  # the last batch is smaller
    work = {"sizes": (784, 32, 10), "optimizer": "adam", "batch": batch, "dropout": 0.2}
    data = digits | {"workload": work, "weights": initial_weights(work["sizes"])}
    trained = program(data | {"threads": 1, "seed": 0}, **options)
    answers["digits"] = [trained.epoch() for _ in range(EPOCHS)][-1][0], trained.accuracy()
    return answers


def main(stem: str, digits: str, out: str, *names: str) -> None:
    with np.load(digits) as file:
        arrays = dict(file)
    for number, name in enumerate(names):
        try:
            answers = answer(stem, name, arrays)
        except Exception:
            answers = {"error": traceback.format_exc()}
        np.savez(f"{out}/{number}.npz", **answers)


@pytest.fixture(scope="module")
def ask(mnist: tuple, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that returns the answers of a variant; processes start on demand."""
    folder = tmp_path_factory.mktemp("contestants")
    arrays = zip(("x", "y", "x_test", "y_test"), itertools.chain(*mnist), strict=True)
    np.savez(folder / "digits.npz", **{name: array[:2000] for name, array in arrays})

    @functools.cache
    def process(
        stem: str, backend: str | None, slow: bool, often: bool
    ) -> dict[str, dict[str, np.ndarray]]:
        names = [
            name for file, name in CONTESTANTS
            if file == stem and variants(stem)[name].get("backend") == backend
            and (name in SLOW) == slow and rare(stem, name) != often
        ]  # fmt: skip
        out = folder / f"{stem}-{backend}-{slow}-{often}"
        out.mkdir()
        done = subprocess.run(
            [sys.executable, __file__, stem, str(folder / "digits.npz"), str(out), *names],
            env=os.environ | {
                "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1",
                "KERAS_HOME": str(folder),
            },
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {name: dict(np.load(out / f"{i}.npz")) for i, name in enumerate(names)}

    def answers(stem: str, name: str) -> dict[str, np.ndarray]:
        backend, often = variants(stem)[name].get("backend"), not rare(stem, name)
        found = process(stem, backend, name in SLOW, often)[name]
        assert "error" not in found, str(found["error"])
        return found

    return answers


# -- the tests


def probabilities(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    h = x.astype(float)
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h = np.maximum(h @ kernel + bias, 0)
    z = np.exp(h @ weights[-2] + weights[-1])
    return z / z.sum(axis=1, keepdims=True)


@each
def test_predicts_by_the_given_weights(stem: str, name: str, ask: Any) -> None:
    answers = ask(stem, name)
    data = some_data(SIZES, "sgd", ROWS, 0.0)
    expected = probabilities(scaled(data["x"]), data["weights"])
    for key in [key for key in answers if key.startswith("predict")]:
        rows = int(key.split()[1])
        assert answers[key].shape == (rows, 10) and answers[key].dtype == np.float32
        np.testing.assert_allclose(answers[key], expected[:rows], atol=1e-5)
    assert f"predict {ROWS}" in answers and (name in SLOW or "predict 1" in answers)
    right = (expected.argmax(axis=1) == data["y"]).mean()
    assert answers["first accuracy"] == pytest.approx(right, abs=1e-6)


@functools.cache
def trained_by_pytorch(optimizer: str, epsilon: float, when: str) -> tuple[list, list, list]:
    """Return the weights after STEPS steps, and the loss and accuracy before each step."""
    torch = pytest.importorskip("torch", reason="its wheel is for Python 3.11")
    data = some_data(SIZES, optimizer, ROWS, 0.0)
    weights = [torch.tensor(w, requires_grad=True) for w in data["weights"]]
    make = {
        "sgd": lambda: torch.optim.SGD(weights, lr=0.01),
        "momentum": lambda: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
        "adam": lambda: torch.optim.Adam(weights, lr=0.001, eps=epsilon),
    }
    rule = make[optimizer]()
    x, y = torch.tensor(scaled(data["x"])), torch.tensor(data["y"].astype(int))
    figures = []
    for t in range(1, STEPS + 1):
        if optimizer == "adam" and when == "before":
            rule.param_groups[0]["eps"] = epsilon / (1 - 0.999**t) ** 0.5
        h = x
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = torch.relu(h @ kernel + bias)
        output = h @ weights[-2] + weights[-1]
        loss = torch.nn.functional.cross_entropy(output, y)
        figures.append((loss.item(), (output.argmax(1) == y).float().mean().item()))
        rule.zero_grad()
        loss.backward()
        rule.step()
    return [w.detach().numpy() for w in weights], *zip(*figures, strict=True)


@each_optimizer
def test_steps_are_those_of_pytorch(stem: str, name: str, optimizer: str, ask: Any) -> None:
    weights, losses, hits = trained_by_pytorch(optimizer, *EPSILON.get(stem, (1e-8, "after")))
    answers = ask(stem, name)
    for number, expected in enumerate(weights):
        ours = answers[f"{optimizer} {number}"]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5, err_msg=f"weight {number}")
    x = scaled(some_data(SIZES, optimizer, ROWS, 0.0)["x"])
    np.testing.assert_allclose(
        answers[f"afterwards {optimizer}"], probabilities(x, weights), atol=1e-5
    )
    figures = answers[f"figures {optimizer}"]
    np.testing.assert_allclose(figures[:, 0], losses, rtol=1e-5)
    if stem != "sklearn_mlp":
        np.testing.assert_allclose(figures[:, 1], hits, rtol=1e-6)


@functools.cache
def trained_on_images(epsilon: float, when: str) -> tuple[list, list]:
    """Return the weights after STEPS of Adam on the batch, and the loss before each step."""
    torch = pytest.importorskip("torch", reason="its wheel is for Python 3.11")
    data = images_data()
    weights = [torch.tensor(w, requires_grad=True) for w in data["weights"]]
    rule = torch.optim.Adam(weights, lr=0.001, eps=epsilon)
    x = torch.tensor(scaled(data["x"])).reshape(-1, 1, 28, 28)
    y, losses = torch.tensor(data["y"].astype(int)), []
    for t in range(1, STEPS + 1):
        if when == "before":
            rule.param_groups[0]["eps"] = epsilon / (1 - 0.999**t) ** 0.5
        h = x
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = torch.conv2d(h, kernel.permute(3, 2, 0, 1), bias).relu()
            h = torch.nn.functional.max_pool2d(h, 2)
        h = h.permute(0, 2, 3, 1).flatten(1)
        loss = torch.nn.functional.cross_entropy(h @ weights[-2] + weights[-1], y)
        losses.append(loss.item())
        rule.zero_grad()
        loss.backward()
        rule.step()
    return [w.detach().numpy() for w in weights], losses


@pytest.mark.parametrize(("stem", "name"), [case(*who) for who in CONVOLVING])
def test_images_are_learned_as_by_pytorch(stem: str, name: str, ask: Any) -> None:
    weights, losses = trained_on_images(*EPSILON.get(stem, (1e-8, "after")))
    answers = ask(stem, name)
    np.testing.assert_allclose(answers["figures of images"][:, 0], losses, rtol=1e-5)
    for number, expected in enumerate(weights):
        ours = answers[f"images {number}"]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5, err_msg=f"weight {number}")


@each
def test_learns_as_much_as_the_others(stem: str, name: str, ask: Any) -> None:
    """EPOCHS of 2,000 digits with a ragged last batch, and dropout where it is supported."""
    loss, accuracy = ask(stem, name)["digits"]
    loss_there, accuracy_there = ask("numpy_tutorial", "NumPy as in tutorials")["digits"]
    assert accuracy > 0.82
    assert abs(accuracy - accuracy_there) < 0.02
    if stem != "sklearn_mlp":  # without dropout the loss is two thirds of the others'
        assert loss == pytest.approx(loss_there, rel=0.1)


@each
def test_dropout_leaves_the_mean(stem: str, name: str, ask: Any) -> None:
    """The loss is almost, but not exactly, the one without: remaining units are scaled up."""
    without = np.log(np.e + 9) - 1
    difference = abs(float(ask(stem, name)["loss of halves"]) / without - 1)
    if stem == "sklearn_mlp":
        assert difference < 1e-5
    else:
        assert 1e-5 < difference < 0.02  # its spread is 0.002; unscaled it is 0.28


def test_the_yardstick_is_every_product_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three per layer and step, but two for the first layer; one per layer for a prediction."""
    flops, dot = 0, np.dot

    def counted(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        nonlocal flops
        assert a.dtype == b.dtype == out.dtype == np.float32
        flops += 2 * a.shape[0] * a.shape[1] * b.shape[1]
        return dot(a, b, out)

    data = some_data(SIZES, "sgd", 25, 0.0)  # the last batch has 10 rows
    bare = FILES[YARDSTICK]["prepare"](data)
    monkeypatch.setattr(np, "dot", counted)
    bare.epoch()
    layers = [a * b for a, b in itertools.pairwise(SIZES)]
    assert flops == 2 * ROWS * (3 * sum(layers) - layers[0])
    flops = 0
    expected = x = scaled(data["x"])
    for kernel in data["weights"][::2]:
        expected = expected @ kernel
    np.testing.assert_allclose(bare.predict(x), expected, rtol=1e-4, atol=1e-5)
    assert flops == 2 * ROWS * sum(layers)


def test_the_frameworks_that_tests_bring_take_part() -> None:
    expected = {"gpunn_fit", "numpy_tutorial", "sklearn_mlp"}
    if sys.version_info[:2] == (3, 11):
        expected.add("torch_mlp")
    assert expected <= {stem for stem, _ in CONTESTANTS}
    names = [name for stem in FILES for name in FILES[stem]["VARIANTS"]]
    assert len(names) == len(set(names))


@pytest.fixture(scope="module")
def few_digits(mnist: tuple, tmp_path_factory: pytest.TempPathFactory) -> Path:
    arrays = zip(("x", "y", "x_test", "y_test"), itertools.chain(*mnist), strict=True)
    path = tmp_path_factory.mktemp("cold") / "few.npz"
    np.savez(path, **{name: array[:1000] for name, array in arrays})
    return path


@pytest.mark.parametrize(
    "stem",
    [
        # Importing one of the others takes seconds.
        pytest.param(stem, marks=[pytest.mark.more(3)] if stem not in LIGHT else [])
        for stem in dict.fromkeys(stem for stem, _ in CONTESTANTS)
    ],
)
def test_starts_cold(stem: str, few_digits: Path) -> None:
    name = next(name for file, name in CONTESTANTS if file == stem)
    files = {"GPUNN_BENCH_DATA": str(few_digits), "KERAS_HOME": str(few_digits.parent)}
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{stem}.py"), "cold", name],
        env=os.environ | files, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 0.3 < float(done.stdout.splitlines()[-1]) < 1


def test_loading_a_contestant_imports_no_neighbour() -> None:
    """A cold start then measures one framework, and a missing one is noticed in time."""
    neighbours = {"torch", "jax", "keras", "sklearn"}
    code = (
        "import runpy, sys\n"
        f"for path in {[str(FOLDER / f'{stem}.py') for stem in FILES]!r}: runpy.run_path(path)\n"
        f"print(*({neighbours!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


if __name__ == "__main__":
    main(*sys.argv[1:])
