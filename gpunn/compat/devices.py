"""Devices by TensorFlow's and Keras's names: which of them computes, and a GPU's memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, NamedTuple

from gpunn.backends import fastest_on_cpu, get_backend, use_backend, used_within
from gpunn.backends.cupy.driver import gpus
from gpunn.backends.cupy.driver.gpu import why_not

__all__ = ["device"]

_NAME = re.compile(r"/?(?:physical_device:|device:)?(cpu|gpu|cuda)(?::(\d+))?", re.IGNORECASE)


class PhysicalDevice(NamedTuple):
    """A device of this machine."""

    name: str
    device_type: str

    @property
    def number(self) -> int:
        return int(self.name.rpartition(":")[2])


class LogicalDeviceConfiguration(NamedTuple):
    """The megabytes (of 1024 * 1024 bytes) that arrays may take on a GPU; None for all."""

    memory_limit: float | None = None
    experimental_priority: Any = None


def device(device_name: str) -> AbstractContextManager[None]:
    """Return a ``with`` block in which this device computes, in this thread.

    Models keep the device that they were made on.

    Args:
        device_name: ``"cpu"``, ``"gpu"`` or ``"gpu:1"`` for the second GPU, as
            ``nvidia-smi`` and ``CUDA_VISIBLE_DEVICES`` number them; also ``"cuda:1"`` and
            ``"/device:GPU:1"``.

    Raises:
        ValueError: for another name.
        RuntimeError: if there is no such GPU, or none that can be used.

    >>> import gpunn
    >>> with gpunn.device("cpu"):
    ...     model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    >>> model.backend.name in ("compiled", "numpy")
    True
    """
    kind, number = _parsed(device_name, "device_name")
    if kind == "CPU":
        return used_within(fastest_on_cpu())
    return used_within(gpus.backend_of(number))


def _parsed(name: Any, argument: str) -> tuple[str, int | None]:
    """Return the type of a device, and its number or None."""
    found = _NAME.fullmatch(str(getattr(name, "name", name)))
    if found is None:
        raise ValueError(f"{argument} must be a name such as 'cpu' or 'gpu:0'; got {name!r}.")
    kind = "CPU" if found[1].lower() == "cpu" else "GPU"
    return kind, None if found[2] is None else int(found[2])


def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """Return the CPU, and each GPU if they can be used."""
    return _listed(gpus.numbers(), device_type)


def _listed(numbers: list[int], device_type: str | None) -> list[PhysicalDevice]:
    kinds = [("CPU", 0), *(("GPU", k) for k in numbers)]
    found = [PhysicalDevice(f"/physical_device:{kind}:{k}", kind) for kind, k in kinds]
    return [d for d in found if device_type in (None, d.device_type)]


def get_visible_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """Return the devices that models created now may use, see `set_visible_devices`."""
    return _listed(gpus.numbers_of(get_backend().name), device_type)


def set_visible_devices(devices: Any, device_type: str | None = None) -> None:
    """Choose the devices of models created from now on: a GPU, or else the CPU.

    Args:
        devices: One of `list_physical_devices`, or a list of them.
        device_type: ``"GPU"`` or ``"CPU"``: only devices of this type are chosen.

    Raises:
        ValueError: for some of several GPUs: a model has one, `gpunn.device` says which.
    """
    several = isinstance(devices, Sequence) and not isinstance(devices, (str, PhysicalDevice))
    chosen = [_existing(d) for d in (devices if several else [devices])]
    for one in chosen:
        if device_type not in (None, one.device_type):
            raise ValueError(f"devices must be of the type {device_type!r}; got {one.name!r}.")
    numbers = sorted({d.number for d in chosen if d.device_type == "GPU"})
    if device_type == "CPU" or (numbers and numbers == gpus.numbers()):
        use_backend("auto")
    elif len(numbers) > 1:
        raise ValueError(
            f"devices has {len(numbers)} GPUs, and a model computes on one: pass one GPU, and "
            f"choose others where models are made, with gpunn.device('gpu:1')."
        )
    else:
        use_backend(gpus.backend_of(numbers[0]) if numbers else fastest_on_cpu())


def _existing(device: Any) -> PhysicalDevice:
    kind, number = _parsed(device, "devices")
    for one in list_physical_devices(kind):
        if one.number == (number or 0):
            return one
    raise ValueError(f"There is no device {device!r}: see list_physical_devices().")


def get_memory_info(device: Any) -> dict[str, int]:
    """Return the bytes of a GPU's memory that arrays take, and that CuPy has taken at most.

    Args:
        device: Its name, such as ``"GPU:0"``.

    Returns:
        ``{"current": bytes of arrays, "peak": bytes of CuPy's memory pool}``.
    """
    used, taken = gpus.memory(_number(device))
    return {"current": used, "peak": taken}


def set_memory_growth(device: Any, enable: bool) -> None:
    """Do nothing: memory is always taken as it is needed."""
    if not enable:
        raise ValueError("gpunn allocates GPU memory as it needs it, never all of it at first.")


def set_logical_device_configuration(device: Any, logical_devices: Any) -> None:
    """Limit the memory that arrays take on a GPU.

    Args:
        device: One of `list_physical_devices`.
        logical_devices: A list with one `LogicalDeviceConfiguration`.
    """
    wanted = list(logical_devices)
    if len(wanted) != 1:
        raise ValueError(
            f"logical_devices must hold one configuration, as gpunn does not divide a GPU; got "
            f"{len(wanted)}."
        )
    limit = wanted[0].memory_limit
    gpus.limit_memory(_number(device), int((limit or 0) * (1 << 20)))


def _number(name: Any) -> int:
    """Return the number of a GPU that can be used, or raise a ValueError."""
    kind, number = _parsed(name, "device")
    if kind == "CPU":
        raise ValueError(f"device must be a GPU, such as 'GPU:0'; got {name!r}.")
    if (reason := why_not()) is not None:
        raise ValueError(f"There is no device {name!r}. {reason}")
    return _existing(f"GPU:{number or 0}").number


CONFIG: dict[str, Any] = {
    "list_physical_devices": list_physical_devices,
    "list_logical_devices": list_physical_devices,
    "get_visible_devices": get_visible_devices,
    "set_visible_devices": set_visible_devices,
    "get_memory_info": get_memory_info,
    "LogicalDeviceConfiguration": LogicalDeviceConfiguration,
    "set_logical_device_configuration": set_logical_device_configuration,
    "experimental": SimpleNamespace(
        list_physical_devices=list_physical_devices,
        get_visible_devices=get_visible_devices,
        set_visible_devices=set_visible_devices,
        get_memory_info=get_memory_info,
        set_memory_growth=set_memory_growth,
        VirtualDeviceConfiguration=LogicalDeviceConfiguration,
        set_virtual_device_configuration=set_logical_device_configuration,
        enable_op_determinism=lambda: None,  # the same seed always gives the same bits
    ),
}
"""Names of ``tf.config`` about devices."""
