"""The operations of a trace as ONNX's operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.ops.tensor import Tensor

from .formulas import NotExportable
from .places import OPERATORS as OF_PLACES

OPSET = 17
TYPES = {"bool": 9, "int32": 6, "int64": 7, "float32": 1, "float64": 1}  # of onnx.TensorProto
ONE_TO_ONE = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "maximum": "Max",
    "minimum": "Min", "negative": "Neg", "abs": "Abs", "sign": "Sign", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "arcsin": "Asin", "arccos": "Acos", "arctan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
    "tanh": "Tanh", "arcsinh": "Asinh", "arccosh": "Acosh", "arctanh": "Atanh", "floor": "Floor",
    "ceil": "Ceil", "round": "Round", "isnan": "IsNaN", "isinf": "IsInf", "logical_not": "Not",
    "sigmoid": "Sigmoid", "relu": "Relu", "equal": "Equal", "less": "Less", "greater": "Greater",
    "less_equal": "LessOrEqual", "greater_equal": "GreaterOrEqual", "logical_and": "And",
    "logical_or": "Or", "logical_xor": "Xor", "where": "Where", "stop_gradient": "Identity",
    "power": "Pow", "erf": "Erf",
}  # fmt: skip


class OnnxGraph:
    """Nodes and constants of a graph of ONNX, put together tensor by tensor.

    Args:
        batch: samples of the trace: a prime, by which the batch axis is told from others.
        apply: called with a layer and the tensors that it is applied to inside a trace; gives
            what comes out, in terms of tensors.
    """

    def __init__(self, batch: int, apply: Callable[..., Tensor]) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy = helper, numpy_helper
        self.batch = batch
        self._apply = apply
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.first = ""  # an input, which has as many rows as the batch
        self._names: dict[int, str] = {}
        self._tensors: list[Tensor] = []  # alive, so that their ids stay theirs

    def new(self) -> str:
        return f"t{len(self.nodes)}_{len(self.constants)}"

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node; the name of its output."""
        name = self.new()
        made = self._helper.make_node(operator, list(inputs), [name], domain=domain, **attributes)
        self.nodes.append(made)
        return name

    def constant(self, array: Any) -> str:
        """The name of a constant."""
        array = np.asarray(array)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = f"c{len(self.constants)}"
        self.constants.append(self._numpy.from_array(np.ascontiguousarray(array), name))
        return name

    def _known(self, array: np.ndarray) -> str:
        """A constant of a trace; one that has the batch axis is repeated for each sample."""
        if array.shape[:1] != (self.batch,):
            return self.constant(array)
        if not (array == array[:1]).all():
            raise NotExportable("numbers that differ from sample to sample, as places in the batch")
        return self.filled(self.constant(array[:1]), array.shape)

    def filled(self, x: str, shape: Any) -> str:
        """x repeated to a shape, of which one axis may be the batch."""
        grown = [axis for axis, n in enumerate(shape) if n and n % self.batch == 0]
        if not grown:
            return self.add("Expand", x, self.integers(shape))
        if len(grown) > 1 or shape[grown[0]] != self.batch:
            raise NotExportable("a shape that has the batch in several axes, or as a part of one")
        sizes = [self.integers([0]), self.integers([1]), self.integers([0])]
        batch = self.add("Slice", self.add("Shape", self.first), *sizes)
        front, behind = shape[: grown[0]], shape[grown[0] + 1 :]
        whole = self.add("Concat", self.integers(front), batch, self.integers(behind), axis=0)
        return self.add("Expand", x, whole)

    def integers(self, numbers: Any) -> str:
        return self.constant(np.asarray(list(numbers), np.int64))

    def put(self, tensor: Tensor, name: str) -> None:
        """Let ``name`` stand for a tensor."""
        self._names[id(tensor)] = name
        self._tensors.append(tensor)

    def name_of(self, tensor: Tensor) -> str:
        """The name of what stands for a tensor; what it is made of is appended first.

        Raises:
            NotExportable: for an operation that has no counterpart.
        """
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
                raise NotExportable("a variable, or a random number, of a call")
            else:
                self.put(t, self._made(t, [self._names[id(x)] for x in t.inputs]))
            waiting.pop()
        return self._names[id(tensor)]

    def _made(self, t: Tensor, inputs: list[str]) -> str:
        kind = t.primitive.name
        if kind in ONE_TO_ONE:
            return self.add(ONE_TO_ONE[kind], *inputs)
        if kind in OF_PLACES:
            return OF_PLACES[kind](self, t, *inputs)
        made = getattr(self, f"_{kind.replace(' ', '_').replace(chr(39), '')}", None)
        if made is None:
            raise NotExportable(f"the operation {kind!r}")
        name: str = made(t, *inputs)
        return name

    def _shape(self, shape: Any) -> str:
        """A shape as ONNX is told it: the axis that grows with the batch is -1."""
        found = [-1 if n and n % self.batch == 0 else int(n) for n in shape]
        if found.count(-1) > 1:
            raise NotExportable("a shape with the batch in two axes")
        return self.integers(found)

    # -- elementwise

    def _expm1(self, t: Tensor, x: str) -> str:
        return self.add("Sub", self.add("Exp", x), self.constant(np.float32(1)))

    def _log1p(self, t: Tensor, x: str) -> str:
        return self.add("Log", self.add("Add", x, self.constant(np.float32(1))))

    def _square(self, t: Tensor, x: str) -> str:
        return self.add("Mul", x, x)

    def _not_equal(self, t: Tensor, a: str, b: str) -> str:
        return self.add("Not", self.add("Equal", a, b))

    def _erfc(self, t: Tensor, x: str) -> str:
        return self.add("Sub", self.constant(np.float32(1)), self.add("Erf", x))

    def _floor_divide(self, t: Tensor, a: str, b: str) -> str:
        return self.add("Floor", self.add("Div", a, b))

    def _cast(self, t: Tensor, x: str) -> str:
        return self.add("Cast", x, to=TYPES[t.dtype])

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
        value = self.constant(np.asarray(t.attributes["value"], t.dtype))
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
                if step < 0 or (given[axis] == self.batch and not whole):
                    raise NotExportable("a part of the batch, or one that is turned round")
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
        if added:  # counted among what is left
            kept = [k for k in key if k is None or isinstance(k, slice)]
            x = self.add("Unsqueeze", x, self.integers(k for k, e in enumerate(kept) if e is None))
        return x

    # -- reductions and products

    def _sum(self, t: Tensor, x: str) -> str:
        axes = self.integers(t.attributes["axis"])
        return self.add("ReduceSum", x, axes, keepdims=int(t.attributes["keepdims"]))

    def _reduced(self, operator: str, t: Tensor, x: str) -> str:
        axes, kept = list(map(int, t.attributes["axis"])), int(t.attributes["keepdims"])
        return self.add(operator, x, axes=axes, keepdims=kept)

    def _max(self, t: Tensor, x: str) -> str:
        return self._reduced("ReduceMax", t, x)

    def _min(self, t: Tensor, x: str) -> str:
        return self._reduced("ReduceMin", t, x)

    def _prod(self, t: Tensor, x: str) -> str:
        return self._reduced("ReduceProd", t, x)

    def _argmax(self, t: Tensor, x: str) -> str:
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

    # -- images, channels last here and first there

    def _first(self, x: str) -> str:
        return self.add("Transpose", x, perm=[0, 3, 1, 2])

    def _last(self, x: str) -> str:
        return self.add("Transpose", x, perm=[0, 2, 3, 1])

    @staticmethod
    def _lacking(geometry: Any) -> list[int]:
        """Pixels that are lacking behind the last, below 0 for those that no window reads."""
        spans = [d * (k - 1) + 1 for k, d in zip(geometry.window, geometry.dilation, strict=True)]
        return [
            (m - 1) * step + span - n - before
            for n, m, span, step, before in zip(
                geometry.image, geometry.windows, spans, geometry.strides, geometry.padding,
                strict=True,
            )
        ]  # fmt: skip

    def _windows(self, geometry: Any) -> dict[str, Any]:
        behind = [max(n, 0) for n in self._lacking(geometry)]
        return {
            "kernel_shape": list(geometry.window),
            "strides": list(geometry.strides),
            "pads": [*geometry.padding, *behind],
        }

    def _conv(self, t: Tensor, x: str, kernel: str) -> str:
        geometry = t.attributes["geometry"]
        kernel = self.add("Transpose", kernel, perm=[3, 2, 0, 1])
        sizes = {**self._windows(geometry), "dilations": list(geometry.dilation)}
        return self._last(self.add("Conv", self._first(x), kernel, **sizes))

    def _convs_gradient_by_the_image(self, t: Tensor, dy: str, kernel: str) -> str:
        geometry = t.attributes["geometry"]
        kernel = self.add("Transpose", kernel, perm=[3, 2, 0, 1])
        more = [max(-n, 0) for n in self._lacking(geometry)]
        sizes = {**self._windows(geometry), "dilations": list(geometry.dilation)}
        made = self.add("ConvTranspose", self._first(dy), kernel, output_padding=more, **sizes)
        return self._last(made)

    def _pooled(self, operator: str, t: Tensor, x: str, **options: Any) -> str:
        sizes = self._windows(t.attributes["geometry"])
        return self._last(self.add(operator, self._first(x), **sizes, **options))

    def _max_pool(self, t: Tensor, x: str) -> str:
        return self._pooled("MaxPool", t, x)

    def _average_pool(self, t: Tensor, x: str) -> str:
        return self._pooled("AveragePool", t, x, count_include_pad=0)
