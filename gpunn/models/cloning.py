"""Cloning: a model of the same layers, with new weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any

from gpunn.common import registry
from gpunn.common.nested import found_in
from gpunn.common.overrides import is_framework
from gpunn.common.random import Counter, Draws, drawing_from
from gpunn.layers import InputLayer
from gpunn.layers.operations import Operation
from gpunn.layers.symbolic import SymbolicTensor
from gpunn.structure.graph import by_name
from gpunn.structure.nested import NestedModel

from .model import Model
from .sequential import Sequential
from .trainable import TrainableModel


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """Return a model of the same layers with new initial weights, as Keras does.

    Layers of classes that are not registered are cloned too. A clone of a compiled model is
    compiled alike, with a new optimizer, unless its class defines its own `compile`. For a copy
    with the same weights and optimizer state, use ``copy.deepcopy(model)``.

    Args:
        model: The model, built or not.
        input_tensors: The inputs of the clone, from `gpunn.Input`, in the structure of the
            model's inputs; new ones by default.
        clone_function: Called with each layer but those of inputs; returns the layer that takes
            its place. By default a new one of the same configuration.
        call_function: Called as ``call_function(layer, *args, **kwargs)`` with each layer of the
            clone and its symbolic inputs; returns the outputs. By default ``layer(...)``. Not for
            a `gpunn.Sequential`, whose layers are not called.
        recursive: Whether models used as layers are cloned by the same functions. Otherwise
            ``clone_function`` gets such a model as a layer.

    Raises:
        TypeError: if ``model`` is not a model.
        ValueError: for a layer whose configuration is not known, such as a Lambda, and for
            functions or inputs that do not go with the model.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    >>> clone = clone_model(model)
    >>> clone.count_params(), clone.layers[0] is model.layers[0]
    (8, False)
    >>> def without_bias(layer):
    ...     return type(layer).from_config({**layer.get_config(), "use_bias": False})
    >>> clone_model(model, clone_function=without_bias).count_params()
    6
    """
    if not isinstance(model, NestedModel):
        raise TypeError(f"clone_model takes a model; got {model!r}.")
    inside = chain.from_iterable(layer._with_layers_inside() for layer in _all(model))
    parts = [model, *_all(model), *inside]
    return registry.also(
        _own_classes(parts),
        lambda: _Cloning(clone_function, call_function, recursive).of(model, input_tensors),
    )


def _own_classes(parts: list[Any]) -> dict[str, Any]:
    """Return the classes of parts that are not gpunn's, by name."""
    classes = {type(part).__name__: type(part) for part in parts}
    return {name: cls for name, cls in classes.items() if not is_framework(cls)}


def _all(model: Any) -> list[Any]:
    """All layers of a model, including models used as layers, at any depth."""
    found: list[Any] = []
    for layer in model.layers:
        found += [layer, *(_all(layer) if isinstance(layer, NestedModel) else [])]
    return found


