"""Test the line that is shown while an epoch runs, and when it is over."""

import io
import os
import re
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpunn
from gpunn import callbacks
from gpunn.callbacks import progress_bar
from gpunn.callbacks.streams import check_verbose


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    """A clock that advances only when a test says so."""
    now = SimpleNamespace(seconds=0.0)
    fake = SimpleNamespace(perf_counter=lambda: now.seconds)
    with mock.patch.object(progress_bar, "time", fake):
        yield now


LOGS = {"loss": 0.29824, "accuracy": 0.91345}


def show(stream, verbose, epochs=2, samples=60000, validation=True, steps=4, clock=None, each=1.0):
    bar = callbacks.ProgressBar(stream)
    bar.set_params({"epochs": epochs, "samples": samples, "verbose": verbose})
    bar.set_model(
        SimpleNamespace(_programs=SimpleNamespace(known_logs=LOGS.copy))
    )
    bar.on_train_begin()
    logs = dict(LOGS)
    if validation:
        logs |= {"val_loss": 0.14216, "val_accuracy": 0.95768}
    for epoch in range(epochs):
        bar.on_epoch_begin(epoch)
        for step in range(1, steps + 1):
            if clock:
                clock.seconds += each
            bar.on_train_progress(samples * step // steps if samples else step, samples)
        bar.on_epoch_end(epoch, logs)
    bar.on_train_end(logs)
    return stream.getvalue()


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
def test_one_plain_line_an_epoch_where_there_is_no_terminal(verbose):
    legend, *lines = show(io.StringIO(), verbose).splitlines()
    assert "running means" in legend and "val_ figures are validation" in legend
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert line.startswith(f"{number}/2 loss 0.2982 acc 0.9134 val_loss 0.1422 val_acc 0.9577")
        assert "/s" in line and line.endswith("left")
    assert all(len(line) <= 80 for line in (legend, *lines))


class Twice(gpunn.Sequential):
    def train_step(self, data):
        return {"twice": 2 * super().train_step(data)["loss"]}


def test_figures_of_a_train_step_are_those_that_it_returned(clock):
    """Also while the epoch runs."""
    stream = Terminal()
    model = Twice([gpunn.Input((1,)), gpunn.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(gpunn.optimizers.SGD(0.0), "mse")
    bar = callbacks.ProgressBar(stream)
    model.fit(np.ones((12, 1)), np.full((12, 1), 3.0), 4, callbacks=[bar], verbose=1)
    legend, *lines = re.split(r"[\r\n]+", stream.getvalue().strip())
    assert "what train_step returned last" in legend and "means" not in legend
    assert all("loss" not in line for line in lines)
    assert any("twice 18.0" in line for line in lines)


def bars_of(text):
    return [part for part in text.split("\r") if "%|" in part]


def test_a_bar_while_an_epoch_runs_and_one_line_when_it_is_over(clock):
    text = show(Terminal(), 1, clock=clock)
    visible = [line.split("\r")[-1] for line in text.split("\n")]
    assert [line.split(" loss")[0] for line in visible[1:-1]] == ["1/2", "2/2"]
    bars = bars_of(text)
    assert len(bars) == 8
    assert "Epoch 1/2  50%|" in bars[1]
    assert bars[1].rstrip().endswith("|  loss 0.2982  acc 0.9134  15.0k/s  00:06 left")
    assert all(len(bar) <= 80 for bar in bars)


def test_the_bar_is_not_drawn_with_every_step(clock):
    """Of a thousand steps of 1 ms each, it is drawn at the first, then five times a second."""
    text = show(Terminal(), 1, clock=clock, epochs=4, steps=250, each=0.001)
    assert 4 <= len(bars_of(text)) <= 6 and text.count("loss 0.2982") >= 4


@pytest.mark.skipif(os.name == "nt", reason="there are no such terminals")
def test_the_bar_is_as_wide_as_the_terminal(clock):
    """Use a real terminal whose window is resized while an epoch runs."""
    import fcntl
    import struct
    import termios
    import tty

    def resize(width):
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))

    theirs, ours = os.openpty()
    tty.setraw(ours)
    with open(ours, "w", encoding="utf-8") as stream:
        bar = callbacks.ProgressBar(stream)
        bar.set_params({"epochs": 1, "verbose": 1})
        bar.set_model(
            SimpleNamespace(_programs=SimpleNamespace(known_logs=LOGS.copy))
        )
        bar.on_train_begin()
        bar.on_epoch_begin(0)
        for width in (120, 40, 25):
            resize(width)
            clock.seconds += 1
            bar.on_train_progress(600, 1000)
        bar.release()
        print("finished", file=stream, flush=True)
        written = b""
        while b"finished" not in written:  # the output arrives in pieces
            written += os.read(theirs, 1000)
    os.close(theirs)
    text = written.decode()
    wide, narrow, least = (shown.strip("\n ") for shown in bars_of(text))
    assert "loss 0.2982  accuracy 0.9134  600 samples/s  00:00 left" in wide
    assert len(wide) == 119
    assert len(narrow) <= 39 and "loss 0.2982" in narrow and "accuracy" not in narrow
    assert len(least) <= 24 and "60%" in least


def test_the_bar_is_gone_after_an_error(clock):
    stream = Terminal()
    x, y = np.ones((64, 2)), np.ones((64, 1))
    model = gpunn.Sequential([gpunn.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])

    def stop(batch, logs):
        clock.seconds += 1
        if batch == 2:
            raise RuntimeError

    watch = callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(RuntimeError):
        model.fit(x, y, batch_size=8, verbose=1, callbacks=[callbacks.ProgressBar(stream), watch])
    text = stream.getvalue()
    assert re.search(r"25%\|.*\|  loss \d+\.\d{4}  mae \d", text)
    assert text.endswith("\r") and not text.split("\r")[-2].strip()


@pytest.mark.parametrize(("stream", "taken"), [(Terminal(), 1), (io.StringIO(), 2), (None, 2)])
def test_auto_is_a_bar_where_somebody_looks_on(stream, taken):
    with mock.patch("sys.stdout", stream):
        assert check_verbose("auto") == taken
    assert [check_verbose(value) for value in (0, 1, 2, True, np.int64(2))] == [0, 1, 2, 1, 2]
    for wrong in (3, "0", "loud", None):
        with pytest.raises(ValueError, match="verbose must be 0, 1, 2 or 'auto'"):
            check_verbose(wrong)


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_silence(stream):
    assert show(stream(), 0) == ""
    assert "\r" not in show(stream(), 2)


def test_the_number_of_samples_may_be_unknown():
    text = show(Terminal(), 1, samples=None)
    assert "1/2 loss" in text and "Epoch 1/2  1 samples  loss 0.2982" in text


@given(
    st.integers(1, 10**6),
    st.dictionaries(st.from_regex(r"\A(val_)?[a-z_]{1,40}\Z"), st.floats(-1e9, 1e9), max_size=12),
)
def test_every_line_fits_and_holds_everything(epochs, figures):
    """After the last epoch but one, which took more than an hour."""
    now, stream = [0.0], io.StringIO()
    with mock.patch.object(progress_bar, "time", SimpleNamespace(perf_counter=lambda: now[0])):
        bar = callbacks.ProgressBar(stream)
        bar.set_params({"epochs": epochs + 1, "verbose": 2})
        bar.on_epoch_begin(epochs - 1)
        now[0] = 3723.0
        bar.on_train_progress(116_157_600, None)
        bar.on_epoch_end(epochs - 1, figures)
    text = stream.getvalue()
    assert "31.2k" in text and text.endswith(" 1:02:03 left\n")
    assert all(len(line) <= 80 for line in text.splitlines())
    words = text.split()
    for name, value in figures.items():
        assert name in words or name.replace("accuracy", "acc") in words
        shown = [float(word) for word in words if re.fullmatch(r"-?\d[\d.e+-]*", word)]
        assert any(abs(number - value) <= max(5e-5, 5e-4 * abs(value)) for number in shown)


def test_the_bar_changes_no_number(every_backend, clock):
    """Even though it reads the figures from the device between the steps of an epoch."""

    def train(**how):
        gpunn.utils.set_random_seed(0)
        hidden = gpunn.layers.Dense(4, "relu", name="hidden")
        layers = [gpunn.Input((3,)), hidden, gpunn.layers.Dense(1, name="out")]
        model = gpunn.Sequential(layers, backend=every_backend)
        model.compile("adam", "mse", metrics=["mae"])
        x = np.random.default_rng(0).random((90, 3), np.float32)
        history = model.fit(x, x[:, :1], batch_size=8, epochs=3, **how).history
        return history, model.weights_dict()

    stream = Terminal()
    bar = callbacks.ProgressBar(stream)
    on_train_progress = bar.on_train_progress

    def later(done, total):
        clock.seconds += 1
        on_train_progress(done, total)

    bar.on_train_progress = later
    (expected, weights), (history, same) = train(verbose=0), train(verbose=1, callbacks=[bar])
    assert history == expected and len(bars_of(stream.getvalue())) >= 6
    for path, values in weights.items():
        np.testing.assert_array_equal(same[path], values)
