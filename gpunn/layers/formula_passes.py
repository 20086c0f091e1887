"""`FormulaPasses`: the forward and backward pass of a built-in layer, from its formula.

Layers of the same settings share one graph of the forward pass and the gradients. It is kept:
another model, or another batch of the same size, only binds it to arrays.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from copy import copy
from typing import Any

from gpunn.activations import Activation
from gpunn.common.numeric.dtypes import name_of
from gpunn.common.overrides import is_framework
from gpunn.core.plan import Call
from gpunn.core.storage import Parameter
from gpunn.ops.conversion import convert
from gpunn.ops.fusion.joint import join
from gpunn.ops.gradients import gradients
from gpunn.ops.running.computation import Computation, Destination
from gpunn.ops.running.eager import InitialCopies, rewritten_by
from gpunn.ops.running.functions import or_zero
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import Mode, Trace

from .as_operation import formula_of, with_activation

KEPT = 48  # graphs, of some ten kilobytes each
_graphs: OrderedDict[Hashable, Graph] = OrderedDict()
_lock = threading.Lock()

# What no formula reads, besides `Layer._not_watched`; of the activation, see `settings_of`.
_UNREAD = frozenset(
    {"name", "input_spec", "dtype", "activation", "learning_rate_multiplier"}
    | {"_given_input_shape", "_input_shape", "_input_dim", "_batch_input_shape"}
)
_ENDS = ("_initializer", "_regularizer", "_constraint")


class Graph:
    """The tensors of a formula and of its gradients.

    Attributes:
        xs, dy: the leaves; dy is None in inference.
        read: the parameters that are read, by their number in the layer, as leaves.
        assigned: those that are assigned to, and their new values.
        rewritten: the ``id`` of leaves that are written in their place.
        y: the output.
        by_inputs, by_parameters: the gradients, by number; constants of 0 where there is none.
        known: in which order things are done, from the first call; see `Computation`.
    """

    def __init__(self, call: Call) -> None:
        trace = Trace(Mode.formula(call))
        self.xs = [trace.leaf(x.shape, name_of(x.dtype)) for x in call.xs]
        self.dy: Tensor | None = None
        self.by_inputs: dict[int, Tensor] = {}
        self.by_parameters: dict[int, Tensor] = {}
        self.known: dict[Any, Any] = {}
        numbers = {id(p): k for k, p in enumerate(call.layer._own_parameters)}
        layer = call.layer
        if call.activation is not None:  # a copy, since somebody may change the layer's
            layer = with_activation(layer, copy(call.activation))
        with trace.active():
            y = formula_of(layer)(*self.xs, training=call.training)
            self.y = convert(y, name_of(call.y.dtype))
            if call.dy is not None:
                self.dy = trace.leaf(self.y.shape, self.y.dtype)
                self._differentiate(call, trace, numbers)
        variables = trace.variables.values()
        self.read = [(numbers[id(h.source)], h.first) for h in variables]
        self.assigned = [(numbers[id(h.source)], h.now) for h in variables if h.is_assigned]
        wanted = self.y, *(now for _, now in self.assigned)
        wanted += *self.by_parameters.values(), *self.by_inputs.values()
        join(wanted)
        self.rewritten = rewritten_by([h for h in variables if h.is_assigned], wanted)

    def _differentiate(self, call: Call, trace: Trace, numbers: dict[int, int]) -> None:
        read = {numbers[id(h.source)]: h.first for h in trace.variables.values()}
        parameters = call.layer._own_parameters if call.trains else ()
        trained = {k: p.gradient for k, p in enumerate(parameters) if p.trainable}
        inputs = {k: dx for k, dx in enumerate(call.dxs) if dx is not None}
        asked = [k for k in trained if k in read]
        wanted = [*(self.xs[k] for k in inputs), *(read[k] for k in asked)]
        found = iter(gradients([self.y], wanted, [self.dy]))
        self.by_inputs = {k: or_zero(next(found), dx) for k, dx in inputs.items()}
        by_read = dict(zip(asked, found, strict=True))
        self.by_parameters = {k: or_zero(by_read.get(k), g) for k, g in trained.items()}


def settings_of(call: Call) -> Hashable | None:
    """Return the settings that a layer's formula reads; None if some of them cannot be compared,
    such as an activation that is any function, what a user's class holds, or a weight of another
    layer."""
    layer, activation = call.layer, call.activation
    if not is_framework(type(layer)):
        return None
    unread = _UNREAD | layer._not_watched
    numbers = {id(p): k for k, p in enumerate(layer._own_parameters)}
    found = [
        (name, numbers.get(id(value), _UNKNOWN) if isinstance(value, Parameter) else _value(value))
        for name, value in vars(layer).items()
        if name not in unread and not name.endswith(_ENDS)
    ]
    if activation is not None:
        if not (isinstance(activation, Activation) and is_framework(type(activation))):
            return None
        if activation._is_traced:
            return None
        found += [(name, _value(value)) for name, value in activation.get_config().items()]
    if _UNKNOWN in [value for _, value in found]:
        return None
    return type(layer), type(activation), tuple(found)


_UNKNOWN = object()


def _value(value: Any) -> Any:
    """Return a value that two settings share only if they are the same."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value), value
    if isinstance(value, (list, tuple)):
        found = tuple(map(_value, value))
        return _UNKNOWN if any(one is _UNKNOWN for one in found) else found
    return _UNKNOWN


