"""`CustomSteps`: the methods of an optimizer for custom training steps, written by users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.backends.contract.control import UPDATES
from gpunn.core.recording import recorded
from gpunn.ops.tensor import Tensor, constant, ops
from gpunn.ops.trace import current

State = list[Tensor]


class CustomSteps:
    """Updates with given gradients, for custom steps: in place, or as a function of the state."""

    @property
    def built(self) -> bool:
        """Whether `build` has run; in a `build` of one's own, whether its slots are there.

        >>> import gpunn
        >>> gpunn.optimizers.SGD().built
        False
        """
        known = "_built_for" in vars(self) or bool(self._slots.places)  # type: ignore[attr-defined]
        return known and "_collects" not in vars(self)

    @built.setter
    def built(self, value: bool) -> None:
        """Ignored: Keras's optimizers set it in `build`."""

    if TYPE_CHECKING:  # what a class with an `update_step` has
        add_optimizer_variables: Any
        add_variable: Any
        add_variable_from_reference: Any
        assign: Any
        assign_add: Any
        assign_sub: Any
        _get_variable_index: Any

    def build(self, variables: Sequence[Any]) -> None:
        """Set the weights that `apply` and `stateless_apply` are given gradients for, and create
        the slots for them, as Keras's method of this name.

        Args:
            variables: weights, variables or NumPy arrays of floats, as for `apply`.
        """
        from .on_arrays import Update  # which `fit` does not need, like other imports here

        variables = list(variables)
        if "_collects" in vars(self):  # a class's own `build` makes slots
            return
        if variables:
            Update.of(self, variables)  # which creates the slots, with first values
        vars(self)["_built_for"] = variables

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        """Update one weight, in a class written for Keras; another one defines `rule`.

        It is called while a step is traced, and sets the weight and its slots by `assign`. The
        slots are made in `build`, with ``self.add_variable_from_reference(variable, name)`` or
        ``self.add_optimizer_variables(variables, names)``.

        Args:
            gradient: of the weight's shape.
            variable: the weight.
            learning_rate: a tensor of no axes.

        >>> import numpy as np
        >>> from gpunn import ops, optimizers
        >>> class _Sign(optimizers.Optimizer):
        ...     def update_step(self, gradient, variable, learning_rate):
        ...         self.assign_sub(variable, learning_rate * ops.sign(gradient))
        >>> w = np.array([1.0, 1.0])
        >>> _Sign(0.25).apply([[3.0, -0.01]], [w]); w.tolist()
        [0.75, 1.25]
        """
        raise TypeError(f"{type(self).__name__} must define rule(...) or update_step(...).")

    @property
    def variables(self) -> list[Any]:
        """Its state, as variables that read and set it between steps: the number of steps; the
        learning rate, unless a schedule computes it; and the slots of each weight that it was built
        for or has updated, in Keras's order.

        >>> import gpunn
        >>> optimizer = gpunn.optimizers.SGD(0.1, momentum=0.9)
        >>> optimizer.build([gpunn.Variable([1.0, 2.0], name="w")])
        >>> [v.path for v in optimizer.variables]
        ['sgd/iteration', 'sgd/learning_rate', 'sgd/w_momentum']
        >>> optimizer.variables[2].assign([0.5, 0.0]).tolist(), optimizer.variables[2].tolist()
        ([0.5, 0.0], [0.5, 0.0])
        """
        from .kept import numbers_of, slots_of

        if (trace := current()) is not None:
            trace.refuse_values(f"the state of {self.name}")  # type: ignore[attr-defined]
        places = self._places()
        dtypes = [place.dtype for place in places]
        wide = None if not places else "float64" if "float64" in dtypes else "float32"
        return [*numbers_of(self, wide), *slots_of(self, places)]

    def _places(self) -> list[Any]:
        """Return where the slots are of the weights that it was built for, or else of all that it
        has updated."""
        kept: Any = self._slots  # type: ignore[attr-defined]
        built: Sequence[Any] = vars(self).get("_built_for", ())
        if not built:
            return kept.places
        from .on_arrays import Update

        Update.of(self, built)  # they may have moved
        return [kept.known(v) for v in built]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the state.

        Args:
            weights: Values for each of `variables`, such as those of another optimizer.

        Raises:
            ValueError: for another number or shape of them; then nothing is changed.

        >>> import gpunn
        >>> one, other = gpunn.optimizers.Adam(0.5), gpunn.optimizers.Adam(0.2)
        >>> other.set_weights(one.variables)
        >>> other.learning_rate
        0.5
        """
        own = self.variables
        _check("weights", weights, [v.shape for v in own])
        for v, value in zip(own, [np.asarray(x) for x in weights], strict=True):
            v.assign(value)

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Put the values of `variables` into ``store``, by their numbers.

        >>> import gpunn
        >>> store = {}; gpunn.optimizers.SGD(0.5).save_own_variables(store)
        >>> {name: value.tolist() for name, value in store.items()}
        {'0': 0, '1': 0.5}
        """
        store |= {str(k): v.numpy() for k, v in enumerate(self.variables)}

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Set what `save_own_variables` has put into ``store``.

        Raises:
            ValueError: if it has another number of values, or of other shapes.

        >>> import gpunn
        >>> optimizer = gpunn.optimizers.SGD(0.5)
        >>> optimizer.load_own_variables({"0": 3, "1": 0.25})
        >>> optimizer.iterations, optimizer.learning_rate
        (3, 0.25)
        """
        self.set_weights([store[name] for name in sorted(store, key=int)])

    @recorded
    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any],
        trainable_variables: Sequence[Any],
    ) -> tuple[State, State]:
        """Return the weights and the state of the optimizer after a step; nothing is changed.

        Args:
            optimizer_variables: the state before, as `variables` returns it.
            grads: the gradient of each weight.
            trainable_variables: the value of each of the weights that it was built for.

        Returns:
            the values of the weights, and the state.

        Raises:
            ValueError: before `build`, and for other numbers or shapes of values.

        >>> import gpunn
        >>> optimizer = gpunn.optimizers.SGD(0.5)
        >>> optimizer.build([np.ones(2)])
        >>> weights, state = optimizer.stateless_apply(optimizer.variables, [[2.0, 4.0]], [[1, 1]])
        >>> weights[0].tolist(), int(state[0]), optimizer.iterations
        ([0.0, -1.0], 1, 0)
        """
        from .kept import in_order, key_of
        from .on_arrays import new_storages
        from .runs import Runs

        built: Sequence[Any] = vars(self).get("_built_for", ())
        if not built:
            raise ValueError(
                f"{type(self).__name__}.stateless_apply must know the weights: call "
                f"optimizer.build(model.trainable_variables) first."
            )
        # Another optimizer of the same settings, as this one's state stays as it is.
        worker: Any = type(self).from_config(self.get_config())  # type: ignore[attr-defined]
        storages = new_storages(built, self)
        own = {key_of(v): p for storage, of in storages
               for v, p in zip(of, storage.parameters, strict=True)}
        places: list[Any] = [own[key_of(v)] for v in built]
        numbers = _numbers(worker, _widest(places))
        slots = in_order(worker, places)
        wanted = [*[()] * len(numbers), *[p.shape for _, p in slots]]
        _check("optimizer_variables", optimizer_variables, wanted)
        _check("grads", grads, [p.shape for p in places])
        _check("trainable_variables", trainable_variables, [p.shape for p in places])
        count, *rates = optimizer_variables[: len(numbers)]
        for p, value, gradient in zip(places, trainable_variables, grads, strict=True):
            p.array[...] = np.asarray(value)
            p.gradient[...] = p.existing(np.asarray(gradient, p.dtype))
            p.gradient[...] /= worker.loss_scale_factor or 1.0
        for storage, _ in storages:
            storage.take_slots(worker.slots_in(storage))
        for (name, p), value in zip(slots, optimizer_variables[len(numbers) :], strict=True):
            _slot(name, p)[...] = np.asarray(value)
        if rates:
            worker.learning_rate = float(np.asarray(rates[0]))
        runs = Runs(worker, [storage for storage, _ in storages])
        runs.control.set(UPDATES, int(np.asarray(count)))
        worker.write_rates()
        runs()  # which counts it
        state = [constant(_slot(name, p), p.dtype) for name, p in slots]
        values = [constant(p.array, p.dtype) for p in places]
        return values, [*_numbers(worker, _widest(places)), *state]

    def scale_loss(self, loss: Any) -> Any:
        """Return a loss times ``loss_scale_factor``: `apply` divides its gradients by that.

        >>> from gpunn.optimizers import SGD
        >>> SGD(loss_scale_factor=8.0).scale_loss(0.5), SGD().scale_loss(0.5)
        (4.0, 0.5)
        """
        factor = self.loss_scale_factor  # type: ignore[attr-defined]
        return loss if factor is None else loss * factor

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Return gradients as a step clips them, None where they are None: by the name that methods
        written for Keras call."""
        by, limit = self.clipping or ("", 0.0)  # type: ignore[attr-defined]
        if by in ("", "value"):
            return [g if g is None or not by else ops.clip(g, -limit, limit) for g in grads]
        norms = [None if g is None else ops.norm(ops.reshape(g, (-1,))) for g in grads]
        known = [norm for norm in norms if norm is not None]
        if by == "global_norm" and known:
            norms = [ops.norm(ops.stack(known))] * len(norms)
        return [None if g is None else ops.multiply(g, limit / ops.maximum(norm, limit))
                for g, norm in zip(grads, norms, strict=True)]  # fmt: skip

    # Keras's names of what `iterations` is counted from, and of what its options keep.
    _iterations = property(lambda self: self.steps_done)
    _accumulated_gradients = property(lambda self: self._kept_as("gradient_accumulator"))
    _model_variables_moving_average = property(lambda self: self._kept_as("average"))

    def _kept_as(self, slot: str) -> list[Any]:
        """Return one slot of each weight, as variables; no options make others."""
        from .kept import slot_of

        if slot not in self.all_slot_names:  # type: ignore[attr-defined]
            return []
        return [slot_of(self, slot, place) for place in self._places()]

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Replace weights by their averages, as at the end of `fit`. Needs ``use_ema``.

        >>> from gpunn.optimizers import SGD
        >>> w, optimizer = np.array([1.0]), SGD(0.5, use_ema=True, ema_momentum=0.5)
        >>> for _ in range(2):
        ...     optimizer.apply([[1.0]], [w])
        >>> optimizer.finalize_variable_values([w]); w.tolist()
        [0.25]
        """
        from .on_arrays import Update

        if self.use_ema:  # type: ignore[attr-defined]
            Update.of(self, list(var_list)).finish(list(var_list))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> None:
        """Make one step for pairs of a gradient and a weight; see `apply`."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])

    def minimize(self, loss: Any, var_list: Sequence[Any], tape: Any = None) -> None:
        """Make one step by the gradients of ``loss()``, or of a loss that a ``tape`` recorded.

        Raises:
            ValueError: for a loss that is no function, without the tape.
        """
        from gpunn.ops.running.tape import GradientTape

        if callable(loss):
            with tape or GradientTape() as tape:
                loss = loss()
        elif tape is None:
            raise ValueError("minimize takes a function of no arguments, or a loss and its tape.")
        self.apply(tape.gradient(loss, list(var_list)), var_list)

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any] | None = None) -> None:
        """Make one step on weights, variables or plain NumPy arrays, in place. Each has slots of
        its own, which are kept between calls and freed with it; an array is known by its memory.
        Weights whose gradient is None stay as they are, with a warning.

        Args:
            gradients: one for each of the variables.
            variables: those that are changed; None: those that it was built for, see `build`.

        Raises:
            ValueError: if gradients and variables differ in number or shape, or if all gradients
                are None.

        >>> from gpunn.optimizers import SGD
        >>> w = np.array([1.0])
        >>> SGD(0.5).apply([[1.0]], [w]); w.tolist()
        [0.5]
        """
        from .on_arrays import apply_to_arrays

        if variables is None and "_built_for" not in vars(self):
            raise ValueError(
                f"{type(self).__name__}.apply was given gradients alone: pass the weights too, or "
                f"call optimizer.build(model.trainable_variables) once before."
            )
        variables = vars(self)["_built_for"] if variables is None else variables
        apply_to_arrays(self, gradients, variables)


def _numbers(optimizer: Any, dtype: str) -> State:
    from .kept import numbers_of

    return [v.as_tensor() for v in numbers_of(optimizer, dtype)]


def _slot(name: str, parameter: Any) -> Any:
    storage = parameter.storage
    return storage.segment(storage.slots[name], parameter)


def _widest(variables: Sequence[Any]) -> str:
    return "float64" if any(str(v.dtype) == "float64" for v in variables) else "float32"


def _check(name: str, given: Sequence[Any], wanted: Sequence[tuple[int, ...]]) -> None:
    got = [None if value is None else tuple(np.shape(value)) for value in given]
    if got != list(wanted):
        raise ValueError(
            f"{name} must have the shapes {list(wanted)}, those that the optimizer was built for; "
            f"got {got}."
        )
