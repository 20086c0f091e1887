"""Operations that call functions: one of several, or for each element."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gpunn.ops.conversion import convert
from gpunn.ops.shapes import whole_number
from gpunn.ops.tensor import Tensor, operation, ops


@operation
def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Call one of several functions with the operands, and return its result.

    If the index is known only in each step, all of them run, and `where` selects from their
    results; see `cond`.

    Args:
        index: which function; below 0 the first, beyond the last one the last.
        branches: functions of the operands, which return tensors in one structure.
        operands: tensors.

    Raises:
        TypeError: if branches are not functions.
        ValueError: if there are none; otherwise as for `cond`.

    >>> from gpunn import ops
    >>> ops.switch(1, [ops.negative, ops.square], 3.0).item()
    9.0
    """
    if not isinstance(branches, (list, tuple)) or not all(map(callable, branches)):
        raise TypeError(
            f"branches must be functions; got {type(branches).__name__}. To choose between "
            f"tensors, use ops.where(condition, x1, x2)."
        )
    if not branches:
        raise ValueError("branches must be one function or more; got none.")
    index = convert(index)

    def at(k: int) -> Any:
        if k == len(branches) - 1:
            return branches[k](*operands)
        return ops.cond(index <= k, lambda: branches[k](*operands), lambda: at(k + 1))

    return at(0)


@operation
def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Iterable[int] | None = None,
    signature: str | None = None,
) -> Callable[..., Any]:
    """Return a function that calls a function for each element of its arguments, which broadcast.

    In a trace it is called once for each element: write large ones with operations on tensors.

    Args:
        pyfunc: a function of tensors of one element.
        excluded: the places of arguments that are passed on as they are.
        signature: the axes that pyfunc takes of each argument, and returns, such as
            ``"(m,n),(n)->(m)"``; by default none.

    Raises:
        TypeError: if pyfunc is not a function.
        ValueError: for a signature of another form; from the function, if arguments do not fit.

    >>> from gpunn import ops
    >>> ops.vectorize(lambda a, b: a + b)([1, 2, 3], 2).tolist()
    [3, 4, 5]
    """
    if not callable(pyfunc):
        raise TypeError(f"pyfunc must be a function; got {pyfunc!r}.")
    skipped = {whole_number(place, "excluded") for place in excluded or ()}
    if signature is not None and not re.fullmatch(
        r"(\(\w*(,\w+)*\),)*\(\w*(,\w+)*\)->.*", signature.replace(" ", "")
    ):
        raise ValueError(f"signature must be such as '(m,n),(n)->(m)'; got {signature!r}.")
    inner = None if signature is None else [
        len(re.findall(r"\w+", group))
        for group in re.findall(r"\([^)]*\)", signature.partition("->")[0])
    ]

    def function(*args: Any) -> Any:
        places = [k for k in range(len(args)) if k not in skipped]
        axes = [0] * len(places) if inner is None else inner
        if len(axes) != len(places):
            raise ValueError(f"{signature!r} has {len(axes)} arguments; got {len(places)}.")
        given = [convert(args[k]) for k in places]
        outer = [x.shape[: x.ndim - n] for x, n in zip(given, axes, strict=True)]
        stack = np.broadcast_shapes(*outer)

        def flat(x: Tensor, n: int) -> Tensor:
            own = x.shape[x.ndim - n :]
            return ops.reshape(ops.broadcast_to(x, (*stack, *own)), (math.prod(stack), *own))

        def one(entries: Sequence[Tensor]) -> Any:
            whole = list(args)
            for k, x in zip(places, entries, strict=True):
                whole[k] = x
            return pyfunc(*whole)

        found = ops.vectorized_map(
            one, tuple(flat(x, n) for x, n in zip(given, axes, strict=True))
        )
        several = isinstance(found, (list, tuple))
        shaped = [ops.reshape(y, (*stack, *y.shape[1:])) for y in (found if several else [found])]
        return tuple(shaped) if several else shaped[0]

    return function
