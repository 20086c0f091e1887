"""What callbacks are told in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .trainer import Trainer


class Logs(Mapping[str, float]):
    """Loss and metrics at a moment, read from the device only if somebody looks."""

    def __init__(self, trainer: Trainer, training: bool) -> None:
        self._trainer = trainer
        self._training = training
        self._values: dict[str, float] | None = None

    def _read(self) -> dict[str, float]:
        if self._values is None:
            self._values = self._trainer.logs(self._training)
        return self._values

    def __getitem__(self, key: str) -> float:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._trainer.log_names)

    def __repr__(self) -> str:
        return repr(self._read())
