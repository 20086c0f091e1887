"""Options, hooks and fixtures shared by several test modules."""

from __future__ import annotations

import contextlib
import gc
import os
import runpy
import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import compiled_once
import emulated  # noqa: F401  makes GPUNN_BACKEND=emulated known
import pytest
from scripts import Scripts
from selection import PLUGINS
from selection.scope import FILES_OF_A_GPU, is_more

from benchmarks.gpu import nvrtc
from gpunn import backends
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.cupy.driver.gpu import why_not as why_no_gpu
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.common import atomic_files, registry
from gpunn.common.config import run_eagerly, set_floatx
from gpunn.datasets import mnist as source
from gpunn.saving.onnx import export as onnx_export

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

for _name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"):
    os.environ.pop(_name, None)  # a git hook sets them: tests would commit where it runs
os.fsync = lambda fd: None  # a sync takes ten milliseconds, and no test simulates a power failure
nvrtc.CACHE = compiled_once.folder("nvrtc")  # an unchanged kernel is compiled once
with contextlib.suppress(ImportError):  # `make gpu` does without it
    import hypothesis

    hypothesis.settings.register_profile("untimed", deadline=None)  # the machine may be busy
    hypothesis.settings.load_profile("untimed")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell started pytest in the background, where it and its child processes ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Define the `timeout` option without pytest-timeout too: `make gpu` needs no plugins."""
    for plugin in PLUGINS:
        pluginmanager.register(plugin)
    parser.addoption(
        "--eagerly", action="store_true",
        help="run steps eagerly (gpunn.config.run_eagerly), without the tests marked traced",
    )  # fmt: skip
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "seconds a test may take, if pytest-timeout is there")


class NamedAtOnce:
    """Names a test as soon as it fails: a run that is cut off, or watched, has said which."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = (crash.message if crash else report.longreprtext).partition("\n")[0]
            terminal.write_line(f"\n{report.nodeid} failed in its {report.when}: {why}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(NamedAtOnce(config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that need a GPU if there is none, unless the GPU backend is requested.

    Skip tests of the compiled kernels if there are none: `test_compiled_library.py` checks
    whether that is a fault.
    """
    if not is_more(config):
        config.hook.pytest_deselected(items=[i for i in items if i.get_closest_marker("more")])
        items[:] = [item for item in items if not item.get_closest_marker("more")]
    # Slow tests first: one that starts last would run alone while the other processes are idle.
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
    if config.getoption("eagerly"):
        run_eagerly(True)
        traced = [item for item in items if item.get_closest_marker("traced")]
        config.hook.pytest_deselected(items=traced)
        items[:] = [item for item in items if item not in traced]
    needy = [item for item in items if item.get_closest_marker("gpu")]
    config.stash[FILES_OF_A_GPU].update(item.nodeid.partition("::")[0] for item in needy)
    if needy and os.environ.get("GPUNN_BACKEND") != "cupy" and why_no_gpu() is not None:
        config.hook.pytest_deselected(items=needy)
        items[:] = [item for item in items if item not in needy]
    reason = cpu_kernels.why_not()
    for item in items if reason is not None else ():
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "compiled" in [value for value in values if isinstance(value, str)]:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        for name in ("host", "nvrtc"):
            compiled_once.forget_old(name)


def pytest_collection_finish() -> None:
    """Exclude the collected tests from garbage collection: they are thousands of objects that stay.

    Each collection that a test requests would otherwise take half a second.
    """
    pass_over_what_stays()


def pass_over_what_stays() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)  # automatic collections took a thirtieth of the time


@pytest.fixture(params=[pytest.param("cupy", marks=pytest.mark.gpu), "emulated"])
def gpu(request: pytest.FixtureRequest) -> str:
    """The name of each backend that runs the CUDA kernels: on a GPU, and emulated."""
    return request.param


@pytest.fixture(params=["compiled", pytest.param("cupy", marks=pytest.mark.gpu), "emulated"])
def other(request: pytest.FixtureRequest) -> str:
    """The name of each backend except NumPy's."""
    return request.param


@pytest.fixture(autouse=True)
def _backend_put_back() -> Iterator[None]:
    """Restore the chosen backend after each test."""
    with backends.choice_put_back():
        yield


@pytest.fixture(autouse=True, scope="module")
def _backend_of_fixtures_put_back() -> Iterator[None]:
    """Restore what the fixtures of a module chose, for the modules after it."""
    with backends.choice_put_back():
        yield


@pytest.fixture(autouse=True)
def _exported_files_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ONNX's checker on every file that a test exports, shapes and dtypes included."""

    def checked(path: str, pieces: Any) -> None:
        import onnx

        onnx.checker.check_model(onnx.load_from_string(b"".join(pieces)), full_check=True)
        atomic_files.atomic_write(path, pieces)

    monkeypatch.setattr(onnx_export, "atomic_write", checked)


@pytest.fixture(params=["numpy", "compiled", "emulated"])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend that needs no GPU."""
    return request.param


@pytest.fixture(
    params=["numpy", "compiled", pytest.param("cupy", marks=pytest.mark.gpu), "emulated"]
)
def every_backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend. `make gpu` runs the test files that use this fixture."""
    return request.param


@pytest.fixture
def rotation(request: pytest.FixtureRequest) -> int | None:
    """The number that chooses what a run of the whole suite takes of much; None for all of it."""
    return request.config.getoption("rotation")


@pytest.fixture
def doubles() -> Iterator[None]:
    """Numbers are float64 by default."""
    set_floatx("float64")
    yield
    set_floatx("float32")


@pytest.fixture
def no_backend_yet() -> Iterator[None]:
    """No backend is chosen, created or announced, as in a new process."""
    with backends.as_in_a_new_process():
        yield


@pytest.fixture(scope="session")
def mnist() -> tuple:
    """The real MNIST, `((x_train, y_train), (x_test, y_test))`, downloaded at the first use."""
    return source.load_data()


@pytest.fixture(scope="session")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keras on PyTorch; like PyTorch here, it is installed for one version of Python."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("Keras is compared with on Python 3.11")
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["KERAS_HOME"] = str(tmp_path_factory.mktemp("keras"))  # it writes a file there
    import keras

    assert keras.backend.backend() == "torch"
    pass_over_what_stays()  # as for the tests
    return keras


@pytest.fixture
def keras_as_elsewhere(keras: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Keras with its ScheduleFreeAdamW as on TensorFlow and JAX. It keeps ``momentum.value`` for
    later: on PyTorch that memory then holds the new values, unless reading it makes a copy."""
    import torch

    class Copied(keras.Variable):
        @property
        def value(self) -> Any:
            return super().value.clone()

        def _direct_assign(self, value: Any) -> None:
            with torch.no_grad():
                super().value.copy_(value)

    cls = keras.optimizers.ScheduleFreeAdamW
    build = cls.build

    def built(self: Any, variables: Any) -> None:
        build(self, variables)
        for momentum in self._momentums:
            momentum.__class__ = Copied

    monkeypatch.setattr(cls, "build", built)
    return keras


@pytest.fixture
def example(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., dict[str, Any]]]:
    """A function that runs an example in this process in an empty folder and returns its names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES / "lessons")  # one imports from another

    def run(name: str, *arguments: str, run_name: str | None = None) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        (path,) = EXAMPLES.rglob(f"{name}.py")
        return runpy.run_path(str(path), run_name=run_name)

    with registry.restored():  # classes that an example registers are unknown to other tests
        yield run


@pytest.fixture(scope="session")
def scripts() -> Iterator[Scripts]:
    """An object that runs scripts, each in its own process."""
    scripts = Scripts()
    yield scripts
    scripts.close()


@pytest.fixture(scope="session")
def peak() -> Callable[[Callable[[], Any]], int]:
    """A function that returns the peak number of bytes that ``work()`` allocates."""

    def measure(work: Callable[[], Any]) -> int:
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


@pytest.fixture
def recorded_pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pieces into which the NumPy backend has divided each task so far."""
    counts: list[int] = []
    parallel_for = NumpyBackend.parallel_for

    def counted(self: NumpyBackend, pieces: int, work: Callable[[int], None]) -> None:
        counts.append(pieces)
        parallel_for(self, pieces, work)

    monkeypatch.setattr(NumpyBackend, "parallel_for", counted)
    return counts
