"""Text of messages: names, counts, suggestions of known names; warnings; tracebacks of Ctrl-C."""

from __future__ import annotations

import functools
import itertools
import math
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from types import CodeType, TracebackType
from typing import Any

LOOKED_AT = 1_000  # maximum number of names that a mistyped one is compared with
_taken: dict[str, Iterator[int]] = {}


@functools.lru_cache(512)
def snake_case(name: str) -> str:
    """Convert ``"SparseCategoricalAccuracy"`` to ``"sparse_categorical_accuracy"``.

    >>> snake_case("ReLU6Gate"), snake_case("SGD"), snake_case("Conv2DTranspose")
    ('re_lu6_gate', 'sgd', 'conv2d_transpose')
    """
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z](?!$|_))", "_", name).lower()


def plain(name: str) -> str:
    """Remove the numeric suffixes that distinguish equal names: ``dense/kernel`` of
    ``dense_12/kernel``."""
    return re.sub(r"_\d+(?=/|$)", "", name)


def numbered(name: str, taken: Collection[str]) -> str:
    """Return the name, with the first number that makes it another than those that are taken.

    >>> numbered("w", ["w", "w_1"])
    'w_2'
    """
    if name not in taken:
        return name
    return next(one for n in itertools.count(1) if (one := f"{name}_{n}") not in taken)


