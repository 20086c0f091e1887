"""The random numbers of functions: which ones a call draws, however it is computed.

A function has a seed and counts its calls. A call counts its draws. These three numbers determine
the numbers drawn, so that they are the same bits where Python runs the call, and where a program
does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import BATCHES, Control
from gpunn.common.config import floatx
from gpunn.common.random import draw_seed, times_seeded
from gpunn.common.registry import is_own
from gpunn.distribution.communicator import active_shard

from .plan import Call

STREAMS = 1 << 32
"""The n-th draw in a call uses the random stream of its node, plus n times this number."""


APART = 0x9E3779B97F4A7C15
"""The seeds of adjacent ranks differ by this number, 2**64 over the golden ratio, so that few sums
meet."""


class DrawPosition(NamedTuple):
    """Where draws begin: a key and counters, as of Philox.

    Attributes:
        seed: the key of draws without a seed of their own.
        counter: the counter of these draws.
        own_counter: the counter of draws with a seed of their own.
        first: the number of the next draw in the call.
    """

    seed: int
    counter: int
    own_counter: int
    first: int = 0

    @property
    def stream(self) -> tuple[int, int, int]:
        """What is the same in each call of a function: the seed, the number of the next draw, and
        the difference of the counters."""
        return self.seed, self.first, self.own_counter - self.counter


class Draws:
    """The draws of one call.

    Attributes:
        count: how many there were so far.
    """

    def __init__(self, position: DrawPosition) -> None:
        self._position, self.count = position, 0

    def next(self) -> int:
        """Return the number of the next draw, counted from 1 in the order of the program."""
        self.count += 1
        return self.count

    @property
    def position(self) -> DrawPosition:
        """Where the next draw is."""
        return self._position._replace(first=self.count)


class _Active(threading.local):
    draws: Draws | None = None


_active = _Active()


def active_draws() -> Draws | None:
    """Return the draws of the function that Python runs in this thread; None outside of one."""
    return _active.draws


def draws_here(layer: Any) -> bool:
    """Whether a layer, which is called outside of a trace, has to draw as a function does.

    Layers that encode on the host work on arrays alone. Code of others than the framework may draw.
    """
    if active_draws() is None:
        return False
    inside = layer._with_layers_inside()
    on_host = any(getattr(one, "_on_host", False) for one in inside)
    return any(map(_may_draw, inside)) and not on_host


def _may_draw(layer: Any) -> bool:
    rates = (getattr(layer, name, False) for name in ("draws", "dropout", "recurrent_dropout"))
    return not is_own(layer) or any(rates)


class Source:
    """The random numbers of a function, from call to call.

    `gpunn.utils.set_random_seed` lets it begin again with a new seed; draws with a seed of their
    own go on.

    Args:
        seed: of its draws; by default it is drawn when the function is first called.
        seen: what `times_seeded` returned when the seed was drawn; by default what it returns now.

    Attributes:
        calls: how many there were so far.
    """

    def __init__(self, seed: int | None = None, seen: int | None = None) -> None:
        self._seed, self._begun = seed, 0  # with the call of this number
        self.calls, self._seen = 0, times_seeded() if seen is None else seen
        self._lock = threading.Lock()

    @property
    def origin(self) -> tuple[int, int]:
        """The seed, which differs between the ranks of a step, and the number of the first call
        with it."""
        if self._seed is None or self._seen != times_seeded():
            with self._lock:
                self._renew()
        assert self._seed is not None
        shard = active_shard()
        if shard is None or not shard.ranks.rank:
            return self._seed, self._begun
        return (self._seed + shard.ranks.rank * APART) % 2**64, self._begun

    def _renew(self) -> None:
        seen = times_seeded()
        if self._seed is None or self._seen != seen:
            self._begun = self.calls if self._seen != seen else self._begun
            self._seed, self._seen = draw_seed(), seen

    def take(self, calls: int = 1) -> DrawPosition:
        """Begin so many calls; return where the draws of the first one are."""
        seed, begun = self.origin
        with self._lock:
            number, self.calls = self.calls, self.calls + calls
        return DrawPosition(seed, number - begun, number)

    def give_back(self, calls: int) -> None:
        """Begin so many calls fewer, since an error came before them."""
        with self._lock:
            self.calls -= calls

    def pass_over(self) -> DrawPosition | None:
        """Count a call that draws nothing, which has no place."""
        self.calls += 1
        return None

    @contextmanager
    def call(self) -> Iterator[None]:
        """Return a context in which Python runs a call; one inside another is a part of it."""
        if _active.draws is not None:
            yield
            return
        _active.draws = Draws(self.take())
        try:
            yield
        finally:
            _active.draws = None

    def state(self) -> list[int]:
        """Return what the draws of later calls depend on."""
        return [*self.origin, self.calls]

    def restore(self, state: Sequence[int]) -> None:
        """Go on from a state."""
        with self._lock:
            self._seed, self._begun, self.calls = state
            self._seen = times_seeded()

    def __getstate__(self) -> dict[str, Any]:
        """Whether a new seed is due is known, not how often seeds were set elsewhere."""
        return {**vars(self), "_lock": None, "_seen": self._seen == times_seeded()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        seen = times_seeded() if state["_seen"] else -1
        vars(self).update(state, _lock=threading.Lock(), _seen=seen)


# -- the calls that layers and random numbers in a function belong to


def context_of(backend: Backend, seed: int, dtype: str | None = None) -> Call:
    """Create the call that layers in an immediately computed function belong to."""
    dtype = dtype or floatx()
    backend = backend.isolated()
    return Call(backend, None, 0, dtype, False, control=Control(backend), seed=seed)


def context_at(backend: Backend, position: DrawPosition, dtype: str | None = None) -> Call:
    """Create such a call whose draws begin at a place."""
    context = context_of(backend, position.seed, dtype)
    context.stream = position.first * STREAMS
    if position.own_counter != position.counter:
        context.own_control = Control(context.backend)
    count_from(context, position)
    return context


def count_from(context: Call, position: DrawPosition) -> None:
    """Let a call draw with the counters of a place."""
    assert context.control is not None
    context.control.set(BATCHES, position.counter)
    if context.own_control is not None:
        context.own_control.set(BATCHES, position.own_counter)


def context_now(backend: Backend, dtype: str | None = None, draws: bool = True) -> Call:
    """Create such a call: it draws as the function that Python runs, or else with a new seed.

    ``draws``: whether it does.
    """
    of_call = active_draws()
    if of_call is not None:
        return context_at(backend, of_call.position._replace(first=0), dtype)
    return context_of(backend, draw_seed() if draws else 0, dtype)
