"""Test user-defined batches by index: Keras's PyDataset."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import gpunn

RANDOM = np.random.default_rng(3)
PAIRS = [(RANDOM.random((4, 6)), RANDOM.integers(0, 3, 4)) for _ in range(5)]


def model_of() -> Any:
    gpunn.utils.set_random_seed(11)
    model = gpunn.Sequential([gpunn.layers.Input((6,)), gpunn.layers.Dense(3)], backend="numpy")
    model.compile("sgd", gpunn.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


class Numbered(gpunn.utils.PyDataset):
    """A dataset as in Keras's guides; records which batches were requested."""

    def __init__(self, pairs: list[Any], **options: Any) -> None:
        super().__init__(**options)
        self.pairs = pairs
        self.asked: list[int] = []
        self.hooks: list[str] = []

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        return self.pairs[index]

    def on_epoch_begin(self) -> None:
        self.hooks.append("begin")

    def on_epoch_end(self) -> None:
        self.hooks.append("end")


def test_numbered_batches_come_in_another_order_each_epoch_unless_shuffle_is_false() -> None:
    data = Numbered(PAIRS, workers=2, use_multiprocessing=True)
    count = len(data)
    model_of().fit(data, epochs=3, verbose=0)
    asked, rounds = data.asked[-3 * count :], [*range(count)]
    orders = [asked[at : at + count] for at in range(0, 3 * count, count)]
    assert all(sorted(order) == rounds for order in orders)
    assert len({*map(tuple, orders)}) == 3
    assert data.hooks == ["begin", "end"] * 3
    again = Numbered(PAIRS)
    model_of().fit(again, epochs=3, verbose=0)
    assert again.asked == data.asked
    data.asked.clear()
    model_of().fit(data, epochs=2, shuffle=False, verbose=0)
    assert data.asked[-2 * count :] == rounds * 2
    data.asked.clear()
    model_of().evaluate(data, verbose=0)
    assert data.asked[-count:] == rounds


def test_numbered_batches_without_end() -> None:
    class Endless(Numbered):
        num_batches = None  # type: ignore[assignment]

        def __len__(self) -> int:
            raise TypeError

        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index % len(self.pairs))

    data = Endless(PAIRS)
    with pytest.raises(ValueError, match="endlessly: pass steps_per_epoch"):
        model_of().fit(data, verbose=0)
    data.asked.clear()
    model_of().fit(data, steps_per_epoch=12, verbose=0)
    assert data.asked[-12:] == [number % len(data.pairs) for number in range(12)]


def test_what_a_numbered_data_set_must_define() -> None:
    class Half(gpunn.utils.Sequence):
        def __getitem__(self, index: int) -> Any:
            return PAIRS[0]

    with pytest.raises(TypeError, match=r"Half must define __len__\(self\)"):
        model_of().fit(Half(), verbose=0)
    with pytest.raises(TypeError, match=r"PyDataset must define __getitem__"):
        gpunn.utils.PyDataset()[0]
    with pytest.raises(ValueError, match="workers must be"):
        gpunn.utils.PyDataset(workers=-1)


# -- which batches an epoch has, compared with Keras


def watched(module: Any, endless: bool = False) -> Any:
    """Five batches (x, y) of two rows; every value is the batch's number."""

    class Watched(module.utils.PyDataset):  # type: ignore[misc]
        seen: list[Any]

        def __init__(self) -> None:
            super().__init__()
            self.seen = []

        if endless:
            num_batches = None
        else:

            def __len__(self) -> int:
                return 5

        def __getitem__(self, number: int) -> Any:
            self.seen.append(number)
            return np.full((2, 3), number, "float32"), np.full((2, 1), number, "float32")

        def on_epoch_begin(self) -> None:
            self.seen.append("begin")

        def on_epoch_end(self) -> None:
            self.seen.append("end")

    return Watched()


