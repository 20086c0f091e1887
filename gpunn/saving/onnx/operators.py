"""The operations of a trace as ONNX operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunn.ops.dtypes import LEAST, MOST, is_float
from gpunn.ops.tensor import Tensor

from .formulas import NotExportable
from .images import ImageOperators
from .loops import OPERATORS as OF_LOOPS
from .places import OPERATORS as OF_PLACES

OPSET = 17
TYPES = {"bool": 9, "int32": 6, "int64": 7, "float32": 1, "float64": 11}  # of onnx.TensorProto
NARROW = {"uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "float16": 10, "bfloat16": 16}
FLOATS_ALONE = frozenset(("sigmoid", "erf", "relu"))
"""Operations that onnxruntime has only for float32, although they occur in other dtypes."""
OF_TRUTH = {"maximum": "Or", "minimum": "And", "equal": "Equal"}
"""Operations on two booleans; others use 0 and 1."""
ONE_TO_ONE = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "maximum": "Max",
    "minimum": "Min", "negative": "Neg", "abs": "Abs", "sign": "Sign", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "arcsin": "Asin", "arccos": "Acos", "arctan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
    "tanh": "Tanh", "arcsinh": "Asinh", "arccosh": "Acosh", "arctanh": "Atanh", "floor": "Floor",
    "ceil": "Ceil", "round": "Round", "isnan": "IsNaN", "isinf": "IsInf", "logical_not": "Not",
    "sigmoid": "Sigmoid", "relu": "Relu", "equal": "Equal", "less": "Less", "greater": "Greater",
    "less_equal": "LessOrEqual", "greater_equal": "GreaterOrEqual", "logical_and": "And",
    "logical_or": "Or", "logical_xor": "Xor", "stop_gradient": "Identity",
    "custom_gradient": "Identity", "power": "Pow", "erf": "Erf",
}
REDUCTIONS = {"max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd"}
COMPARISONS = frozenset(("less", "less_equal", "greater", "greater_equal"))


class OnnxGraph(ImageOperators):
    """Nodes and constants of an ONNX graph, built tensor by tensor.

    Args:
        batch: Samples of the trace: a prime, which distinguishes the batch axis from others.
        apply: Function of a layer and the tensors that it is applied to inside a trace; returns
            the output tensors.
        floats: Float dtype of the model; its values are float32 in the file.
    """

    def __init__(self, batch: int, apply: Callable[..., Tensor], floats: str) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy = helper, numpy_helper
        self.batch = batch
        self._apply = apply
        self._types = {**TYPES, floats: TYPES["float32"]}
        self._numbers = {"float64": np.float32 if floats == "float64" else np.float64}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.first = ""  # an input, which has one row per sample
        self._names: dict[int, str] = {}
        self._tensors: list[Tensor] = []  # kept alive, so that their ids stay unique

    def new(self) -> str:
        return f"t{len(self.nodes)}_{len(self.constants)}"

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node; return the name of its output."""
        name = self.new()
        made = self._helper.make_node(operator, list(inputs), [name], domain=domain, **attributes)
        self.nodes.append(made)
        return name

    def constant(self, array: Any) -> str:
        """Add a constant; return its name."""
        array = np.asarray(array)
        array = array.astype(self._numbers.get(array.dtype.name, array.dtype), copy=False)
        name = f"c{len(self.constants)}"
        self.constants.append(self._numpy.from_array(np.ascontiguousarray(array), name))
        return name

    def _known(self, array: np.ndarray) -> str:
        """Add a constant of a trace; one with the batch axis is repeated for each sample."""
        if array.shape[:1] != (self.batch,):
            return self.constant(array)
        if not (array == array[:1]).all():
            raise NotExportable("values that differ between samples, such as batch indices")
        return self.filled(self.constant(array[:1]), array.shape)

    def filled(self, x: str, shape: Any) -> str:
        """Broadcast x to a shape, one axis of which may be the batch."""
        grown = [axis for axis, n in enumerate(shape) if n and n % self.batch == 0]
        if not grown:
            return self.add("Expand", x, self.integers(shape))
        if len(grown) > 1 or shape[grown[0]] != self.batch:
            raise NotExportable("a shape that has the batch in several axes, or as part of one")
        sizes = [self.integers([0]), self.integers([1]), self.integers([0])]
        batch = self.add("Slice", self.add("Shape", self.first), *sizes)
        front, behind = shape[: grown[0]], shape[grown[0] + 1 :]
        whole = self.add("Concat", self.integers(front), batch, self.integers(behind), axis=0)
        return self.add("Expand", x, whole)

    def integers(self, numbers: Any) -> str:
        return self.constant(np.asarray(list(numbers), np.int64))

    @contextmanager
    def names_put_back(self) -> Iterator[None]:
        """Return a context whose tensors get new names in the next one: a step of a loop."""
        names = dict(self._names)
        yield
        self._names = names

    def put(self, tensor: Tensor, name: str) -> None:
        """Set the name of a tensor."""
        self._names[id(tensor)] = name
        self._tensors.append(tensor)

    def name_of(self, tensor: Tensor) -> str:
        """Return the name of a tensor; append the nodes that compute it first, or raise
        NotExportable for an operation without a counterpart."""
        waiting = [tensor]
        while waiting:
            t = waiting[-1]
            missing = [x for x in t.inputs if id(x) not in self._names]
            if id(t) in self._names or (t.value is None and t.primitive and missing):
                if id(t) in self._names:
                    waiting.pop()
                waiting += missing if id(t) not in self._names else []
                continue
            if t.value is not None:
                self.put(t, self._known(t.value))
            elif t.primitive is None:
                raise NotExportable("a variable, or a random number, in a call")
            else:
                self.put(t, self._made(t, [self._names[id(x)] for x in t.inputs]))
            waiting.pop()
        return self._names[id(tensor)]

    def _made(self, t: Tensor, inputs: list[str]) -> str:
        kind, given = t.primitive.name, {x.dtype for x in t.inputs}
        if given == {"bool"} and kind in OF_TRUTH:
            return self.add(OF_TRUTH[kind], *inputs)
        if given == {"bool"} and kind in COMPARISONS:
            inputs = [self.add("Cast", x, to=TYPES["int32"]) for x in inputs]
        whole = given == {"int32"} and getattr(self, f"_whole_{kind}", None)
        if whole:
            return whole(t, *inputs)
        if "float64" in given and kind in FLOATS_ALONE and self._types["float64"] != 1:
            raise NotExportable(f"the operation {kind!r} of float64")
        if kind in ONE_TO_ONE:
            return self.add(ONE_TO_ONE[kind], *inputs)
        if kind in REDUCTIONS:
            return self._reduced(REDUCTIONS[kind], t, *inputs)
        for others in (OF_PLACES, OF_LOOPS):
            if kind in others:
                return others[kind](self, t, *inputs)
        made = getattr(self, f"_{kind.replace(' ', '_').replace(chr(39), '')}", None)
        if made is None and t.primitive.composed is not None:
            return self.name_of(t.primitive.composed(*t.inputs, **t.attributes))
        if made is None:
            raise NotExportable(f"the operation {kind!r}")
        return made(t, *inputs)

    def _shape(self, shape: Any) -> str:
        """Add a shape for ONNX: the axis that grows with the batch is -1."""
        found = [-1 if n and n % self.batch == 0 else int(n) for n in shape]
        if found.count(-1) > 1:
            raise NotExportable("a shape with the batch in two axes")
        return self.integers(found)

    # -- elementwise

    def _number(self, t: Tensor, value: float) -> str:
        """Add a scalar in the dtype of a tensor."""
        return self.constant(np.asarray(value, t.dtype))

    def _expm1(self, t: Tensor, x: str) -> str:
        return self.add("Sub", self.add("Exp", x), self._number(t, 1))

    def _log1p(self, t: Tensor, x: str) -> str:
        return self.add("Log", self.add("Add", x, self._number(t, 1)))

    def _logaddexp(self, t: Tensor, a: str, b: str) -> str:
        less = self.add("Exp", self.add("Neg", self.add("Abs", self.add("Sub", a, b))))
        return self.add("Add", self.add("Max", a, b), self._log1p(t, less))

    def _square(self, t: Tensor, x: str) -> str:
        return self.add("Mul", x, x)

    def _not_equal(self, t: Tensor, a: str, b: str) -> str:
        return self.add("Not", self.add("Equal", a, b))

    def _erfc(self, t: Tensor, x: str) -> str:
        return self.add("Sub", self._number(t, 1), self.add("Erf", x))

    def _rest(self, t: Tensor, a: str, b: str) -> tuple[str, str]:
        """Compute the remainder of a float division, with the sign of the dividend, and a mask of
        the elements where it differs in sign from the divisor."""
        rest, zero = self.add("Mod", a, b, fmod=1), self._number(t, 0)
        signs = self.add("Xor", self.add("Less", rest, zero), self.add("Less", b, zero))
        some = self.add("Not", self.add("Equal", rest, zero))
        return rest, self.add("And", signs, some)

    def _mod(self, t: Tensor, a: str, b: str) -> str:
        rest, differs = self._rest(t, a, b)
        return self.add("Where", differs, self.add("Add", rest, b), rest)

    def _floor_divide(self, t: Tensor, a: str, b: str) -> str:
        """Subtract the remainder first: a rounded quotient may be too large by one."""
        rest, differs = self._rest(t, a, b)
        quotient = self.add("Div", self.add("Sub", a, rest), b)
        less = self.add("Sub", quotient, self._number(t, 1))
        near = self.add("Round", self.add("Where", differs, less, quotient))
        zero = self.add("Equal", b, self._number(t, 0))
        return self.add("Where", zero, self.add("Div", a, b), near)

    # -- integers: ONNX operators divide towards 0, and division by 0 ends the process

    def _divisor(self, b: str) -> tuple[str, str, str]:
        """Return a safe divisor, with 1 instead of 0 and -1, and masks of both."""
        is_zero = self.add("Equal", b, self.constant(np.int32(0)))
        turns = self.add("Equal", b, self.constant(np.int32(-1)))
        one = self.constant(np.int32(1))
        return self.add("Where", self.add("Or", is_zero, turns), one, b), is_zero, turns

    def _whole_mod(self, t: Tensor, a: str, b: str) -> str:
        return self.add("Mod", a, self._divisor(b)[0])

    def _whole_floor_divide(self, t: Tensor, a: str, b: str) -> str:
        safe, is_zero, turns = self._divisor(b)
        zero, one = self.constant(np.int32(0)), self.constant(np.int32(1))
        quotient = self.add("Div", a, safe)
        signs = self.add("Xor", self.add("Less", a, zero), self.add("Less", safe, zero))
        some = self.add("Not", self.add("Equal", self.add("Mod", a, safe), zero))
        below = self.add("And", signs, some)
        quotient = self.add("Where", below, self.add("Sub", quotient, one), quotient)
        opposite = self.add("Sub", zero, a)
        return self.add("Where", is_zero, zero, self.add("Where", turns, opposite, quotient))

    def _whole_relu(self, t: Tensor, x: str) -> str:
        return self.add("Max", x, self.constant(np.int32(0)))

    def _whole_power(self, t: Tensor, a: str, b: str) -> str:
        """Compute powers by repeated squaring, which wraps around as in gpunn; ONNX uses floats."""
        exponent = t.inputs[1]
        if not exponent.is_constant or exponent.size != 1 or int(exponent.numpy().min()) < 0:
            raise NotExportable("powers of integers whose exponents are not a single constant")
        left, square = int(exponent.numpy().max()), a
        nothing = self.add("Mul", a, self.constant(np.int32(0)))
        found = self.add("Add", nothing, self.constant(np.int32(1)))
        while left:
            if left & 1:
                found = self.add("Mul", found, square)
            left >>= 1
            square = self.add("Mul", square, square) if left else square
        return found

    # -- choice and types

    def _where(self, t: Tensor, condition: str, a: str, b: str) -> str:
        if t.dtype != "bool":
            return self.add("Where", condition, a, b)
        first = self.add("And", condition, a)
        return self.add("Or", first, self.add("And", self.add("Not", condition), b))

    def _cast(self, t: Tensor, x: str) -> str:
        (given,) = t.inputs
        if t.dtype == "int32" and is_float(given.dtype):
            return self._as_int32(given, x)
        return self.add("Cast", x, to=self._types[t.dtype])

    def _as_int32(self, t: Tensor, x: str) -> str:
        """Truncate floats to int32; clip values beyond its range, and return 0 for NaN."""
        beyond = self.add("Not", self.add("Less", x, self._number(t, 2.0**31)))
        below = self.add("Less", x, self._number(t, -(2.0**31)))
        strange = self.add("Or", self.add("Or", beyond, below), self.add("IsNaN", x))
        inside = self.add("Where", strange, self._number(t, 0), x)
        found = self.add("Cast", inside, to=TYPES["int32"])
        beyond = self.add("And", beyond, self.add("Not", self.add("IsNaN", x)))
        found = self.add("Where", beyond, self.constant(np.int32(MOST)), found)
        return self.add("Where", below, self.constant(np.int32(LEAST)), found)

    def _wrap(self, t: Tensor, x: str) -> str:
        narrow = self.add("Cast", x, to=NARROW[t.attributes["dtype"]])
        return self.add("Cast", narrow, to=self._types[t.dtype])

    _rounding = _wrap

    def _activation(self, t: Tensor, x: str) -> str:
        return self.name_of(self._apply(t.attributes["formula"], t.inputs))

    def _layer(self, t: Tensor, *xs: str) -> str:
        return self.name_of(self._apply(t.attributes["layer"], t.inputs))

    # -- shapes

    def _reshape(self, t: Tensor, x: str) -> str:
        return self.add("Reshape", x, self._shape(t.attributes["shape"]))

    def _transpose(self, t: Tensor, x: str) -> str:
        return self.add("Transpose", x, perm=list(map(int, t.attributes["axes"])))

    def _broadcast_to(self, t: Tensor, x: str) -> str:
        shape = t.attributes["shape"]
        if shape[:1] == (self.batch,) and t.inputs[0].shape[:1] != (self.batch,):
            return self.filled(x, shape)
        return self.add("Expand", x, self.integers(1 if n == self.batch else n for n in shape))

    def _concatenate(self, t: Tensor, *xs: str) -> str:
        return self.add("Concat", *xs, axis=int(t.attributes["axis"]))

    def _pad(self, t: Tensor, x: str) -> str:
        widths = t.attributes["widths"]
        sides = [*(a for a, _ in widths), *(b for _, b in widths)]
        value = self._number(t, t.attributes["value"])
        return self.add("Pad", x, self.integers(sides), value)

    def _indexing(self, t: Tensor, x: str) -> str:
        key, given = list(t.attributes["key"]), t.inputs[0].shape
        taken = sum(entry is not None and entry is not Ellipsis for entry in key)
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key[at : at + 1] = [slice(None)] * (len(given) - taken)
        key += [slice(None)] * (len(given) - sum(entry is not None for entry in key))
        axis, squeezed, added = 0, [], []
        for place, entry in enumerate(key):
            if entry is None:
                added.append(place)
                continue
            if isinstance(entry, slice) and entry != slice(None):
                start, stop, step = entry.indices(given[axis])
                whole = (start, stop, step) == (0, given[axis], 1)
                if given[axis] == self.batch and not whole:
                    raise NotExportable("a part of the batch, or its reverse")
                stop = stop if stop >= 0 else -(1 << 31)  # before the first: -1 is the last
                parts = map(self.integers, ([start], [stop], [axis], [step]))
                x = self.add("Slice", x, *parts)
            elif not isinstance(entry, slice):
                at = int(entry) % given[axis]
                parts = map(self.integers, ([at], [at + 1], [axis], [1]))
                x = self.add("Slice", x, *parts)
                squeezed.append(axis)
            axis += 1
        if squeezed:
            x = self.add("Squeeze", x, self.integers(squeezed))
        if added:  # new axes are numbered among the remaining ones
            kept = [k for k in key if k is None or isinstance(k, slice)]
            x = self.add("Unsqueeze", x, self.integers(k for k, e in enumerate(kept) if e is None))
        return x

    # -- reductions and products

    def _sum(self, t: Tensor, x: str) -> str:
        axes = self.integers(t.attributes["axis"])
        return self.add("ReduceSum", x, axes, keepdims=int(t.attributes["keepdims"]))

    def _whole_sum(self, t: Tensor, x: str) -> str:
        """Sum in 64 bits: the lower half wraps around, but onnxruntime's sum in 32 does not."""
        found = self._sum(t, self.add("Cast", x, to=TYPES["int64"]))
        return self.add("Cast", found, to=TYPES["int32"])

    def _reduced(self, operator: str, t: Tensor, x: str) -> str:
        axes, kept = list(map(int, t.attributes["axis"])), int(t.attributes["keepdims"])
        if t.dtype != "bool":
            return self.add(operator, x, axes=axes, keepdims=kept)
        found = self.add(operator, self.add("Cast", x, to=TYPES["int32"]), axes=axes, keepdims=kept)
        return self.add("Cast", found, to=TYPES["bool"])

    def _whole_prod(self, t: Tensor, x: str) -> str:
        raise NotExportable("products of integers along an axis, which do not wrap around there")

    def _argmax(self, t: Tensor, x: str) -> str:
        if t.inputs[0].dtype == "bool":
            x = self.add("Cast", x, to=TYPES["int32"])
        place = self.add("ArgMax", x, axis=int(t.attributes["axis"]), keepdims=0)
        return self.add("Cast", place, to=TYPES["int32"])

    def _matmul(self, t: Tensor, a: str, b: str) -> str:
        names = [a, b]
        for k, turned in enumerate((t.attributes["transpose_a"], t.attributes["transpose_b"])):
            if turned:
                order = [*range(t.inputs[k].ndim)]
                order[-2:] = order[:-3:-1]
                names[k] = self.add("Transpose", names[k], perm=order)
        return self.add("MatMul", *names)
