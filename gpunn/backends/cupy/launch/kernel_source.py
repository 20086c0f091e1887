"""The available kernel parts and formulas, read from the CUDA sources in ``kernels/``.

A part is a function with a mark (see ``kernels/README.md``). This module reads its signature, and
for its template parameters every type or formula that it can be compiled for. A formula is a
``struct Name : Kind`` in a header: it is listed nowhere else.

Sources generated at run time (`expressions`) can be added to these.
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

OPTIONS = ("-std=c++17", "-ftz=false", "-prec-div=true", "-prec-sqrt=true", "-fmad=true")
"""Compiler options of every kernel: subnormal values are kept, quotients and roots are rounded
correctly, and a product is rounded once with the sum that it is added to."""

_FLOATS = ("float", "double")
_SOURCES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", *_FLOATS,
)
_TYPES = {
    "T": _FLOATS, "Source": _SOURCES, "Out": (*_FLOATS, "int32"),
    "Held": (*_FLOATS, "int32", "bool"),
}

_COMMENT = re.compile(r"//[^\n]*")
_INCLUDE = re.compile(r'^#include "(?:\.\./formulas/)?(\w+\.cuh)"$', re.MULTILINE)
_PREPROCESSED = re.compile(rf"{_INCLUDE.pattern}|^#pragma once$", re.MULTILINE)
FORMULA = re.compile(r"^(?:template <typename T> )?struct (\w+) : (\w+) \{", re.MULTILINE)
_ENUMERATION = re.compile(r"^    enum \{ ([^}]*) \};", re.MULTILINE)
_PART = re.compile(
    r"(?:template\s*<((?:[^<>]|<[^<>]*>)*)>\s*)?(ELEMENT|ROW|BLOCK|LAST)_PART\s+void\s+(\w+)\s*"
    r"\(ThreadGroup threads,([^)]*)\)"
)
_PARAMETER = re.compile(
    r"(?:(ROW_SLICED|GRID_STRIDED|BLOCK_COPY|RUN_TIME|COMPILE_TIME) )?(const )?(\w+)(\*?) (\w+)"
)


@cache  # NumPy makes the name of a dtype anew each time
def type_name(dtype: Any) -> str:
    """Return the name of a NumPy dtype in the kernels, such as ``float`` for float32."""
    name = np.dtype(dtype).name
    return {"float32": "float", "float64": "double"}.get(name, name)


Constant = int | tuple[int, ...] | None
"""A value in a kernel's source: a number or flag, the elements of an array, or a null pointer."""


@dataclass(frozen=True)
class KernelParameter:
    """One parameter of a part, or of a kernel.

    Attributes:
        type: of the value or of what it points to, possibly a template parameter.
        pointer, constant: whether it is a pointer, and whether it points to const.
        mark: how threads divide the array, ``ROW_SLICED``, ``GRID_STRIDED`` or ``BLOCK_COPY``, or
            when the value is known, ``RUN_TIME`` or ``COMPILE_TIME``; "" without one. See
            ``threads.cuh``.
    """

    type: str
    pointer: bool
    constant: bool
    mark: str
    name: str

    @property
    def bytes(self) -> int:
        """Its size, which is also its alignment."""
        return 8 if self.pointer else dtype_named(self.type).itemsize

    @property
    def value_type(self) -> str:
        """The C++ type of its argument, such as ``const float*``."""
        return f"{'const ' * self.constant}{self.type}{'*' * self.pointer}"

    def is_constant(self, argument: Any) -> bool:
        """Return whether this argument is a constant in the kernels of a step.

        Sizes, flags and null pointers are, since loops and divisions depend on them. Other numbers
        are not: trainings that differ in a rate or a seed share a kernel.
        """
        if self.pointer:
            return argument is NULL or self.mark == "COMPILE_TIME"
        return self.mark != "RUN_TIME" and argument.dtype.kind in "biu"

    def definition(self, value: Constant) -> str:
        """Return the line of source that defines it as a constant: ``constexpr int64 n = 32;``."""
        if value is None:
            return f"constexpr {self.value_type} {self.name} = nullptr;"
        if isinstance(value, tuple):
            return f"constexpr {self.type} {self.name}[] = {{{', '.join(map(str, value))}}};"
        return f"constexpr {self.type} {self.name} = {str(value).lower()};"