def constant(module: Any) -> Any:
    """A model whose outputs stay 0: the loss of a batch is its number squared."""
    dense = module.layers.Dense(1, kernel_initializer="zeros")
    model = module.Sequential([module.Input((3,)), dense])
    model.compile(module.optimizers.SGD(0.0), "mse")
    return model


@pytest.mark.filterwarnings("ignore")  # the data run out
@pytest.mark.parametrize(
    ("steps", "endless"), [*product([2, 3, 5, 7], [False, True]), (None, False)]
)
def test_an_epoch_has_the_batches_that_it_has_with_keras(
    keras: Any, steps: int | None, endless: bool
) -> None:
    found = []
    for module in (keras, gpunn):
        data = watched(module, endless)
        history = constant(module).fit(
            data, epochs=4, steps_per_epoch=steps, shuffle=False, verbose=0
        )
        # Before the first epoch, the first batch is inspected.
        begins = max(n for n in range(5) if data.seen[n] == "begin")
        found.append((data.seen[begins:], history.history["loss"]))
    assert found[1][0] == found[0][0]
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-6)


@pytest.mark.filterwarnings("ignore")  # the data run out
@pytest.mark.parametrize(("steps", "endless"), [*product([2, 3, 7], [False, True]), (None, False)])
def test_validation_restarts_each_epoch(keras: Any, steps: int | None, endless: bool) -> None:
    x, y = np.ones((6, 3), "float32"), np.ones((6, 1), "float32")
    losses = []
    for module in (keras, gpunn):
        history = constant(module).fit(
            x, y, epochs=3, verbose=0, validation_data=watched(module, endless),
            validation_steps=steps,
        )  # fmt: skip
        losses.append(history.history["val_loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    assert len(set(losses[1])) == 1


def numbers(count: int, into: np.ndarray | None = None) -> Any:
    """A generator of such batches, optionally all in one array."""
    for number in range(count):
        x = np.empty((2, 3), "float32") if into is None else into
        x[...] = number
        yield x, x[:, :1]


@pytest.mark.filterwarnings("ignore")  # the data run out
@pytest.mark.parametrize("into", [None, np.zeros((2, 3), "float32")])
@pytest.mark.parametrize(("count", "steps"), [(50, 3), (50, 1), (3, 3), (2, 3)])
def test_validation_on_a_generator_has_the_same_batches_each_epoch(
    keras: Any, count: int, steps: int, into: Any
) -> None:
    """Keras reads the first two of them each epoch, and then continues after those it had read."""
    x, y = np.ones((6, 3), "float32"), np.ones((6, 1), "float32")
    expected = np.mean([float(n * n) for n in range(min(count, steps))])

    def losses(module: Any) -> list[float]:
        history = constant(module).fit(
            x, y, epochs=3, verbose=0, validation_data=numbers(count, into),
            validation_steps=steps,
        )  # fmt: skip
        return history.history["val_loss"]

    np.testing.assert_allclose(losses(gpunn), [expected] * 3, rtol=1e-6)
    if (count, steps) == (50, 3) and into is None:
        np.testing.assert_allclose(losses(keras), [5 / 3, 10 / 3, 17 / 3], rtol=1e-6)


def test_an_evaluation_of_a_generator_goes_on_where_the_last_one_stopped() -> None:
    data, model = numbers(6), constant(gpunn)
    found = [model.evaluate(data, steps=2, verbose=0) for _ in range(3)]
    np.testing.assert_allclose(found, [0.5, 6.5, 20.5], rtol=1e-6)


def test_data_that_have_become_fewer_are_refused(tmp_path: Any) -> None:
    """A resumed run skips the batches it has read; here there are no longer enough."""

    def run(batches: int, epochs: int) -> None:
        backup = gpunn.callbacks.BackupAndRestore(tmp_path, 1, delete_checkpoint=False)
        constant(gpunn).fit(
            numbers(batches), epochs=epochs, steps_per_epoch=3, verbose=0, callbacks=[backup]
        )

    run(6, 2)
    with pytest.raises(ValueError, match="has 4 batches; the resumed run had read 6"):
        run(4, 3)