class _Cloning:
    """One call of `clone_model`: a layer that occurs several times is cloned once."""

    def __init__(self, clone_function: Any, call_function: Any, recursive: bool) -> None:
        self.clone_function, self.call_function = clone_function, call_function
        self.recursive = recursive
        self.made: dict[int, Any] = {}

    def of(self, model: Any, input_tensors: Any = None) -> Any:
        is_changed = self.recursive or any(
            given is not None for given in (input_tensors, self.clone_function, self.call_function)
        )
        if isinstance(model, Sequential):
            if self.call_function is not None:
                raise ValueError(
                    "call_function does not go with a Sequential, whose layers are only listed. "
                    "Write clone_function, or make the model by gpunn.Model(inputs, outputs)."
                )
            clone = self._chain(model, input_tensors) if is_changed else _by_config(model)
        elif model._has_call and is_changed:
            raise ValueError(
                f"{model.name} defines call, so that its layers are its own: clone_model takes "
                f"input_tensors, clone_function, call_function and recursive for other models."
            )
        else:
            clone = self._graph(model, input_tensors) if is_changed else _by_config(model)
        _compile_alike(clone, model)
        return clone

    def _layer(self, layer: Any) -> Any:
        """Return the clone of a layer."""
        if id(layer) not in self.made:
            if isinstance(layer, Operation):
                made = Operation(**layer.get_config())
            elif layer._by_operator:
                made = _by_config(layer)
                made._by_operator = True
            elif self.recursive and isinstance(layer, NestedModel) and not layer._has_call:
                nested = self
                if isinstance(layer, Sequential):  # which no call_function goes with
                    nested = _Cloning(self.clone_function, None, True)
                    nested.made = self.made
                made = nested.of(layer)
            elif self.clone_function is not None:
                made = self.clone_function(layer)
            else:
                made = type(layer).from_config(layer.get_config())
            self.made[id(layer)] = made
        return self.made[id(layer)]

    def _chain(self, model: Sequential, input_tensors: Any) -> Sequential:
        if isinstance(input_tensors, (list, tuple)) and len(input_tensors) == 1:
            input_tensors = input_tensors[0]
        layers = [layer for layer in model._builder.source.all if isinstance(layer, InputLayer)]
        if input_tensors is not None:
            _check_symbolic(input_tensors, [input_tensors])
            layers = [input_tensors]
        elif layers:
            layers = [_by_config(layers[0])]
        layers += map(self._layer, model.layers)
        return Sequential(layers, model.trainable, model.name, model._dtype_given)

    def _graph(self, model: Any, input_tensors: Any) -> Any:
        graph = model._graph
        if input_tensors is None:
            inputs = [_by_config(layer).output for layer in graph.input_layers]
        else:
            inputs = (
                [input_tensors]
                if isinstance(input_tensors, SymbolicTensor)
                else by_name(
                    graph.input_names,
                    graph.input_form.flat(input_tensors, "input_tensors"),
                    "input_tensors",
                )
            )
            _check_symbolic(input_tensors, inputs)
            if len(inputs) != len(graph.inputs):
                raise ValueError(
                    f"input_tensors must be {len(graph.inputs)} tensors in the structure of the "
                    f"model's inputs; got {input_tensors!r}."
                )
            if isinstance(model.input, dict) and not isinstance(input_tensors, dict):
                raise ValueError(
                    f"`input_tensors` must have the same structure as model.input, a dictionary of "
                    f"{graph.input_names}; got {input_tensors!r}."
                )
        made = dict(zip(map(id, graph.inputs), inputs, strict=True))
        for application in graph.applications:
            layer: Any = self._layer(application.layer)
            read = [made[id(tensor)] for tensor in application.inputs]
            alone = len(read) == 1 and not getattr(application.layer, "takes_list", False)
            args: Any = (read[0] if alone else read,)
            kwargs: Any = {}
            if application.given is not None:
                args, kwargs = application.given.filled(read)
            if application.training is not None:
                kwargs = {**kwargs, "training": application.training}
            if isinstance(layer, Operation):
                cloned = (one for one in graph.layers if id(one) in self.made)
                layer._find_parameters({one.name: self.made[id(one)] for one in cloned})
            if self.call_function is None or layer._by_operator:
                outputs = layer(*args, **kwargs)
            else:
                outputs = self.call_function(layer, *args, **kwargs)
            found = list(found_in(outputs, SymbolicTensor))
            if len(found) != len(application.outputs):
                raise ValueError(
                    f"call_function must return the outputs of {layer.name!r}, "
                    f"{len(application.outputs)} symbolic tensors; got {outputs!r}."
                )
            made.update(zip(map(id, application.outputs), found, strict=True))
        outputs = graph.output_form.pack([made[id(tensor)] for tensor in graph.outputs])
        cls = type(model) if type(model).__init__ is Model.__init__ else Model
        form = graph.input_form
        return cls(form.pack(inputs), outputs, name=model.name, dtype=model._dtype_given)


def _check_symbolic(given: Any, tensors: list[Any]) -> None:
    if not all(isinstance(tensor, SymbolicTensor) for tensor in tensors):
        raise ValueError(f"input_tensors must be symbolic, from gpunn.Input; got {given!r}.")


def _by_config(part: Any) -> Any:
    clone = type(part).from_config(part.get_config())
    if isinstance(part, Model) and part._has_call and part.built:
        clone.build(part.input_shape)
    return clone


def _compile_alike(clone: Any, model: Any) -> None:
    """Compile a clone as the model was, unless its class defines its own `compile`."""
    compiled = model._training.compiled
    if compiled is None or type(clone).compile is not TrainableModel.compile:
        return
    optimizer = model.optimizer
    held = [part for part in vars(optimizer).values() if isinstance(part, registry.Entry)]
    alike = registry.also(
        _own_classes([optimizer, *held]),
        lambda: type(optimizer).from_config(optimizer.get_config()),
    )
    # Its seed follows from the model's: one who compiles it again goes on with the seeds as before.
    training = model._training
    number = next(vars(training).setdefault("clones", Counter()))
    with drawing_from(Draws(training.progress.seed, number)):
        clone.compile(
            alike, **copy.deepcopy(compiled.arguments),
            matmul_precision=model.matmul_precision, run_eagerly=model.run_eagerly,
        )  # fmt: skip