def closest(name: str, known: list[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name closest to ``name``, or an empty string.

    Names that are equally close are all named. Of very many names only the first are compared,
    because it takes long.

    >>> closest("adm", ["adam", "sgd"]), closest("lr", ["learning_rate", "name"])
    (" Did you mean 'adam'?", " Did you mean 'learning_rate'?")
    >>> closest("Pool", ["Pool2D", "Pool1D", "Polar"])
    " Did you mean 'Pool1D' or 'Pool2D'?"
    """
    found = _by_likeness(name, known)
    best = sorted(known for likeness, known in found if likeness == found[0][0])[:3]
    return f" Did you mean {' or '.join(map(repr, best))}?" if best else ""


def nearest(name: str, known: Sequence[str], most: int = 6) -> list[str]:
    """Return the known names that are most like ``name``.

    >>> nearest("crossentropy", ["hinge", "binary_crossentropy", "poisson"])
    ['binary_crossentropy']
    """
    return [known for _, known in _by_likeness(name, known)[:most]]


def _by_likeness(name: str, known: Sequence[str]) -> list[tuple[float, str]]:
    """Return what is like a name, with a figure from 0.5 to 1, the most alike first."""
    first = sorted(known[:LOOKED_AT], reverse=True)
    spelt_once = {entry.lower().replace("_", ""): entry for entry in first}
    found = [(_likeness(name, entry), entry) for entry in spelt_once.values()]
    return sorted((pair for pair in found if pair[0] >= 0.5), key=lambda pair: -pair[0])


def _likeness(name: str, known: str) -> float:
    """Return how alike names are, from 0 to 1: the mean of that of their letters and words.

    Letters alone find "Dense" for "Noise"; words alone find no typing error.

    >>> [_likeness("Noise", known) >= 0.5 for known in ("GaussianNoise", "Dense")]
    [True, False]
    """
    from difflib import SequenceMatcher  # only for a message

    def alike(one: str, other: str) -> float:
        if len(one) > 2 and other.startswith(one):
            return 0.95  # as "norm" of "normalization"
        ratio = SequenceMatcher(None, one, other).ratio()
        return 0.9 if ratio < 1 and sorted(one) == sorted(other) else ratio

    words, parts = (re.findall("[^\\W_]+", snake_case(each)) or [each] for each in (name, known))
    text, whole = "".join(words), "".join(parts)
    if len(parts) > 1 and text == "".join(part[:1] for part in parts):
        return 0.9  # the first letters, as "lr"
    letters = SequenceMatcher(None, text, whole).ratio()
    if letters < 1 and sorted(text) == sorted(whole):
        letters = 0.95  # two letters in the other order
    each = [max(alike(word, part) for part in parts) for word in words]
    shared = 2 * sum(value for value in each if value >= 0.75) / (len(words) + len(parts))
    within = 0.8 if len(text) > 3 and text in whole else 0.0
    one_word = letters >= 0.7 and 1 in (len(words), len(parts)) and text[:1] == whole[:1]
    return (letters + max(within, shared, letters if one_word else 0.0)) / 2


def counted(number: int, noun: str, several: str | None = None) -> str:
    """Return ``number`` with its noun; the plural is ``several``, by default the noun with an s.

    >>> counted(1, "row"), counted(1200, "row"), counted(0, "class", "classes")
    ('1 row', '1,200 rows', '0 classes')
    """
    return f"{number:,} {either(number, noun, several or f'{noun}s')}"


def significant(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, and an exponent only where it is needed.

    >>> [significant(value) for value in (457_400.3, 0.123456, -2.0, 1e-5, 2.5e20)]
    ['457,400', '0.1235', '-2', '0.00001', '2.5e+20']
    >>> significant(-0.0), significant(float("nan"))
    ('0', 'nan')
    """
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0:
        return "0"
    if not 1e-5 <= abs(rounded) < 1e15:  # NaN is neither
        return f"{rounded:.{digits}g}"
    text = f"{rounded:,.{max(0, digits - 1 - math.floor(math.log10(abs(rounded))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def either(number: int, one: str, several: str) -> str:
    """Return the singular or plural form of a word for ``number`` things.

    >>> either(1, "has", "have"), either(2, "has", "have")
    ('has', 'have')
    """
    return one if number == 1 else several


def first_few(words: Iterable[str], most: int, between: str = ", ") -> str:
    """Join the first words; "..." replaces the others.

    >>> first_few(["a", "b", "c"], 2)
    'a, b, ...'
    """
    read = [*itertools.islice(words, most + 1)]
    return between.join(read if len(read) <= most else [*read[:most], "..."])


def listed(entries: Sequence[Any], most: int = 6) -> str:
    """Join the first entries, and say how many others there are.

    >>> listed([1, 2, 3], 2)
    '1, 2 and 1 more'
    """
    more = f" and {len(entries) - most:,} more" if len(entries) > most else ""
    return ", ".join(map(str, entries[:most])) + more


def unique_name(base: str) -> str:
    """Return ``base``, then ``base_1``, ``base_2``, ... in the order of the calls."""
    number = next(_taken.setdefault(base, itertools.count()))
    return f"{base}_{number}" if number else base


def forget() -> None:
    """Reset the numbers of `unique_name`."""
    _taken.clear()


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the line outside gpunn that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and is_between(frame.f_globals.get("__name__", "")):
        # `warnings` does not count the frames of imports
        level += not frame.f_globals.get("__name__", "").startswith("importlib.")
        frame = frame.f_back
    warnings.warn(message, category, stacklevel=level)


def is_between(module: str) -> bool:
    """Whether a module is gpunn's, or Python's that imports modules."""
    return module.split(".")[0] == "gpunn" or module == "importlib._bootstrap"


def shorten(stop: BaseException) -> None:
    """Leave gpunn's frames, and those of libraries that it calls, out of an interrupt's traceback.

    Where gpunn was at that moment says nothing to users, nor do errors that it was handling. Frames
    of their own, as of a callback, stay. The frame that catches the interrupt is left out too if
    it ends with a bare ``raise``.
    """
    kept: TracebackType | None = None
    for trace in reversed(_of_user(stop.__traceback__, inside=False)):
        # An instruction that Python adds to a function has no line.
        line = trace.tb_lineno or trace.tb_frame.f_code.co_firstlineno
        kept = TracebackType(kept, trace.tb_frame, trace.tb_lasti, line)
    stop.__traceback__ = kept
    while (handled := stop.__context__) is not None and handled.__traceback__ is not None:
        if _of_user(handled.__traceback__, inside=True):
            break
        stop.__context__ = handled.__context__


def _of_user(trace: TracebackType | None, inside: bool) -> list[TracebackType]:
    """Return the entries without gpunn's, and without those of libraries ``inside`` its calls."""
    own = list[TracebackType]()
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        inside = is_between(module) or (inside and _is_library(module, trace.tb_frame.f_code))
        if not inside:
            own.append(trace)
        trace = trace.tb_next
    return own


def _is_library(module: str, code: CodeType) -> bool:
    """Whether code is Python's, an installed package's or made from text, not the user's."""
    package = sys.modules.get(module.split(".")[0])
    file = getattr(package, "__file__", None) or code.co_filename
    python = (os.path.dirname(os.__file__), "<frozen ")
    made = not module or module.startswith("namedtuple_")
    return made or file.startswith(python) or "-packages" in file


def shorten_what_ends_programs() -> None:
    """Shorten the traceback of an interrupt that Python, or a notebook, prints.

    So the entries of operations, layers and tapes need nothing that would take time in each call.
    """
    before = sys.excepthook

    def show(kind: type[BaseException], stop: BaseException, trace: TracebackType | None) -> None:
        if isinstance(stop, KeyboardInterrupt):
            shorten(stop)
            trace = stop.__traceback__
        before(kind, stop, trace)

    def show_in_notebook(shell: Any, kind: Any, stop: Any, _: Any, tb_offset: Any = None) -> None:
        shorten(stop)
        shell.showtraceback((kind, stop, stop.__traceback__), tb_offset=tb_offset)

    sys.excepthook = show
    notebooks = sys.modules.get("IPython")
    shell = notebooks and notebooks.get_ipython()
    if shell and not shell.custom_exceptions:
        shell.set_custom_exc((KeyboardInterrupt,), show_in_notebook)
