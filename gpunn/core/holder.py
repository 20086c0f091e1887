"""Base classes of what nodes of a plan run, and of layers and models: access to parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from gpunn.common.config import resolve_dtype
from gpunn.common.holds import Access
from gpunn.common.names import numbered
from gpunn.common.numeric import cast

from .storage import Parameter


class Runnable:
    """Base class of what a node of a plan runs: a layer, or work on the output of one."""

    name: str
    takes_list = False
    """True for one that reads a list of arrays: `build` and `compute_output_shape` get a list of
    shapes, and ``call.xs`` and ``call.dxs`` hold the same number of arrays."""
    activity_regularizer: Any = None
    _has_call = False
    """True for one that defines `call` on tensors, which is traced and differentiated."""
    _reads_integers = False
    """True for one that gets integers and booleans unconverted; others get floats."""
    _reshapes = False
    """True for one that only ever reshapes its input."""
    rows_are_independent = False
    """True for one that is not checked before several ranks divide the rows of batches."""
    _scaling: Any = None
    """The numbers a and b of one that computes ``a x + b``, which the gather of a batch can apply;
    else None."""

    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {"forward": ("is_view", "_reshapes")}

    def is_view(self, call: Any) -> bool:
        """True if, in this call, the output is the reshaped input: nothing runs."""
        return self._reshapes or call.folded

    def stream_seed(self, model_seed: int) -> int:
        """Return the key of the layer's random stream; layers with their own seed return it.

        Args:
            model_seed: The model's key.

        >>> from gpunn.layers import Dropout
        >>> Dropout(0.5).stream_seed(3), Dropout(0.5, seed=7).stream_seed(3)
        (3, 7)
        """
        return model_seed

    def _is_skipped(self, call: Any) -> bool:
        """Whether nothing runs in this call: there is no `call`, and `is_view` is True."""
        return not self._has_call and self.is_view(call)

    @property
    def _call_name(self) -> str:
        """The name of its `call` in messages."""
        return f"{self.name}.call"


class ParameterHolder:
    """The methods of both layers and models for their parameters."""

    name: str

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer, in the order of their declaration."""
        raise TypeError(f"{type(self).__name__} must define weights.")

    def _require_values(self, method: str) -> None:
        """Make sure that the parameters have values, or raise an error that names ``method``."""
        raise TypeError(f"{type(self).__name__} must define _require_values(method).")

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The parameters that updates change, in the order of `weights`.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2, name="dense")])
        >>> [p.path for p in model.trainable_weights]
        ['dense/kernel', 'dense/bias']
        """
        return [p for p in self.weights if p.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """State, such as moving averages, and the parameters of frozen layers.

        >>> import gpunn
        >>> layer = gpunn.layers.BatchNormalization()
        >>> layer.build((None, 3))
        >>> [p.name for p in layer.non_trainable_weights]
        ['moving_mean', 'moving_variance']
        """
        return [p for p in self.weights if not p.trainable]

    # Keras has all of these.
    parameters = variables = property(lambda self: self.weights, None, None, "`weights`.")
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights
    compute_dtype = variable_dtype = property(
        lambda self: resolve_dtype(self.dtype), None, None,
        "The dtype of its floats: `dtype`, or the default.",
    )  # fmt: skip

    @property
    def dtype_policy(self) -> Any:
        """The dtype of its floats, as a policy.

        >>> import gpunn
        >>> gpunn.layers.Dense(2, dtype="float64").dtype_policy.name
        'float64'
        """
        policies = import_module("gpunn.compat.dtype_policies")  # which few programs need
        return policies.DTypePolicy(self.compute_dtype)

    @property
    def metrics_variables(self) -> list[Any]:
        """The variables of all its metrics, in order.

        >>> import gpunn
        >>> gpunn.layers.Dense(2).metrics_variables
        []
        """
        return [v for metric in self.metrics for v in metric.variables]  # type: ignore[attr-defined]

    @property
    def _own_parameters(self) -> list[Parameter]:
        """The parameters that it has declared itself."""
        raise TypeError(f"{type(self).__name__} must define _own_parameters.")

    @property
    def _layers_inside(self) -> list[Any]:
        """The layers that it contains."""
        return list(dict.fromkeys(inner for _, inner in self._attributes_inside()))

    def _attributes_inside(self) -> Iterator[tuple[str, Any]]:
        """Yield the layers that it contains, with the attributes that hold them."""
        raise TypeError(f"{type(self).__name__} must define _attributes_inside().")

    def _flatten_layers(self, include_self: bool = True, recursive: bool = True) -> list[Any]:
        """Return the layers that it contains, at any depth, by the name that code written for Keras
        calls; ``recursive=False`` returns those of its own."""
        inside = self._layers_inside
        for layer in inside if recursive else ():
            inside.extend(one for one in layer._layers_inside if one not in inside)
        return [self, *inside] if include_self else inside

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield all parameters with their paths in it: its own by name, then those of layers
        inside, prefixed with the attribute that holds the layer (``"hidden/0/kernel"``).

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
        >>> [(path, p.shape) for path, p in model.named_parameters()]
        [('0/kernel', (3, 2)), ('0/bias', (2,))]
        """
        seen, names = set[int](), set[str]()
        for p in self._own_parameters:
            seen.add(id(p))
            names.add(name := numbered(p.name, names))  # another layer may have named it
            yield name, p
        for path, inner in self._attributes_inside():
            for name, p in inner.named_parameters():
                if id(p) not in seen:
                    seen.add(id(p))
                    yield f"{path}/{name}", p

    def _name_parameters(self, path: str = "") -> None:
        """Set the paths of the parameters of layers inside, from the names of the layers."""
        for inner in self._layers_inside:
            for p in inner._own_parameters:
                p.within = f"{path}{self.name}/{inner.name}/{p.name}"
            inner._name_parameters(f"{path}{self.name}/")

    def count_params(self) -> int:
        """Return the number of values in all parameters; masked kernels count their connections.

        Raises:
            ValueError: if the input shape is not known yet.

        >>> import gpunn
        >>> gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)]).count_params()  # 3 * 2 + 2
        8
        """
        self._require_values("count_params")
        return sum(p.count for p in self.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all parameters as NumPy arrays, in the order of `weights`.

        Raises:
            ValueError: if the input shape is not known yet.

        >>> import gpunn
        >>> layer = gpunn.layers.Dense(2, kernel_initializer="ones")
        >>> layer.build((None, 1))
        >>> [array.tolist() for array in layer.get_weights()]
        [[[1.0, 1.0]], [0.0, 0.0]]
        """
        self._require_values("get_weights")
        return self._access().read(lambda: [p.numpy() for p in self.weights])

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all parameters.

        Args:
            weights: an array for each parameter, in the order of `weights` and of its shape.

        Raises:
            ValueError: if their number or a shape differs, or for a finite number that would
                become infinite in the dtype of the parameter; then nothing is changed.

        >>> import gpunn
        >>> layer = gpunn.layers.Dense(1)
        >>> layer.build((None, 2))
        >>> layer.set_weights([[[1.0], [2.0]], [10.0]])
        >>> layer([[3.0, 4.0]]).tolist()  # 3 * 1 + 4 * 2 + 10
        [[21.0]]
        """
        self._require_values("set_weights")
        arrays = [np.asarray(w) for w in weights]
        if len(arrays) != len(self.weights):
            raise ValueError(
                f"{self.name} has {len(self.weights)} weight arrays; got {len(arrays)}."
            )
        for k, parameter in enumerate(self.weights):
            parameter.check(arrays[k])
            if parameter.integers is None and arrays[k].dtype.kind == "f":
                arrays[k] = cast(arrays[k], parameter._storage().dtype, parameter.path)
        with self._access().writing():
            for parameter, array in zip(self.weights, arrays, strict=True):
                parameter.assign(array)

    def _shape_of_build(self) -> Any:
        """Return the input shape (None, ...) that it is built for; None if it is not."""
        raise TypeError(f"{type(self).__name__} must define _shape_of_build().")

    def get_build_config(self) -> dict[str, Any] | None:
        """Return what `build_from_config` builds an equal object from; None if it is not built.

        A class may replace both. Files then hold what it returns, as JSON-serializable values.

        >>> import gpunn
        >>> layer = gpunn.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> layer.get_build_config()
        {'input_shape': (None, 3)}
        """
        shape = self._shape_of_build()
        return None if shape is None else {"input_shape": shape}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Build it as `get_build_config` has described.

        Args:
            config: ``input_shape``; or ``shapes_dict``, the arguments of `build` by name.

        >>> import gpunn
        >>> layer = gpunn.layers.Dense(2)
        >>> layer.build_from_config({"input_shape": (None, 3)})
        >>> layer.kernel.shape
        (3, 2)
        """
        if "shapes_dict" in config:
            self.build(**config["shapes_dict"])  # type: ignore[attr-defined]
        elif (shape := config.get("input_shape")) is not None:
            plain = isinstance(shape, list) and not any(isinstance(n, list) for n in shape)
            self.build(tuple(shape) if plain else shape)  # type: ignore[attr-defined]

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Put what a file holds of this layer or model, without those inside, into ``store``.

        By default these are the values of its weights, by their numbers. A class that replaces it
        adds arrays of its own, and loads them in `load_own_variables`.

        Args:
            store: the arrays by name.

        >>> import gpunn
        >>> layer = gpunn.layers.Dense(1, kernel_initializer="ones")
        >>> layer.build((None, 2))
        >>> store = {}; layer.save_own_variables(store)
        >>> {name: array.tolist() for name, array in store.items()}
        {'0': [[1.0], [1.0]], '1': [0.0]}
        """
        store |= {str(k): p.numpy() for k, p in enumerate(self._own_parameters)}

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Set what `save_own_variables` has put into ``store``.

        Raises:
            ValueError: if it lacks a weight, or has one of another shape.

        >>> import gpunn
        >>> layer = gpunn.layers.Dense(1, use_bias=False)
        >>> layer.build((None, 2))
        >>> layer.load_own_variables({"0": [[1.0], [2.0]]}); layer([[3.0, 4.0]]).tolist()
        [[11.0]]
        """
        own = self._own_parameters
        missing = [str(k) for k in range(len(own)) if str(k) not in store]
        if missing:
            raise ValueError(
                f"{self.name} has {len(own)} weights of its own, but the store lacks the entries "
                f"{', '.join(missing)}; it has {', '.join(map(str, store)) or 'none'}."
            )
        arrays = [np.asarray(store[str(k)]) for k in range(len(own))]
        for parameter, array in zip(own, arrays, strict=True):
            parameter.check(array)
        with self._access().writing():
            for parameter, array in zip(own, arrays, strict=True):
                parameter.assign(array)

    def _access(self) -> Access:
        """Return the access to the parameters' arrays: all have one storage, if there are any."""
        storage = next((p.storage for p in self.weights if p.storage is not None), None)
        return Access() if storage is None else storage.access
