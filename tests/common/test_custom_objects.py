"""Test that ``custom_objects`` apply only to their own call: no other thread, no later call."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from interrupting import interrupt, places

import gpunn
from gpunn import layers
from gpunn.common import registry
from gpunn.saving import files


def renamed(path: Path, name: str) -> Path:
    """A saved model of two Dense layers, stored under another class name."""
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(2), layers.Dense(2)])
    model.save(path)
    document = files.read(path)
    for entry in document["config"]["layers"]:
        if entry["class_name"] == "Dense":
            entry["class_name"] = name
    files.write(path, document)
    return path


def test_two_threads_load_with_different_classes_of_one_name(tmp_path: Path) -> None:
    path = renamed(tmp_path / "m", "Thick")
    both = threading.Barrier(2, timeout=20)

    def variant() -> type:
        class Thick(layers.Dense):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                both.wait()  # each looks up its second layer before the other is done

        return Thick

    classes = [variant(), variant()]

    def load(cls: type) -> list[type]:
        model = gpunn.saving.load_model(path, custom_objects={"Thick": cls})
        return [type(layer) for layer in model.layers if isinstance(layer, layers.Dense)]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(load, classes))
    assert found == [[cls, cls] for cls in classes]
    with pytest.raises(ValueError, match="Unknown layer: 'Thick'"):
        gpunn.saving.load_model(path)


def test_what_is_registered_meanwhile_stays(tmp_path: Path) -> None:
    path = renamed(tmp_path / "m", "Slow")

    class Slow(layers.Dense):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if "meanwhile>Fast" not in registry.entries("layer"):
                fast = type("Fast", (layers.Dense,), {})
                gpunn.saving.register_serializable("meanwhile")(fast)

    gpunn.saving.load_model(path, custom_objects={"Slow": Slow})
    assert registry.lookup("layer", "Fast").__name__ == "Fast"


def test_classes_of_a_call_within_a_call_come_first() -> None:
    first, second, other = (type("Thick", (layers.Dense,), {}) for _ in range(3))

    def inner() -> list[type]:
        return [registry.lookup("layer", name) for name in ("Thick", "Other", "Dense")]

    def outer() -> tuple[list[type], type]:
        return registry.also({"Thick": second}, inner), registry.lookup("layer", "Thick")

    found = registry.also({"Thick": first, "Other": other}, outer)
    assert found == ([second, other, layers.Dense], first)


def test_a_custom_class_is_known_where_it_is_stored() -> None:
    thick = type("Thick", (layers.Dense,), {})
    stored = registry.also({"Thick": thick}, lambda: registry.serialize(thick(2)))
    assert stored is not None and stored["class_name"] == "Thick"
    stored = registry.serialize(thick(2))
    assert stored is not None and stored["class_name"] == "Custom>Thick"


@pytest.mark.parametrize("when", ["line", "return"])
def test_an_interrupt_at_any_line_leaves_the_tables_as_they_were(tmp_path: Path, when: str) -> None:
    path = renamed(tmp_path / "m", "Thick")
    thick = type("Thick", (layers.Dense,), {})

    def work() -> Any:
        return gpunn.saving.load_model(path, custom_objects={"Thick": thick})

    before = {kind: registry.entries(kind) for kind in ("layer", "model", "loss", "optimizer")}
    for place in places(work, {registry.__file__}, (when,)):
        interrupt(work, place)
        assert {kind: registry.entries(kind) for kind in before} == before, place
        with pytest.raises(ValueError, match="Unknown layer: 'Thick'"):
            registry.lookup("layer", "Thick")


def kinds_with_options() -> dict[str, Any]:
    """Classes that pass what they do not know themselves to their base, as Keras's guides do."""

    class Scaled(gpunn.losses.Loss):
        def __init__(self, scale: float, **options: Any) -> None:
            super().__init__(**options)
            self.scale = scale

        def call(self, y_true: Any, y_pred: Any) -> Any:
            return self.scale * gpunn.ops.mean((y_true - y_pred) ** 2, -1)

    class Counted(gpunn.metrics.Metric):
        def __init__(self, scale: float, **options: Any) -> None:
            super().__init__(**options)
            self.scale = scale

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            pass

        def result(self) -> Any:
            return self.scale

    class Slower(gpunn.optimizers.SGD):
        def __init__(self, scale: float, **options: Any) -> None:
            super().__init__(**options)
            self.scale = scale

    class Times(layers.Layer):
        def __init__(self, scale: float, **options: Any) -> None:
            super().__init__(**options)
            self.scale = scale

        def call(self, x: Any) -> Any:
            return self.scale * x

    class Thick(layers.Dense):
        def __init__(self, *args: Any, scale: float, **options: Any) -> None:
            super().__init__(*args, **options)
            self.scale = scale

    class Slowest(Slower):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)

    class Net(gpunn.Model):
        def __init__(self, scale: float, **options: Any) -> None:
            super().__init__(**options)
            self.scale = scale

        def call(self, x: Any, training: bool | None = None) -> Any:
            return self.scale * x

    class Deeper(Net):
        def __init__(self, depth: int = 1, **options: Any) -> None:
            super().__init__(**options)
            self.depth = depth

    return {
        "model": Deeper,
        "loss": Scaled, "metric": Counted, "optimizer": Slower, "layer": Times, "dense": Thick,
        "optimizer of its own": Slowest,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("loss", {"reduction": "sum", "name": "far"}),
        ("metric", {"name": "far"}),
        ("optimizer", {"learning_rate": 0.25, "momentum": 0.5}),
        ("optimizer of its own", {"learning_rate": 0.25, "momentum": 0.5}),
        ("layer", {"name": "far", "trainable": False}),
        ("dense", {"units": 3, "use_bias": False}),
        ("model", {"depth": 3, "name": "far", "dtype": "float64"}),
    ],
)
def test_options_of_the_base_are_part_of_the_configuration(
    kind: str, options: dict[str, Any]
) -> None:
    cls = kinds_with_options()[kind]
    config = cls(scale=2.0, **options).get_config()
    assert {"scale": 2.0, **options}.items() <= config.items()
    assert cls.from_config(config).get_config() == config
