"""The package's own `dataclass` makes what Python's makes, of the same class."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from typing import Any

import pytest

from gpunn.common.importing import light_dataclass

MAKERS = {"python": dataclasses.dataclass, "light": light_dataclass.dataclass}


def made(maker: str, **options: bool) -> Any:
    class Row:
        """A row."""

        name: str
        size: int = 2
        parts: list[int] = dataclasses.field(default_factory=list, compare=False)
        note: str = dataclasses.field(default="", repr=False)
        first: dataclasses.InitVar[int] = 0

        def __post_init__(self, first: int) -> None:
            self.parts.append(first)

    return MAKERS[maker](Row, **options)


@pytest.mark.parametrize(
    "options", [{}, {"frozen": True}, {"eq": False}, {"frozen": True, "eq": False}], ids=str
)
def test_objects_behave_as_of_a_dataclass(options: dict[str, bool]) -> None:
    def seen(maker: str) -> list[Any]:
        cls = made(maker, **options)
        one, same, other = cls("a", first=1), cls("a", first=2), cls("b", 3, note="x")
        shown = str(inspect.signature(cls)).partition(" ->")[0]
        found: list[Any] = [shown, repr(one), repr(other)]
        found += [one == same, one == other, one == ("a", 2)]
        found += [dataclasses.replace(other, size=4, first=5).parts, copy.deepcopy(one).parts]
        for act in (
            lambda: hash(one) == hash(same), lambda: setattr(one, "size", 5),
            lambda: setattr(one, "new", 5), lambda: delattr(one, "name"), lambda: cls(),
            lambda: cls("a", 1, [], "", 0, 7),
        ):  # fmt: skip
            try:
                found.append(act())
            except (TypeError, AttributeError) as error:
                found.append((type(error), str(error)))
        return found

    assert seen("light") == seen("python")


def test_methods_of_the_class_stay() -> None:
    @light_dataclass.dataclass(frozen=True)
    class Named:
        name: str

        def __repr__(self) -> str:
            return "mine"

        def __eq__(self, other: object) -> bool:
            return True

    assert repr(Named("a")) == "mine" and Named("a") == Named("b")


def test_parts_of_the_package_are_pickled() -> None:
    from gpunn.common.nested import TreeDef

    one = TreeDef(dict, ("a", "b"))
    again = pickle.loads(pickle.dumps(one))
    assert again == one and hash(again) == hash(one)
    with pytest.raises(dataclasses.FrozenInstanceError):
        again.keys = ()


@pytest.mark.parametrize("before", [True, False])
def test_an_import_leaves_the_collector_as_it_was(before: bool) -> None:
    set_it = "enable" if before else "disable"
    script = f"import gc; gc.{set_it}(); import gpunn; print(gc.isenabled())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == f"{before}\n", done.stderr
