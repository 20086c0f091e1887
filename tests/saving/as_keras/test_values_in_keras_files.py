"""What Keras's files hold besides plain weights, both ways; and what is refused, whatever it
claims."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.common.config import set_floatx
from gpunn.saving import load_model
from gpunn.saving.keras_format import graphs
from gpunn.utils import FeatureSpace

h5py = pytest.importorskip("h5py")
Change = Callable[[bytes], bytes]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def normalized(module: Any, **given: Any) -> Any:
    layer = module.layers.Normalization(**given)
    if not given.get("mean"):
        layer.adapt(rows(20, 3) * 3 + 1)
    return module.Sequential([module.Input((3,)), layer, module.layers.Dense(2)])


def attending(module: Any) -> Any:
    query, value = module.Input((4, 3)), module.Input((5, 3))
    y = module.layers.Attention(use_scale=True)([query, value])
    return module.Model([query, value], module.layers.Dense(2)(y))


def enlarged(module: Any, **options: Any) -> Any:
    up = module.layers.UpSampling2D((2, 3), **options)
    return module.Sequential([module.Input((3, 4, 2)), module.layers.Conv2D(2, 2), up])


def in_steps(module: Any) -> Any:
    layers = module.layers
    chain = module.Sequential([module.Input((3,)), layers.Dense(4, "tanh"),
                               layers.BatchNormalization()])  # fmt: skip
    start = module.Input((4,))
    graph = module.Model(start, layers.Add()([layers.Dense(4)(start), start]))
    return module.Sequential([
        module.Input((3, 3)), layers.TimeDistributed(chain), layers.TimeDistributed(graph),
        layers.Dense(2),
    ])  # fmt: skip


def plain(module: Any) -> Any:
    return module.Sequential([module.Input((3,)), module.layers.Dense(2)])


N = rows(8, 3, seed=1)
CASES: dict[str, tuple[Callable[[Any], Any], str, Any]] = {
    "Normalization, adapted": (normalized, "adam", N),
    "Normalization, given": (
        lambda m: normalized(m, mean=[0.0, 1.0, 2.0], variance=[1.0, 2.0, 4.0]), "sgd", N,
    ),
    "Normalization of all": (lambda m: normalized(m, axis=None), "sgd", N),
    "a scalar beside Adam": (attending, "adam", [rows(8, 4, 3), rows(8, 5, 3)]),
    "a scalar beside RMSprop": (attending, "rmsprop", [rows(8, 4, 3), rows(8, 5, 3)]),
    "bilinear": (lambda m: enlarged(m, interpolation="bilinear"), "sgd", rows(8, 3, 4, 2)),
    "bicubic": (lambda m: enlarged(m, interpolation="bicubic"), "sgd", rows(8, 3, 4, 2)),
    "models in steps": (in_steps, "adam", rows(8, 3, 3)),
    "Nadam": (plain, "nadam", N),
}  # fmt: skip


RARE = {
    "Normalization, given", "Normalization of all", "bicubic", "a scalar beside RMSprop", "Nadam",
    "bilinear-ours", "models in steps-ours",
}  # fmt: skip


@pytest.mark.parametrize(("case", "first"), [
    pytest.param(case, first, marks=[pytest.mark.more] if {case, f"{case}-{first}"} & RARE else [])
    for case in CASES for first in ("ours", "theirs")
])  # fmt: skip
def test_training_goes_on_in_both(case: str, first: str, tmp_path: Path, keras: Any) -> None:
    build, optimizer, x = CASES[case]
    maker, other = (gpunn, keras) if first == "ours" else (keras, gpunn)
    gpunn.utils.set_random_seed(3)
    keras.utils.set_random_seed(3)
    model = build(maker)
    model.compile(optimizer, "mse")
    y = np.zeros_like(np.asarray(model.predict(x, verbose=0))) + 0.5
    fit = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(x, y, **fit)
    model.save(tmp_path / "m.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        read = [module.saving.load_model(tmp_path / "m.keras") for module in (other, maker)]
    for again in read:
        again.fit(x, y, epochs=2, **fit)
    model.fit(x, y, epochs=2, **fit)
    for again in read:
        for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_an_adapted_feature_space_goes_to_keras(tmp_path: Path, keras: Any) -> None:
    table = {"age": [20.0, 40.0, 60.0], "size": [1.0, 5.0, 2.0]}
    space = FeatureSpace({"age": "float_normalized", "size": "float_rescaled"})
    space.adapt(table)
    model = gpunn.Model(space.get_inputs(), gpunn.layers.Dense(2)(space.get_encoded_features()))
    model.save(tmp_path / "m.keras")
    x = {name: np.array(column, "float32")[:, None] for name, column in table.items()}
    expected = model.predict(x, verbose=0)
    for module in (gpunn, keras):
        found = module.saving.load_model(tmp_path / "m.keras").predict(x, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture
def double() -> Iterator[None]:
    set_floatx("float64")
    yield
    set_floatx("float32")


@contextmanager
def single() -> Iterator[None]:
    set_floatx("float32")
    yield
    set_floatx("float64")


def test_a_model_of_float64_stays_one(tmp_path: Path, keras: Any, double: None) -> None:
    x = gpunn.Input((3,), name="x")
    inner = gpunn.Sequential([gpunn.Input((4,)), gpunn.layers.Dense(4, "tanh")])
    model = gpunn.Model(x, inner(gpunn.layers.Dense(4)(x)) * 0.5)
    model.compile("adam", "mse")
    model.fit(N, np.zeros((8, 4)), verbose=0)
    model.save(tmp_path / "m.keras")
    expected = model.predict(N.astype("float64"), verbose=0)
    with single():
        for module in (gpunn, keras):
            again = module.saving.load_model(tmp_path / "m.keras")
            for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
                assert np.asarray(a).dtype == np.float64
                np.testing.assert_array_equal(a, b)
            found = np.asarray(again.predict(N.astype("float64"), verbose=0))
            # Keras computes inner models in its default dtype.
            tolerance = 1e-12 if module is gpunn else 1e-6
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


# -- what is refused


def trained(path: Path, optimizer: str = "adam") -> Any:
    model = plain(gpunn)
    model.compile(optimizer, "mse")
    model.fit(N, np.zeros((8, 2)), verbose=0)
    model.save(path)
    return model


def change_members(path: Path, changes: dict[str, Change], twice: str = "") -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, changes.get(name, bytes)(data))
        if twice:
            archive.writestr(twice, members[twice])


def in_weights(change: Callable[[Any], None]) -> Change:
    def of(data: bytes) -> bytes:
        buffer = io.BytesIO(data)
        with h5py.File(buffer, "r+") as file:
            change(file)
        return buffer.getvalue()

    return of


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_states_of_the_optimizer_that_are_not_finite(value: float, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    trained(path)

    def spoil(file: Any) -> None:
        file["optimizer/vars/2"][0, 0] = value

    change_members(path, {"model.weights.h5": in_weights(spoil)})
    with pytest.raises(ValueError, match=r"m\.keras: .*'optimizer/vars/2' holds NaN or infinity"):
        load_model(path)
    load_model(path, compile=False)
    state = load_model(path, allow_nan=True).training_state()[0]
    assert not all(np.isfinite(array).all() for array in state.values())


@pytest.mark.parametrize("ending", [".keras", ".weights.h5", ".gpunn"])
def test_numbers_beyond_float32(ending: str, tmp_path: Path, double: None) -> None:
    path = tmp_path / f"m{ending}"
    large = plain(gpunn)
    large.set_weights([np.full((3, 2), 1e300), np.zeros(2)])
    large.save_weights(path) if ending != ".keras" else large.save(path)
    with single():
        model = plain(gpunn)
        kept = model.get_weights()
        for attempt in (
            lambda: model.load_weights(path), lambda: model.set_weights(large.get_weights()),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r"kernel holds 1e\+300, beyond the range of "):
                attempt()
            assert all(map(np.array_equal, model.get_weights(), kept))
        model.set_weights([np.full((3, 2), np.inf), np.zeros(2)])  # as it is given


def test_an_array_of_the_optimizer_that_claims_a_shape(tmp_path: Path, peak: Any) -> None:
    path = tmp_path / "m.keras"
    for place in ("0", "1", "2"):
        trained(path)

        def claim(file: Any, place: str = f"optimizer/vars/{place}") -> None:
            dtype = file[place].dtype
            del file[place]
            file.create_dataset(place, (10**9,), dtype, chunks=(10**6,), compression="gzip")

        change_members(path, {"model.weights.h5": in_weights(claim)})
        found = []

        def load(found: list[Any] = found) -> None:
            with pytest.warns(UserWarning, match="the optimizer begins anew"):
                found.append(load_model(path))

        assert peak(load) < 20e6
        assert found[0].optimizer.iterations == 0


def test_graphs_in_any_order_take_as_many_steps(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    x = inputs = gpunn.Input((2,))
    for k in range(14):
        x = gpunn.layers.Add(name=f"add{k}")([x, inputs])
    model = gpunn.Model(inputs, x)
    model.save(path)

    reader = os.path.dirname(graphs.__file__)

    def calls() -> int:
        count = 0

        def note(frame: Any, event: str, _: Any) -> None:
            nonlocal count
            count += event == "call" and os.path.dirname(frame.f_code.co_filename) == reader

        sys.setprofile(note)
        try:
            again = load_model(path)
        finally:
            sys.setprofile(None)
        assert np.asarray(again(np.ones((1, 2)))).tolist() == [[15.0, 15.0]]
        return count

    def backwards(data: bytes) -> bytes:
        document = json.loads(data)
        document["config"]["layers"].reverse()
        return json.dumps(document).encode()

    forwards = calls()
    change_members(path, {"config.json": backwards})
    assert calls() < 1.2 * forwards


def test_graphs_that_lack_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    x = inputs = gpunn.Input((2,))
    for k in range(3):
        x = gpunn.layers.Dense(2, name=f"d{k}")(x)
    for what, change in {
        "'d2' reads tensors that are missing": lambda found: found.pop(2),
        "two layers named 'd1'": lambda found: found.append(found[2]),
    }.items():
        gpunn.Model(inputs, x).save(path)

        def changed(data: bytes, change: Any = change) -> bytes:
            document = json.loads(data)
            change(document["config"]["layers"])
            return json.dumps(document).encode()

        change_members(path, {"config.json": changed})
        with pytest.raises(ValueError, match=rf"m\.keras: .*{what}"):
            load_model(path)


def test_layers_that_the_model_lacks_are_named(tmp_path: Path) -> None:
    def chain(count: int) -> Any:
        return gpunn.Sequential([gpunn.Input((3,)), *(gpunn.layers.Dense(3) for _ in range(count))])

    large, small = chain(4), chain(2)
    large.save_weights(tmp_path / "m.weights.h5")
    with pytest.warns(UserWarning, match=r"2 layers that the model lacks, 'layers/dense_2'"):
        small.load_weights(tmp_path / "m.weights.h5")
    assert all(map(np.array_equal, small.get_weights(), large.get_weights()[:4]))


def test_what_has_no_weights_is_no_surplus(tmp_path: Path, keras: Any) -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.Dropout(0.5)])
    model.save_weights(tmp_path / "m.weights.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain(gpunn).load_weights(tmp_path / "m.weights.h5")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_are_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    model = trained(path)
    change_members(path, {}, twice="model.weights.h5")
    for attempt in (load_model, model.load_weights):
        with pytest.raises(ValueError, match=r"m\.keras: .*more than one member 'model\.weights"):
            attempt(path)
