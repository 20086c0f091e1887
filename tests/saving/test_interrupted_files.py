"""Test Ctrl-C during reading and writing: either the old or the new file is there, complete."""

import os
import random
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from interrupting import interrupt, places

import gpunn
from gpunn import callbacks, layers
from gpunn.saving import files

SAVING = Path(files.__file__).parent
FILES = {str(path) for path in SAVING.glob("*.py")}
FILES |= {
    str(SAVING.parent / "callbacks" / "backup_and_restore.py"),
    str(SAVING.parent / "callbacks" / "saver.py"),
    str(SAVING.parent / "common" / "stored.py"),
    str(SAVING.parent / "common" / "atomic_files.py"),
    str(SAVING.parent / "datasets" / "idx.py"),
}
X = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
Y = X[:, :1]


def network(seed=1):
    gpunn.utils.set_random_seed(seed)
    model = gpunn.Sequential(
        [gpunn.Input((3,)), layers.Dense(4, "relu", name="a"), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


def trained(folder, **arguments):
    model = network()
    backup = callbacks.BackupAndRestore(folder / "backup", 2, **arguments)
    model.fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[backup])
    return model


def bits(model):
    return [w.tobytes() for w in model.get_weights()]


def save(folder):
    network(2).save(folder / "model.gpunn")


def save_folder(folder):
    network(2).save(f"{folder}/folder/")


def load(folder):
    gpunn.models.load_model(folder / "model.gpunn")


WORK = {"save": save, "save_folder": save_folder, "load": load, "fit": trained}


def prepare(folder):
    """Save a model to a file and to a folder; return its weights."""
    folder.mkdir()
    model = network(1)
    model.save(folder / "model.gpunn")
    model.save(f"{folder}/folder/")
    return bits(model)


def check(folder, before, where):
    """Check that each file is complete, old or new, and that everything works from there."""
    inside = {"model.safetensors"}  # the copy may be missing
    assert inside <= set(os.listdir(folder / "folder")) <= inside | {"model.json"}, where
    names = sorted(set(os.listdir(folder)) - {"backup"})
    assert names == ["folder", "model.gpunn"], where
    after = bits(network(2))
    assert bits(gpunn.models.load_model(folder / "model.gpunn")) in (before, after), where
    assert bits(gpunn.models.load_model(f"{folder}/folder/")) in (before, after), where
    for path in (folder / "model.gpunn", f"{folder}/folder/"):
        network(2).save(path)
        assert bits(gpunn.models.load_model(path)) == after, where


def interrupt_everywhere(tmp_path, name, every):
    prepare(tmp_path / "first")
    lines = places(lambda: WORK[name](tmp_path / "first"), FILES)
    assert len(lines) > 40
    expected = bits(trained(tmp_path / "undisturbed"))
    for number, place in list(enumerate(lines))[::every]:
        folder = tmp_path / str(number)
        before = prepare(folder)
        where = str(place)
        interrupt(lambda f=folder: WORK[name](f), place)
        check(folder, before, where)
        # A run resumes from what is in the folder, and no lock is left.
        if name == "fit" or number % 5 == 0:
            assert bits(trained(folder)) == expected, where
            assert not (folder / "backup").exists(), where


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", WORK)
def test_an_interrupt_at_some_lines_leaves_whole_files(tmp_path, name):
    interrupt_everywhere(tmp_path, name, {"load": 11, "fit": 11}.get(name, 5))


@pytest.mark.more(2)
@pytest.mark.parametrize("name", WORK)
def test_an_interrupt_at_any_line_leaves_whole_files(tmp_path, name):
    interrupt_everywhere(tmp_path, name, 1)


# The signal may come before an opened file has a name: Python then closes it with a warning.
@pytest.mark.in_turn(2)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_signals_at_random_moments_leave_whole_files(tmp_path):
    numbers = random.Random(3)
    before = prepare(tmp_path / "run")
    first = threading.Event()

    def work():
        first.set()
        for _ in range(50):
            save(tmp_path / "run")
            save_folder(tmp_path / "run")
            load(tmp_path / "run")

    interrupted = 0
    for _ in range(40):
        first.clear()
        delay = numbers.random() * 0.02

        def send(delay=delay):
            first.wait(10)
            threading.Event().wait(delay)
            os.kill(os.getpid(), signal.SIGINT)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            work()
            sender.join()
        except KeyboardInterrupt:
            interrupted += 1
        sender.join()
        check(tmp_path / "run", before, "a signal")
        before = bits(network(2))
    assert interrupted > 20