def _graph_of(call: Call, settings: Hashable) -> Graph:
    """Return the graph of a layer's formula, kept from an earlier call like this."""
    key = (
        settings, call.training, call.trains, call.assigns, call.dy is not None,
        name_of(call.y.dtype), tuple([(x.shape, name_of(x.dtype)) for x in call.xs]),
        tuple([dx is not None for dx in call.dxs]),
        tuple([(p.shape, p.dtype, p.trainable) for p in call.layer._own_parameters]),
    )
    with _lock:
        if (found := _graphs.get(key)) is not None:
            _graphs.move_to_end(key)
            return found
    found = Graph(call)
    with _lock:
        found = _graphs.setdefault(key, found)
        while len(_graphs) > KEPT:
            _graphs.popitem(last=False)
    return found


class FormulaPasses:
    """The forward and backward pass of a built-in layer, whose graph layers like it share.

    Args:
        settings: the layer's settings in this call, see `settings_of`.
    """

    def __init__(self, settings: Hashable) -> None:
        self._settings = settings
        self._computation: Computation | None = None

    def forward(self, call: Call) -> None:
        if self._computation is None:
            self._computation = self._bound(call)
        self._computation.run(0)

    def backward(self, call: Call) -> None:
        assert self._computation is not None
        self._computation.run(1)

    def _bound(self, call: Call) -> Computation:
        graph, backend = _graph_of(call, self._settings), call.backend
        parameters = call.layer._own_parameters
        arrays = {id(t): x for t, x in zip(graph.xs, call.xs, strict=True)}
        before = InitialCopies(backend)
        changed = {number for number, _ in graph.assigned}
        for number, t in graph.read:
            array = parameters[number].array_on(backend)
            kept = number not in changed or id(t) in graph.rewritten
            arrays[id(t)] = array if kept else before.copy(array)
        y = call.y.reshape(graph.y.shape)
        stages = [[Destination(graph.y, y)]]
        if call.assigns:
            stages[0] += [
                Destination(now, parameters[number].array_on(backend))
                for number, now in graph.assigned
            ]
        if graph.dy is not None:
            arrays[id(graph.dy)] = call.dy.reshape(graph.y.shape)
            stages.append(self._gradients(call, graph))
        spent = [] if graph.dy is None else [graph.dy]
        computation = Computation(
            backend, arrays, stages, call, spent=spent, rewritten=graph.rewritten,
            known=graph.known,
        )
        computation.work[0][:0] = before.work
        return computation

    def _gradients(self, call: Call, graph: Graph) -> list[Destination]:
        """Return the gradients of parameters, and last of inputs, which may be written over what
        the others read."""
        parameters, adds = call.layer._own_parameters, call.accumulate_gradients
        of_parameters = [
            Destination(t, parameters[k].gradient, adds) for k, t in graph.by_parameters.items()
        ]
        return of_parameters + [
            Destination(t, call.dxs[k], call.accumulate_dxs[k]) for k, t in graph.by_inputs.items()
        ]
