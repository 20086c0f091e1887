"""What a training step costs besides its arithmetic: memory, dtypes, operations."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import pytest
import registered
from digit_networks import PROGRAMS, digits, mlp, program_1, program_2, stepper

import gpunn
from benchmarks.counts.counting import instructions
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.numpy.backend import NumpyBackend

LARGEST = 64 * 1024  # bytes: no array of more is allocated by a step after the first
on_the_host = pytest.mark.parametrize("backend", ["numpy", "compiled"])


def peak(work: Callable[[], Any]) -> int:
    """Bytes of Python's and NumPy's memory that ``work`` has in use at most, beyond before."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def allowed() -> int:
    """`LARGEST`, or what NumPy itself takes to convert bytes where that is more (before 2.3)."""
    source, target = np.zeros((32, 28, 28), np.uint8), np.zeros((32, 28, 28), np.float32)
    buffers = peak(lambda: np.multiply(source, 0.5, out=target, dtype="float32", casting="unsafe"))
    return max(LARGEST, buffers + 8 * 1024)


@on_the_host
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_step_allocates_nothing_large(name: str, weighted: bool, backend: str) -> None:
    make, batch = PROGRAMS[name]
    run = stepper(make(backend=backend), batch, 4, weighted=weighted)
    run(2)  # the second step is traced
    assert peak(lambda: run(2)) < allowed()


def assert_nothing_large(runs: dict[str, Callable[[int], None]]) -> None:
    """All of them together, since to look for garbage takes longer than to train."""
    for run in runs.values():
        run(2)  # the second step lists what there is to do
    if peak(lambda: [run(1) for run in runs.values()]) >= allowed():
        found = {name: peak(lambda run=run: run(1)) for name, run in runs.items()}
        pytest.fail(f"bytes that a step allocates: {found}")


@on_the_host
def test_no_optimizer_allocates_anything_large(backend: str) -> None:
    runs = {}
    for name, arguments in registered.cases("optimizer"):
        optimizer = registered.make("optimizer", name, arguments)
        model = mlp([layers.Dense(256, activation="sigmoid")], optimizer, backend)
        runs[f"{name} {arguments}"] = stepper(model, 32, 4)
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
        rows = gpunn.feeding.data.to_rows(model.trainer.spec, x, y)
        runs[f"{name} {arguments}"] = model.trainer.training.program(64, rows, rows.order(1)).run
    assert_nothing_large(runs)


@on_the_host
@pytest.mark.parametrize("activation", ["linear", "softmax", "sigmoid"])
def test_no_loss_allocates_anything_large(activation: str, backend: str) -> None:
    """Rows of 600 outputs, so that anything of a batch's size shows."""
    random, runs = np.random.default_rng(0), {}
    x = random.standard_normal((128, 20)).astype(np.float32)
    y = np.zeros((128, 600), np.float32)
    y[:, 0] = 1
    for name, arguments in registered.cases("loss"):
        if name == "Poisson" and activation == "linear":  # its predictions are not negative
            continue
        model = gpunn.Sequential(
            [layers.Input((20,)), layers.Dense(600, activation=activation)], backend=backend
        )
        try:
            model.compile("sgd", registered.make("loss", name, arguments))
        except ValueError:  # loss and activation contradict each other
            continue
        spec = model.trainer.spec
        sparse = spec.targets[0].loss.sparse
        rows = gpunn.feeding.data.to_rows(spec, x, np.zeros(128, int) if sparse else y)
        runs[f"{name} {arguments}"] = model.trainer.training.program(32, rows, rows.order(1)).run
    assert len(runs) > 20
    assert_nothing_large(runs)


def test_the_measurement_sees_a_large_array() -> None:
    assert peak(lambda: np.empty(LARGEST, np.uint8)) >= LARGEST
    assert allowed() < 80 * 1024


# -- the slow path is not taken


