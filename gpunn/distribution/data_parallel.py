"""Keras's names for how a model is distributed: only over the rows of a batch."""

from __future__ import annotations

from typing import Any

from . import launch
from .communicator import ALONE

__all__ = ["DataParallel", "LayoutMap", "ModelParallel", "distribution", "set_distribution"]


class DataParallel:
    """Each process computes a shard of the rows of each batch; every process has all weights.

    `initialize` sets it; it is needed only after ``set_distribution(None)``.

    Args:
        device_mesh, devices: Keras's; each process has one device, so they must be None.
        auto_shard_dataset: whether each process is given whole batches, and takes its shard of
            their rows. It must be True.

    Raises:
        ValueError: for another value of these.

    >>> from gpunn.distribution import DataParallel
    >>> DataParallel()
    DataParallel()
    """

    def __init__(
        self, device_mesh: Any = None, devices: Any = None, auto_shard_dataset: bool = True
    ) -> None:
        for name, value in (("device_mesh", device_mesh), ("devices", devices)):
            if value is not None:
                raise ValueError(
                    f"DataParallel: {name} must be None; got {value!r}. Each process has one "
                    f"device; mpiexec -n N starts N of them."
                )
        if auto_shard_dataset is not True:
            raise ValueError(
                f"DataParallel: auto_shard_dataset must be True; got {auto_shard_dataset!r}. Each "
                f"process is given whole batches, and takes its shard of the rows."
            )

    def __repr__(self) -> str:
        return "DataParallel()"


_REFUSED = """Keras's ``{name}``, which gpunn does not have: creating it raises an error.

gpunn distributes the rows of a batch, and every process holds all weights; see `DataParallel`.

Raises:
    NotImplementedError: always; the message says why.

>>> from gpunn import distribution
>>> distribution.{name}()
Traceback (most recent call last):
    ...
NotImplementedError: {name} is not supported: gpunn distributes the rows of a batch, not the \
weights of a model. Use DataParallel, or initialize() alone.
"""


def _refused(name: str) -> type:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f"{name} is not supported: gpunn distributes the rows of a batch, not the weights of "
            f"a model. Use DataParallel, or initialize() alone."
        )

    about = _REFUSED.format(name=name)
    return type(name, (), {"__init__": refuse, "__doc__": about, "__module__": __name__})


ModelParallel = _refused("ModelParallel")
LayoutMap = _refused("LayoutMap")


def set_distribution(value: DataParallel | None) -> None:
    """Set how `Model.fit` is distributed from now on.

    Args:
        value: a `DataParallel`, as after `initialize`; None for trainings of each process alone,
            as in a sweep.

    Raises:
        TypeError: for anything else.

    >>> from gpunn import distribution
    >>> distribution.set_distribution(distribution.DataParallel())
    >>> distribution.set_distribution(None); print(distribution.distribution())
    None
    """
    if value is not None and not isinstance(value, DataParallel):
        raise TypeError(f"set_distribution: a DataParallel or None is expected; got {value!r}.")
    launch.use(ALONE if value is None else launch.world())


def distribution() -> DataParallel | None:
    """Return how `Model.fit` is distributed; None if each process trains alone.

    It is what `set_distribution` or `initialize` has set, as in Keras.

    Returns:
        A `DataParallel`, or None.

    >>> from gpunn import distribution
    >>> print(distribution.distribution())  # without initialize()
    None
    """
    return DataParallel() if launch.current().size > 1 else None