@dataclass(frozen=True)
class KernelPart:
    """One function that kernels are composed of.

    Attributes:
        file: the ``.cu`` file that contains it.
        mark: the threads that must do it together, ``ELEMENT``, ``ROW``, ``BLOCK`` or ``LAST``.
        template: names of its template parameters: ``T``, ``Source``, ``Out``, ``Held`` or a kind
            of formula.
        parameters: its parameters, in order, without the group of threads.
    """

    name: str
    file: str
    mark: str
    template: tuple[str, ...]
    parameters: tuple[KernelParameter, ...]

    @property
    def writes_copy(self) -> bool:
        """Whether it writes an array of which each block of a persistent kernel has a copy."""
        return any(p.mark == "BLOCK_COPY" and not p.constant for p in self.parameters)

    def entry(self, *choices: str) -> str:
        """Return the C++ name of one instantiation, such as ``bias_activation<float, Relu>``."""
        for kind, choice in zip(self.template, choices, strict=True):
            if choice not in options(kind):
                close = difflib.get_close_matches(choice, options(kind), 1)
                hint = f", did you mean {close[0]!r}?" if close else ""
                raise ValueError(f"{self.name}: the kernels have no {kind} {choice!r}{hint}")
        return f"{self.name}<{', '.join(choices)}>" if choices else self.name

    def every_choice(self) -> tuple[tuple[str, ...], ...]:
        """Return the template arguments of every instantiation."""
        return tuple(product(*(options(kind) for kind in self.template)))

    def type_of(self, parameter: KernelParameter, choices: Sequence[str]) -> str:
        """Return the type of a parameter in one instantiation."""
        return dict(zip(self.template, choices, strict=True)).get(parameter.type, parameter.type)

    def choices(self, values: Mapping[str, Any], functor: str | None) -> tuple[str, ...]:
        """Return the template arguments for these values: the types of its arrays, and a formula.

        ``T`` is ``values["dtype"]`` if no array determines it.

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
        """Convert ``values`` for this instantiation: arrays, null, or NumPy scalars.

        Raises TypeError for an array of another dtype or one that is not contiguous: a
        GPU would silently misread both.
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
_MASK64 = (1 << 64) - 1  # a negative seed counts down from 2^64


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
    """Return the NumPy dtype of a name in the kernels."""
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))


def options(kind: str) -> tuple[str, ...]:
    """Return the possible values of a template parameter: types, or formulas of a kind."""
    return _TYPES[kind] if kind in _TYPES else formulas()[kind]


_added: dict[str, str] = {}  # sources by file name
_added_parts: dict[str, KernelPart] = {}


def add(file: str, text: str) -> None:
    """Add a file of parts to those in ``kernels/``. Its name identifies its source, which cannot
    change."""
    if _added.setdefault(file, text) != text:
        raise ValueError(f"A different source was already added under the name {file}.")
    _added_parts.update((part.name, part) for part in _parts_in(file))


def added(files: Iterable[str]) -> dict[str, str]:
    """Return the sources of the files among these that were added, by name."""
    return {file: _added[file] for file in files if file in _added}


@cache
def text(file: str) -> str:
    """Return the source of one file in ``kernels/formulas`` or ``kernels/cuda``, or of one that
    was added."""
    if file in _added:
        return _added[file]
    folder = "cuda" if (source_root("kernels") / "cuda" / file).is_file() else "formulas"
    return (source_root("kernels") / folder / file).read_text(encoding="utf-8")


@cache
def files(suffix: str) -> tuple[str, ...]:
    """Return the names of files in ``kernels/formulas`` and ``kernels/cuda`` with a suffix."""
    folders = (source_root("kernels") / name for name in ("formulas", "cuda"))
    return tuple(sorted(f.name for folder in folders for f in folder.glob(f"*{suffix}")))


@cache
def source(*files: str) -> str:
    """Return the source of ``.cu`` files, preceded by each required header once.

    The compiler gets this source: it needs no other headers, and no search path.
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
    """Return the names of the formulas in the headers, by kind ("Activation", "Loss", ...)."""
    found: dict[str, list[str]] = {}
    for file in files(".cuh"):
        for name, kind in FORMULA.findall(text(file)):
            found.setdefault(kind, []).append(name)
    return {kind: tuple(names) for kind, names in found.items()}


@cache
def parameter_names() -> dict[str, tuple[str, ...]]:
    """Return the parameter names of each formula that has parameters.

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
    """Return a part: one of `parts`, or one that was added."""
    return parts().get(name) or _added_parts[name]


@cache
def parts() -> dict[str, KernelPart]:
    """Return every part in ``kernels/`` by name."""
    return {part.name: part for file in files(".cu") for part in _parts_in(file)}


def _parts_in(file: str) -> Iterator[KernelPart]:
    for template, mark, name, parameters in _PART.findall(_COMMENT.sub("", text(file))):
        yield KernelPart(
            name,
            file,
            mark,
            tuple(re.findall(r"(?:typename|class) (\w+)", template)),
            tuple(
                KernelParameter(type_, bool(star), bool(const), mark, parameter)
                for mark, const, type_, star, parameter in _PARAMETER.findall(parameters)
            ),
        )