class Forbidden:
    """Stands where ``backend.xp`` is: whoever touches it is refused."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"backend.xp.{name} is used by a step, outside its operations")


class Strict(NumpyBackend):
    """Has array functions for its operations alone.

    What these are made of, the formulas of activations, losses and optimizers, may use them: a
    card runs their functors instead.
    """

    inside = 0  # operations that are being performed
    watches = False

    @property
    def xp(self) -> Any:
        return Forbidden() if self.watches and not self.inside else super().xp


def performed(name: str) -> Callable[..., None]:
    perform = getattr(NumpyBackend, name)

    @wraps(perform)
    def noted(self: Strict, *args: Any, **kwargs: Any) -> None:
        self.inside += 1
        try:
            perform(self, *args, **kwargs)
        finally:
            self.inside -= 1

    return noted


for _name in NumpyBackend.operations:
    setattr(Strict, _name, performed(_name))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_built_in_layers_keep_off_the_slow_path(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Strict()
    chains = [
        registered.in_a_chain(registered.make("layer", name, arguments), 6)
        for name, arguments in registered.cases("layer", "InputLayer", "Flatten")
    ]
    for chain in chains:
        model = mlp([layers.Dense(6), *chain, layers.Dense(5)], optimizer, backend)
        run = stepper(model, 4, 4, weighted=True)
        monkeypatch.setattr(Strict, "watches", True)
        with model.backend.profile():  # operations, not what was traced
            run(3)
        monkeypatch.undo()


def test_what_takes_the_slow_path_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(layers.Layer):
        def forward(self, call: Any) -> None:
            call.backend.xp.negative(call.x, out=call.y)

        def backward(self, call: Any) -> None:
            call.backend.xp.negative(call.dy, out=call.dx)

    model = mlp([layers.Dense(6), Slow()], "sgd", Strict())
    run = stepper(model, 4, 4)
    monkeypatch.setattr(Strict, "watches", True)
    with pytest.raises(AssertionError, match=r"backend\.xp\.negative is used"):
        run(1)


@pytest.mark.parametrize("kind", ["activation", "loss", "optimizer"])
def test_every_formula_has_a_functor(kind: str) -> None:
    for name, arguments in registered.cases(kind):
        assert registered.make(kind, name, arguments).functor is not None, name


# -- what a step is made of


def operations_of_step(model: Any, batch: int, weighted: bool = False) -> list[Any]:
    run = stepper(model, batch, 4, weighted=weighted)
    run(1)
    with model.backend.profile() as operations:
        run(1)
    return operations


@on_the_host
def test_the_operations_of_program_2(backend: str) -> None:
    operations = operations_of_step(program_2(backend=backend), 32)
    assert [(operation.name, operation.formula) for operation in operations] == [
        ("gather", ""),  # images, scaled
        ("gather", ""),  # labels
        ("matmul", ""),
        ("bias_activation", "Relu"),
        ("dropout", ""),
        ("matmul", ""),
        ("bias_activation", "Linear"),
        ("loss", "SparseCategoricalCrossentropy"),
        ("matmul", ""),  # of the last layer: its kernel,
        ("column_sums", ""),  # its bias,
        ("matmul", ""),  # and its input
        ("dropout_gradient", ""),
        ("activation_gradient", "Relu"),
        ("matmul", ""),  # of the first layer: no input
        ("column_sums", ""),
        ("update", "Adam"),
        ("advance", ""),
    ]
    products = [operation for operation in operations if operation.name == "matmul"]
    assert [operation.flops for operation in products] == [
        2 * 32 * 784 * 128,
        2 * 32 * 128 * 10,
        2 * 32 * 128 * 10,
        2 * 32 * 128 * 10,
        2 * 32 * 784 * 128,
    ]


@on_the_host
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_number_of_operations_does_not_depend_on_the_batch(name: str, backend: str) -> None:
    make, _ = PROGRAMS[name]
    model = make(backend=backend)
    few = [operation.name for operation in operations_of_step(model, 2)]
    many = [operation.name for operation in operations_of_step(model, 257)]
    assert few == many
    assert Counter(few)["update"] == 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_loop_over_samples_runs_in_python(name: str) -> None:
    make, _ = PROGRAMS[name]
    counts = []
    for batch in (9, 13):  # a step of fewer rows, or for several threads, is put otherwise
        run = stepper(make(), batch, 4, weighted=True)
        run(1)
        run(1)
        counts.append(instructions(lambda run=run: run(1)))
    assert counts[0] == counts[1] > 100


def test_a_profile_ends_with_its_block() -> None:
    model = program_1()
    run = stepper(model, 4, 8)
    run(2)
    plain = instructions(lambda: run(1))
    with model.backend.profile() as operations:
        run(1)
    length = len(operations)
    assert length > 10
    assert instructions(lambda: run(1)) == plain
    assert len(operations) == length


# -- dtypes


def watched(backend: Any) -> list[tuple[int, str]]:
    """Size and dtype of every array that the backend makes from now on."""
    made: list[tuple[int, str]] = []

    def noting(make: Callable[..., Any]) -> Callable[..., Any]:
        def noted(shape: tuple[int, ...], dtype: Any) -> Any:
            array = make(shape, dtype)
            made.append((array.size, array.dtype.name))
            return array

        return noted

    backend.empty, backend.zeros = noting(backend.empty), noting(backend.zeros)
    return made


@on_the_host
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_keeps_its_dtype_all_the_way(
    dtype: str, weighted: bool, optimizer: str, backend: Any
) -> None:
    """Data come as float64, and so do weights: nothing of the other precision is left."""
    backend = type(get_backend(backend))()
    made = watched(backend)
    other = {"float32": "float64", "float64": "float32"}[dtype]
    model = gpunn.Sequential(
        [
            layers.Input((20,)),
            layers.Dense(30, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(30, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ],
        dtype=dtype,
        backend=backend,
    )
    metrics = ["accuracy", "sparse_categorical_crossentropy"]
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=metrics)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((50, 20)), random.integers(0, 10, 50)
    weights = random.uniform(size=50) if weighted else None
    model.fit(x, y, batch_size=16, epochs=2, sample_weight=weights, verbose=0)
    model.evaluate(x, y, sample_weight=weights, verbose=0)
    # Counters, what a batch's rows add to sums, and the random numbers of dropout are what
    # they are.
    allowed = 16 * 30 if other == "float32" else 50 * 3
    assert max((size for size, name in made if name == other), default=0) <= allowed
    assert {p.value.dtype.name for p in model.weights} == {dtype}
    assert {p.gradient.dtype.name for p in model.weights} == {dtype}
    assert {slot.dtype.name for slot in model.arena.slots.values()} <= {dtype}
    for call in model.trainer.last_batch.workspace.calls:
        assert call.y.dtype == dtype
        assert call.dx is None or call.dx.dtype == dtype
    assert model.predict(x, verbose=0).dtype == dtype
    assert model.layers[0](x).dtype == dtype
    assert model.activations(x)[model.layers[1].name].dtype == dtype


def test_float64_is_not_rounded_to_float32_on_the_way() -> None:
    """A difference that float32 cannot hold reaches the output, the loss and the weights."""
    kernel, tiny = np.array([[1.0 + 1e-12]]), 1e-12
    model = gpunn.Sequential([layers.Input((1,)), layers.Dense(1)], dtype="float64")
    model.compile(gpunn.optimizers.SGD(1.0), "half_squared_error")
    model.set_weights([kernel, np.zeros(1)])
    assert model.predict(np.array([[1.0]]), verbose=0).item() == 1.0 + tiny
    assert model.evaluate([[1.0]], [[1.0]], verbose=0) == pytest.approx(0.5 * tiny**2, rel=1e-3)
    model.train_on_batch(np.array([[1.0]]), np.array([[1.0 + 2 * tiny]]))
    assert model.get_weights()[0].item() == pytest.approx(1.0 + 2 * tiny, abs=1e-15)


def test_a_float32_step_makes_no_float64_array_of_the_datas_size() -> None:
    """float64 images, as x / 255.0 gives them: float32 once on the device, and no copy left."""
    x, y = digits(6000)
    scaled = x / 255.0
    model = mlp([layers.Dense(32)], "adam")

    def fit() -> None:
        model.fit(scaled, y, epochs=1, steps_per_epoch=2, verbose=0)

    fit()
    # The float32 data, and a piece on the way; the float64 data would be twice as much.
    assert peak(fit) < scaled.nbytes / 2 * 1.3


# -- nothing piles up


def growth(work: Callable[[], Any], warm: int, times: int) -> int:
    """Bytes in use after ``times`` runs of ``work`` beyond those after ``warm`` runs."""
    for _ in range(warm):
        work()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(warm):
            work()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(times):
            work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_predicting_in_a_loop_keeps_memory_flat() -> None:
    model = program_1()
    x, _ = digits(300)
    sizes = iter(range(1, 10_000))

    def work() -> None:
        model.predict(x[: 1 + next(sizes) % 300], verbose=0)
        model.predict_on_batch(x[:7])
        model(x[:3])

    assert growth(work, 300, 300) < 100_000


@on_the_host
def test_two_hundred_fits_keep_memory_flat(backend: str) -> None:
    model = program_1(backend=backend)
    x, y = digits(43)

    def work() -> None:
        model.fit(x, y, batch_size=10, epochs=1, verbose=0, validation_split=0.2)
        model.evaluate(x, y, verbose=0)

    assert growth(work, 5, 200) < 100_000


@on_the_host
def test_models_that_are_gone_leave_nothing(backend: str) -> None:
    x, y = digits(20)

    def work() -> None:
        program_1(backend=backend).fit(x, y, batch_size=10, verbose=0)

    assert growth(work, 5, 50) < 100_000


@pytest.mark.parametrize("method", ["train_on_batch", "predict_on_batch"])
def test_batches_of_ever_new_sizes_do_not_pile_up(method: str) -> None:
    """A stream of batches, each of another size: what the last few sizes need is kept."""
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

    def work(first: int, last: int) -> None:
        for n in range(first, last):
            getattr(model, method)(*[x[:n]] * (2 if method == "train_on_batch" else 1))

    work(180, 200)
    gc.collect()
    tracemalloc.start()
    try:
        work(190, 200)
        kept = tracemalloc.get_traced_memory()[0]
        work(20, 200)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < kept + 100_000
    finally:
        tracemalloc.stop()


def test_work_arrays_can_be_released() -> None:
    backend = get_backend("numpy")
    kept = weakref.ref(backend.scratch((3, 3), np.float32, "test"))
    backend.release()
    assert kept() is None
