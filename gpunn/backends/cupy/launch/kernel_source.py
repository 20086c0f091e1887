"""The parts of kernels and the formulas that there are, read from the CUDA text in ``kernels/``.

A part is a function with a mark (see ``kernels/README.md``). What is read is its signature, and
for its template parameters every type or formula that it can be compiled for. A formula is a
``struct Name : Kind`` in a header: it is listed nowhere else.

Texts that are composed while the program runs (`expressions`) can be added to these.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from gpunn.common.source_root import source_root

OPTIONS = ("-std=c++17",)
"""Compiler options of every kernel: no fast mathematics, no flushing of small numbers."""

_FLOATS = ("float", "double")
_SOURCES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", *_FLOATS,
)  # fmt: skip
_TYPES = {
    "T": _FLOATS, "Source": _SOURCES, "Out": (*_FLOATS, "int32"),
    "Held": (*_FLOATS, "int32", "bool"),
}  # fmt: skip

_COMMENT = re.compile(r"//[^\n]*")
_INCLUDE = re.compile(r'^#include "(?:\.\./formulas/)?(\w+\.cuh)"$', re.MULTILINE)
_PREPROCESSED = re.compile(rf"{_INCLUDE.pattern}|^#pragma once$", re.MULTILINE)
FORMULA = re.compile(r"^(?:template <typename T> )?struct (\w+) : (\w+) \{", re.MULTILINE)
_ENUMERATION = re.compile(r"^    enum \{ ([^}]*) \};", re.MULTILINE)
_PART = re.compile(
    r"(?:template\s*<((?:[^<>]|<[^<>]*>)*)>\s*)?(ELEMENT|ROW|BLOCK|LAST)_PART\s+void\s+(\w+)\s*"
    r"\(ThreadGroup threads,([^)]*)\)"
)
_PARAMETER = re.compile(r"(?:(ROW_SLICED|GRID_STRIDED) )?(const )?(\w+)(\*?) (\w+)")


def type_name(dtype: Any) -> str:
    """The name in the kernels of a NumPy dtype.

    >>> type_name(np.float32), type_name("int64")
    ('float', 'int64')
    """
    name = np.dtype(dtype).name
    return {"float32": "float", "float64": "double"}.get(name, name)


@dataclass(frozen=True)
class KernelParameter:
    """One parameter of a part, or of a kernel.

    Attributes:
        type: of what it is or points to, maybe a template's.
        pointer, constant: whether it is a pointer, and one that nothing is written through.
        division: how threads divide the array, ``ROW_SLICED`` or ``GRID_STRIDED``; "" if they do
            not, see ``threads.cuh``.
        name: as in the text.
    """

    type: str
    pointer: bool
    constant: bool
    division: str
    name: str

    @property
    def bytes(self) -> int:
        """How many it takes, and a multiple of how many it is aligned to."""
        return 8 if self.pointer else dtype_named(self.type).itemsize


@dataclass(frozen=True)
class KernelPart:
    """One function that kernels are composed of.

    Attributes:
        name: its name in C++.
        file: the ``.cu`` file it stands in.
        mark: which threads must do it together, ``ELEMENT``, ``ROW``, ``BLOCK`` or ``LAST``.
        template: names of its template parameters: ``T``, ``Source``, ``Out``, ``Held`` or a kind
            of formula.
        parameters: its parameters, in order, without the group of threads.
    """

    name: str
    file: str
    mark: str
    template: tuple[str, ...]
    parameters: tuple[KernelParameter, ...]

    def entry(self, *choices: str) -> str:
        """The C++ name of one instantiation.

        >>> parts()["bias_activation"].entry("float", "Relu")
        'bias_activation<float, Relu>'
        """
        for kind, choice in zip(self.template, choices, strict=True):
            if choice not in options(kind):
                close = difflib.get_close_matches(choice, options(kind), 1)
                hint = f", did you mean {close[0]!r}?" if close else ""
                raise ValueError(f"{self.name}: the kernels have no {kind} {choice!r}{hint}")
        return f"{self.name}<{', '.join(choices)}>" if choices else self.name

    def every_choice(self) -> tuple[tuple[str, ...], ...]:
        """What its template parameters can be, for each instantiation."""
        return tuple(product(*(options(kind) for kind in self.template)))

    def type_of(self, parameter: KernelParameter, choices: Sequence[str]) -> str:
        """The type of a parameter in one instantiation."""
        return dict(zip(self.template, choices, strict=True)).get(parameter.type, parameter.type)

    def choices(self, values: Mapping[str, Any], functor: str | None) -> tuple[str, ...]:
        """The template arguments for these values: the types of its arrays, and a formula.

        ``T`` is ``values["dtype"]`` where no array says it.

        >>> parts()["affine"].choices({"x": np.zeros(3, "uint8"), "out": np.zeros(3)}, None)
        ('uint8', 'double')
        """
        types = {
            p.type: type_name(values[p.name].dtype)
            for p in reversed(self.parameters)
            if p.pointer and p.type in _TYPES and values.get(p.name) is not None
        }
        if "dtype" in values:
            types.setdefault("T", type_name(values["dtype"]))
        return tuple(types.get(kind) or str(functor) for kind in self.template)

    def arguments(self, choices: Sequence[str], values: Sequence[Any]) -> list[Any]:
        """``values`` as this instantiation takes them: arrays, null, or NumPy scalars.

        Raises TypeError for an array of another dtype or one that is not contiguous: on a
        card both would be read wrongly and in silence.
        """
        if len(values) != len(self.parameters):
            raise TypeError(
                f"{self.name} takes {len(self.parameters)} arguments, not {len(values)}"
            )
        return [
            _argument(self.name, p, self.type_of(p, choices), value)
            for p, value in zip(self.parameters, values, strict=True)
        ]


NULL = np.uintp(0)
_MASK64 = (1 << 64) - 1  # a seed below 0 counts from 2^64 down


def _argument(part: str, parameter: KernelParameter, type_: str, value: Any) -> Any:
    if not parameter.pointer:
        return dtype_named(type_).type(int(value) & _MASK64 if type_ == "uint64" else value)
    if value is None:
        return NULL
    if type_name(value.dtype) != type_:
        raise TypeError(f"{part}: {parameter.name} is {value.dtype}, not {dtype_named(type_)}")
    if not value.flags.c_contiguous:
        raise TypeError(f"{part}: {parameter.name} is not C-contiguous")
    return value


def dtype_named(name: str) -> np.dtype:
    """The NumPy dtype of a name in the kernels."""
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))


def options(kind: str) -> tuple[str, ...]:
    """What a template parameter of this name can be: types, or formulas of a kind."""
    return _TYPES[kind] if kind in _TYPES else formulas()[kind]


_added: dict[str, str] = {}  # texts by the names of their files
_added_parts: dict[str, KernelPart] = {}


def add(file: str, text: str) -> None:
    """Add a file of parts to those in ``kernels/``. Its name stands for its text: it cannot
    become another one."""
    if _added.setdefault(file, text) != text:
        raise ValueError(f"There is another text under the name {file}.")
    _added_parts.update((part.name, part) for part in _parts_in(file))


def added(files: Iterable[str]) -> dict[str, str]:
    """The texts of those of the files that were added, by name."""
    return {file: _added[file] for file in files if file in _added}


@cache
def text(file: str) -> str:
    """The text of one file: as it stands in ``kernels/formulas`` or ``kernels/cuda``, or as it
    was added."""
    if file in _added:
        return _added[file]
    folder = "cuda" if (source_root("kernels") / "cuda" / file).is_file() else "formulas"
    return (source_root("kernels") / folder / file).read_text(encoding="utf-8")


@cache
def files(suffix: str) -> tuple[str, ...]:
    """Names of the files in ``kernels/formulas`` and ``kernels/cuda`` that end in ``suffix``."""
    folders = (source_root("kernels") / name for name in ("formulas", "cuda"))
    return tuple(sorted(f.name for folder in folders for f in folder.glob(f"*{suffix}")))


@cache
def source(*files: str) -> str:
    """The text of ``.cu`` files with each header they need in front of them, once.

    This is what the compiler gets: it needs no header of its own, and no search path.
    """
    seen: set[str] = set()

    def resolved(name: str) -> str:
        parts = []
        for header in _INCLUDE.findall(text(name)):
            if header not in seen:
                seen.add(header)
                parts.append(resolved(header))
        body = _PREPROCESSED.sub("", text(name))
        return "".join(parts) + f'#line 1 "{name}"\n{body}'

    return "".join(resolved(file) for file in files)


@cache
def formulas() -> dict[str, tuple[str, ...]]:
    """Names of the formulas in the headers, by kind ("Activation", "Loss", ...)."""
    found: dict[str, list[str]] = {}
    for file in files(".cuh"):
        for name, kind in FORMULA.findall(text(file)):
            found.setdefault(kind, []).append(name)
    return {kind: tuple(names) for kind, names in found.items()}


@cache
def parameter_names() -> dict[str, tuple[str, ...]]:
    """What each formula calls the numbers that it is given, if it is given some.

    >>> parameter_names()["RMSprop"]
    ('rho', 'momentum', 'epsilon', 'weight_decay')
    """
    found = {}
    for file in files(".cuh"):
        for formula in FORMULA.finditer(text(file)):
            struct = text(file)[formula.end() :].partition("\n};")[0]
            if enumeration := _ENUMERATION.search(struct):
                names = enumeration.group(1).lower().split(", ")
                found[formula.group(1)] = tuple(name.partition(" =")[0] for name in names)
    return found


def part_named(name: str) -> KernelPart:
    """A part: one of `parts`, or one that was added."""
    return parts().get(name) or _added_parts[name]


@cache
def parts() -> dict[str, KernelPart]:
    """Every part in ``kernels/`` by name."""
    return {part.name: part for file in files(".cu") for part in _parts_in(file)}


def _parts_in(file: str) -> Iterator[KernelPart]:
    for template, mark, name, parameters in _PART.findall(_COMMENT.sub("", text(file))):
        yield KernelPart(
            name,
            file,
            mark,
            tuple(re.findall(r"(?:typename|class) (\w+)", template)),
            tuple(
                KernelParameter(type_, bool(star), bool(const), division, parameter)
                for division, const, type_, star, parameter in _PARAMETER.findall(parameters)
            ),
        )
