"""Calls of layers and models with given values of their weights, as in Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.core.holder import ParameterHolder
from gpunn.ops.conversion import convert
from gpunn.ops.library.derivatives import as_tensors, at_once
from gpunn.ops.trace import current


class Stateless(ParameterHolder):
    """A layer or model as a function of its weights."""

    def stateless_call(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Call it with given values of its weights; nothing is changed.

        It can be differentiated by these values, as often as asked.

        Args:
            trainable_variables, non_trainable_variables: a tensor or array for each of the weights
                in the attribute of this name.
            args, kwargs: those of the call.
            return_losses: whether to return also what the call adds to the loss, and the penalties
                on weights.

        Returns:
            the outputs, the values that the non-trainable weights have after the call, and with
            ``return_losses`` a list of scalars.

        Raises:
            ValueError: if it is not built, or for another number or shape of values.

        >>> import gpunn
        >>> layer = gpunn.layers.Dense(1, use_bias=False)
        >>> layer.build((None, 2))
        >>> y, _ = layer.stateless_call([[[1.0], [2.0]]], [], [[3.0, 4.0]])
        >>> y.tolist()
        [[11.0]]
        """
        given = [
            *self._paired("trainable_variables", trainable_variables),
            *self._paired("non_trainable_variables", non_trainable_variables),
        ]

        def called() -> tuple[Any, ...]:
            trace = current()
            assert trace is not None
            before = len(trace.losses)
            values = [(p, convert(value, p.dtype)) for p, value in given]
            with trace.composing(), trace.reading(values, keeps=False):
                # A layer would compute at once, with its own weights, for what is no tensor.
                y = self(*as_tensors(args), **as_tensors(kwargs))  # type: ignore[operator]
                after = [trace.read(p) for p in self.non_trainable_weights]
            added = trace.losses[before:]
            del trace.losses[before:]
            if not return_losses:
                return y, after
            penalized = [(p, value) for p, value in values if getattr(p, "regularizer", None)]
            return y, after, [*added, *(p.regularizer(value) for p, value in penalized)]

        if current() is not None:
            return called()
        found: tuple[Any, ...] = at_once(called)
        return found

    def _paired(self, name: str, values: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Return the weights in an attribute with these values.

        Raises:
            ValueError: for another number or shape of values, or if it is not built.
        """
        self._require_values("stateless_call")
        weights = getattr(self, name)
        if len(values) != len(weights):
            raise ValueError(
                f"{self.name}.stateless_call: {name} has {len(weights)} entries; got {len(values)}."
            )
        for p, value in zip(weights, values, strict=True):
            shape = convert(value).shape
            if shape != tuple(p.shape):
                raise ValueError(
                    f"{self.name}.stateless_call: {p.path} has the shape {tuple(p.shape)}; got "
                    f"{shape}."
                )
        return [*zip(weights, values, strict=True)]


__all__ = ["Stateless"]
