"""A step allocates nothing of a batch's size, and repeated calls do not accumulate memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import registered
import threadpoolctl
from digit_networks import PROGRAMS, digits, mlp, program_1, stepper
from properties.allocated import growth, peak

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.numpy.backend import NumpyBackend

LARGEST = 64 * 1024  # bytes: no step after the first allocates a larger array
on_the_host = pytest.mark.parametrize("backend", ["numpy", "compiled"])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """NumPy has separate buffers in each working thread."""
    with threadpoolctl.threadpool_limits(1, "blas"):
        yield


def allowed() -> int:
    """`LARGEST`, or NumPy's own buffers for converting bytes where they are larger (before 2.3)."""
    source, target = np.zeros((32, 28, 28), np.uint8), np.zeros((32, 28, 28), np.float32)
    buffers = peak(lambda: np.multiply(source, 0.5, out=target, dtype="float32", casting="unsafe"))
    return max(LARGEST, buffers + 8 * 1024)


@on_the_host
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_step_allocates_nothing_large(name: str, weighted: bool, backend: str) -> None:
    make, batch = PROGRAMS[name]
    run = stepper(make(backend=backend), batch, 6, weighted=weighted)
    run(2)  # a step is traced
    assert peak(lambda: run(2)) < allowed()


def assert_nothing_large(runs: dict[str, Callable[[int], None]]) -> None:
    """Measure all of them together, since searching for garbage takes longer than training."""
    for run in runs.values():
        run(2)  # a step records the operations
    if peak(lambda: [run(1) for run in runs.values()]) >= allowed():
        found = {name: peak(lambda run=run: run(1)) for name, run in runs.items()}
        pytest.fail(f"bytes that a step allocates: {found}")


@on_the_host
def test_no_optimizer_allocates_anything_large(backend: str) -> None:
    runs = {}
    for name, arguments in registered.cases("optimizer"):
        optimizer = registered.make("optimizer", name, arguments)
        model = mlp([layers.Dense(256, activation="sigmoid")], optimizer, backend)
        runs[f"{name} {arguments}"] = stepper(model, 32, 6)
    assert_nothing_large(runs)


@pytest.mark.filterwarnings("ignore:.*whose derivative is 0:UserWarning")
@on_the_host
def test_no_activation_allocates_anything_large(backend: str) -> None:
    runs = {}
    x, y = np.ones((256, 5), np.float32), np.ones((256, 600), np.float32)
    for name, arguments in registered.cases("activation"):
        activation = registered.make("activation", name, arguments)
        model = gpunn.Sequential(
            [layers.Input((5,)), layers.Dense(600, activation=activation)], backend=backend
        )
        model.compile("sgd", "mse")
        rows = gpunn.feeding.data.to_rows(model._trainer.spec, x, y)
        runs[f"{name} {arguments}"] = model._trainer.training.program(64, rows, rows.order(1)).run
    assert_nothing_large(runs)


@on_the_host
@pytest.mark.parametrize("activation", ["linear", "softmax", "sigmoid"])
def test_no_loss_allocates_anything_large(activation: str, backend: str) -> None:
    """Rows of 600 outputs, so that an allocation of a batch's size shows."""
    random, runs = np.random.default_rng(0), {}
    x = random.standard_normal((128, 20)).astype(np.float32)
    y = np.zeros((128, 600), np.float32)
    y[:, 0] = 1
    for name, arguments in registered.cases("loss"):
        if name == "Poisson" and activation == "linear":  # it needs non-negative predictions
            continue
        model = gpunn.Sequential(
            [layers.Input((20,)), layers.Dense(600, activation=activation)], backend=backend
        )
        try:
            model.compile("sgd", registered.make("loss", name, arguments))
        except ValueError:  # loss and activation do not fit
            continue
        spec = model._trainer.spec
        sparse = spec.targets[0].loss.sparse
        rows = gpunn.feeding.data.to_rows(spec, x, np.zeros(128, int) if sparse else y)
        runs[f"{name} {arguments}"] = model._trainer.training.program(32, rows, rows.order(1)).run
    assert len(runs) > 20
    assert_nothing_large(runs)


def test_the_measurement_sees_a_large_array() -> None:
    assert peak(lambda: np.empty(LARGEST, np.uint8)) >= LARGEST
    assert allowed() < 80 * 1024


def test_a_float32_step_makes_no_float64_array_of_the_datas_size() -> None:
    """float64 images, as x / 255.0 gives them: one float32 copy on the device, no other copies."""
    x, y = digits(6000)
    scaled = x / 255.0
    model = mlp([layers.Dense(32)], "adam")

    def fit() -> None:
        model.fit(scaled, y, epochs=1, steps_per_epoch=2, verbose=0)

    fit()
    # The float32 data and one piece in transit; the float64 data would be twice as much.
    assert peak(fit) < scaled.nbytes / 2 * 1.3


# -- no accumulation


@pytest.mark.in_turn(2)
def test_predicting_in_a_loop_keeps_memory_flat() -> None:
    model = program_1()
    x, _ = digits(300)
    sizes = iter(range(1, 10_000))

    def work() -> None:
        model.predict(x[: 1 + next(sizes) % 300], verbose=0)
        model.predict_on_batch(x[:7])
        model(x[:3])

    assert growth(work, 300, warm=300) < 100_000


@on_the_host
def test_two_hundred_fits_keep_memory_flat(backend: str) -> None:
    model = program_1(backend=backend)
    x, y = digits(43)

    def work() -> None:
        model.fit(x, y, batch_size=10, epochs=1, verbose=0, validation_split=0.2)
        model.evaluate(x, y, verbose=0)

    assert growth(work, 200, warm=5) < 100_000


@pytest.mark.in_turn(2)
@on_the_host
def test_models_that_are_gone_leave_nothing(backend: str) -> None:
    x, y = digits(20)

    def work() -> None:
        program_1(backend=backend).fit(x, y, batch_size=10, verbose=0)

    assert growth(work, 50, warm=5) < 100_000


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("method", ["train_on_batch", "predict_on_batch"])
def test_batches_of_ever_new_sizes_do_not_pile_up(method: str) -> None:
    """A stream of batches, each of another size: only the data for the last few sizes are kept."""
    model = gpunn.Sequential(
        [
            layers.Input((8, 2)),
            layers.Dense(512, activation="tanh"),
            layers.Dense(2, activation="softmax"),
            layers.Dense(2),
        ],
        backend=NumpyBackend(),
    )
    model.compile("sgd", "mse")
    x = np.ones((200, 8, 2), np.float32)

    def work(first: int = 20, last: int = 200) -> None:
        for n in range(first, last):
            getattr(model, method)(*[x[:n]] * (2 if method == "train_on_batch" else 1))

    work(160)
    assert growth(work, 2, warm=0) < 200_000


def test_work_arrays_can_be_released() -> None:
    backend = get_backend("numpy")
    kept = weakref.ref(backend.scratch((3, 3), np.float32, "test"))
    backend.release()
    assert kept() is None
