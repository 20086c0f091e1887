"""The command line: what it prints, writes and returns, and its error messages."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from command_line import SMALL, result, run, start, stop

import gpunn
from gpunn import backends
from gpunn.apps.cli import main, train
from gpunn.apps.reports import read
from gpunn.datasets import idx

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")


# -- training


def test_training_prints_and_saves_what_came_of_it(trained, mnist):
    folder, printed = trained
    lines = printed.splitlines()
    assert lines[0] == "mnist: 784-16-10, 12,730 parameters, adam at 0.001, seed 0, numpy"
    assert [line[:9] for line in lines[2:5]] == ["Epoch 1/6", "Epoch 2/6", "Epoch 3/6"]
    model = gpunn.saving.load_model(folder / "model.gpunn")
    images, labels = mnist[1]
    accuracy = (model.predict(images).argmax(axis=1) == labels).mean()
    assert accuracy > 0.85
    assert lines[8].startswith(f"Test accuracy {accuracy:.4f}, loss ")
    assert lines[10] == f"Saved {folder / 'model.gpunn'}"
    held_out, right = mnist[0][0][-5000:], mnist[0][1][-5000:]
    outputs = model.predict(held_out)
    below = model.trained_on["unsure_below"]
    wrong = outputs[outputs.argmax(axis=1) != right].max(axis=1)
    assert abs((wrong < below).mean() - 0.5) < 1 / len(wrong)
    assert lines[9].startswith(f"Predictions with a probability below {below:.4f} are called ")
    assert model.trained_on["range"] == [0.0, 255.0]
    assert sorted(os.listdir(folder)) == ["history.csv", "model.gpunn", "run.jsonl"]
    assert lines[11].startswith(f"Saved {folder / 'run.jsonl'}, with 16 rows of the data: gpunn r")
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert float(rows[5]["loss"]) < float(rows[0]["loss"])


def test_the_default_network_is_the_classic_one():
    model = train.make_model({**train.DEFAULTS, "dataset": "mnist"})
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Rescaling", "Flatten", "Dense", "Dropout", "Dense"]
    assert model.count_params() == 784 * 128 + 128 + 128 * 10 + 10
    assert (type(model.optimizer).__name__, model.optimizer.learning_rate) == ("Adam", 0.001)


def test_options_reach_the_network(tmp_path, mnist, capsys):
    options = "--hidden 20 12 --dropout 0 --optimizer SGD --learning-rate 0.5 --seed 7"
    short = ["--epochs", "1", "--batch-size", "6000", "--out", str(tmp_path)]
    assert main(["train", "mnist", *options.split(), *short]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("mnist: 784-20-12-10, 16,082 parameters, sgd at 0.5, seed 7, numpy")
    assert "dropout" not in [n.rpartition("_")[0] for n in _layer_names(tmp_path)]


def _layer_names(folder):
    return [layer.name for layer in gpunn.saving.load_model(folder / "model.gpunn").layers]


@pytest.mark.in_turn(2)
def test_killed_and_resumed_gives_the_bits_of_the_undisturbed_run(tmp_path, trained):
    process = start("train", "mnist", *SMALL, "--out", tmp_path)
    stop(process, "Epoch 2/6", signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "checkpoint" / "checkpoint.gpunn").exists()
    status, printed, _ = run("train", "mnist", "--out", tmp_path, "--resume")
    assert status == 0
    assert printed.splitlines()[-2] == f"Saved {tmp_path / 'model.gpunn'}"
    assert result(tmp_path) == result(trained[0])
    runs = [read(folder).epochs for folder in (tmp_path, trained[0])]
    assert [one["logs"] for one in runs[0]] == [one["logs"] for one in runs[1]]
    assert [one["epoch"] for one in runs[0]] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.more
@pytest.mark.parametrize(
    ("event", "count"),
    [
        ("on_train_batch_end", 500), ("on_epoch_begin", 2), ("on_epoch_end", 3),
        ("on_train_end", 1),
    ],
)  # fmt: skip
def test_stopped_at_any_place_and_resumed_it_gives_the_same_bits(
    tmp_path, trained, monkeypatch, event, count
):
    called, logger = [], gpunn.callbacks.CSVLogger  # which comes before the backup
    before = getattr(logger, event)

    def interrupt(self, *args, **kwargs):
        called.append(args)
        if len(called) == count:
            raise KeyboardInterrupt
        before(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(logger, event, interrupt)
        if event == "on_train_batch_end":
            patch.setattr(logger, "needs_train_batches", True)
        assert main(["train", "mnist", *SMALL, "--out", str(tmp_path)]) == 130
    assert main(["train", "mnist", "--out", str(tmp_path), "--resume"]) == 0
    found, expected = (  # in one process, layer numbers continue
        [w.tobytes() for w in gpunn.saving.load_model(folder / "model.gpunn").get_weights()]
        for folder in (tmp_path, trained[0])
    )
    assert found == expected
    assert result(tmp_path)["history.csv"] == result(trained[0])["history.csv"]


@pytest.mark.in_turn(2)
def test_interrupted_says_how_to_go_on(tmp_path, trained):
    process = start("train", "mnist", *SMALL[:-4], "--epochs", "2000", "--out", tmp_path)
    complaint = stop(process, "Epoch 2/2000", signal.SIGINT)
    assert process.returncode == 130
    assert complaint.count("\n") == 1
    assert f"to continue: gpunn train mnist --out {tmp_path} --resume" in complaint
    kept = int(complaint.split("Epoch ")[1].split()[0])
    assert kept >= 1  # the second may not have been written yet
    status, _, _ = run(
        "train", "mnist", "--out", tmp_path, "--resume", "--epochs", str(kept + 1)
    )
    assert status == 0
    alone = tmp_path / "alone"
    run("train", "mnist", *SMALL[:-4], "--epochs", str(kept + 1), "--out", alone)
    assert result(tmp_path) == result(alone)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, mnist):
    """The folder of a run that was interrupted in its second epoch, which nobody may change."""
    folder = tmp_path_factory.mktemp("interrupted")

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, backends.choice_put_back():
        patch.setattr(gpunn.callbacks.BackupAndRestore, "on_epoch_begin", interrupt)
        assert main(["train", "mnist", *SMALL, "--out", str(folder)]) == 130
    return folder


@pytest.fixture
def unfinished(interrupted, tmp_path):
    """A copy of the folder of a run that was interrupted in its second epoch."""
    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hidden", "32"], "--hidden is 16 there and 32 here"),
        (["--hidden"], "--hidden is 16 there and nothing here"),
        (["--seed", "1", "--dropout", "0"], "--dropout is 0.2 there and 0.0 here; --seed is 0"),
        (["--learning-rate", "0.001"], "--learning-rate is the optimizer's own there"),
        (["--optimizer", "sgd"], "--optimizer is adam there and sgd here"),
        (["--backend", "cupy"], "--backend is numpy there and cupy here"),
    ],
)
def test_resuming_under_other_settings_is_refused(unfinished, capsys, options, message):
    capsys.readouterr()
    assert main(["train", "mnist", "--out", str(unfinished), "--resume", *options]) == 1
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert message in complaint


def test_resuming_with_another_data_set_is_refused(unfinished, capsys):
    assert main(["train", "fashion-mnist", "--out", str(unfinished), "--resume"]) == 1
    assert "dataset is mnist there and fashion-mnist here" in capsys.readouterr().err


def test_resuming_for_fewer_epochs_than_there_are_is_refused(unfinished, capsys):
    checkpoint = unfinished / "checkpoint" / "checkpoint.gpunn"
    document = gpunn.saving.files.read(checkpoint)
    gpunn.saving.files.write(checkpoint, {**document, "epoch": 2})
    assert main(["train", "mnist", "--out", str(unfinished), "--resume", "--epochs", "1"]) == 1
    assert "already has 2 epochs" in capsys.readouterr().err


def test_a_new_run_does_not_take_up_the_old_one(unfinished, trained, tmp_path, capsys):
    options = ["train", "mnist", *SMALL, "--seed", "1", "--epochs", "1", "--out"]
    assert main([*options, str(unfinished)]) == 0
    assert "started over" in capsys.readouterr().err
    assert main([*options, str(tmp_path / "alone")]) == 0
    history = result(unfinished)["history.csv"]
    assert history == result(tmp_path / "alone")["history.csv"]
    assert not result(trained[0])["history.csv"].startswith(history)  # that run has another seed


def test_an_earlier_model_is_kept_unless_force_is_given(trained, tmp_path, capsys):
    options = ["train", "mnist", *SMALL, "--epochs", "1", "--out", str(tmp_path)]
    for name in ("model.gpunn", "history.csv", "history-1.csv"):
        shutil.copy(trained[0] / name.replace("-1", ""), tmp_path / name)
    assert main(options) == 0
    kept = {name: (tmp_path / name.replace(".", "-2.")).read_bytes() for name in result(tmp_path)}
    assert kept == result(trained[0]) != result(tmp_path)
    assert "are kept as model-2.gpunn and history-2.csv" in capsys.readouterr().err
    assert main([*options, "--force"]) == 0
    assert capsys.readouterr().err == ""
    assert len(os.listdir(tmp_path)) == 6


def test_there_is_nothing_to_resume(tmp_path, capsys):
    assert main(["train", "mnist", "--out", str(tmp_path), "--resume"]) == 1
    assert "nothing to resume" in capsys.readouterr().err


def test_somebody_elses_checkpoint_is_refused(tmp_path, capsys):
    path = tmp_path / "checkpoint" / "checkpoint.gpunn"
    gpunn.saving.files.write(path, {"kind": "checkpoint", "callbacks": [], "epoch": 1})
    assert main(["train", "mnist", "--out", str(tmp_path), "--resume"]) == 1
    assert "not the checkpoint of a run of gpunn train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden", 3), ("hidden", [-1]), ("hidden", ["x"]), ("hidden", [10**8]), ("dropout", "x"),
        ("dropout", 7.0), ("optimizer", 3), ("learning_rate", -1.0), ("batch_size", 0),
        ("batch_size", "x"), ("epochs", "x"), ("seed", "x"), ("dataset", None), ("epoch", "x"),
        ("epoch", -5),
    ],
)  # fmt: skip
def test_senseless_settings_in_a_checkpoint_are_named(unfinished, capsys, name, value):
    checkpoint = unfinished / "checkpoint" / "checkpoint.gpunn"
    document = gpunn.saving.files.read(checkpoint)
    states = [entry["state"] for entry in document["callbacks"] if "hidden" in entry["state"]]
    (document if name == "epoch" else states[0])[name] = value
    gpunn.saving.files.write(checkpoint, document)
    assert main(["train", "mnist", "--out", str(unfinished), "--resume"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("gpunn: error: ")
    assert str(checkpoint) in error
    assert name in error or "weights, " in error or "rate must be from 0 to 1" in error


def test_a_run_in_progress_is_not_restarted(unfinished, capsys):
    checkpoint = unfinished / "checkpoint" / "checkpoint.gpunn"
    before = checkpoint.read_bytes()
    lock = gpunn.saving.lock.FolderLock(unfinished / "checkpoint")
    assert lock.take()
    assert main(["train", "mnist", *SMALL, "--out", str(unfinished)]) == 1
    assert "Another run in progress" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before
    lock.release()


# -- evaluating


def test_evaluate_agrees_with_training(trained, capsys):
    folder, printed = trained
    assert main(["evaluate", str(folder / "model.gpunn")]) == 0
    output = capsys.readouterr().out
    accuracy, loss = (word.strip(",") for word in printed.splitlines()[-4].split()[2:5:2])
    assert output == f"mnist: loss {loss}, accuracy {accuracy} (10,000 images)\n"


def test_evaluate_on_custom_images(trained, mnist, tmp_path, capsys):
    images, labels = mnist[1]
    idx.write(tmp_path / "t10k-images-idx3-ubyte", images[:50])
    idx.write(tmp_path / "t10k-labels-idx1-ubyte", labels[:50])
    model = str(trained[0] / "model.gpunn")
    assert main(["evaluate", model, "--data", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    right = gpunn.saving.load_model(model).predict(images[:50]).argmax(axis=1) == labels[:50]
    assert result["images"] == 50
    assert result["accuracy"] == pytest.approx(right.mean())


def test_evaluate_needs_to_know_the_data(tmp_path, capsys):
    model = gpunn.Sequential([gpunn.Input((28, 28)), gpunn.layers.Flatten()], name="mine")
    model.save(tmp_path / "mine.gpunn")
    assert main(["evaluate", str(tmp_path / "mine.gpunn")]) == 1
    assert "pass --data" in capsys.readouterr().err


# -- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "COMMAND"),
        ("trian mnist", "Did you mean 'train'?"),
        ("--verison", "Did you mean '--version'?"),
        ("train mnist --lr 0.1", "Did you mean '--learning-rate'?"),
        ("train --drop-out=0.1 mnist", "Did you mean '--dropout'?"),
        ("train mnist --backend gpu", "Did you mean 'cupy'?"),
        ("check-data x.csv --fail-on eror", "Did you mean 'error'?"),
        ("evaluate model.gpunn x.csv", "too many arguments: x.csv. It takes MODEL, --data NAME"),
        ("doctor x", "too many arguments: x. It takes only options."),
        ("train", "NAME|PATH"),
        ("train mnits", "Did you mean 'mnist'?"),
        ("train mnist --optimizer adm", "Did you mean 'adam'?"),
        ("train mnist --epochs 0", "at least 1"),
        ("train mnist --batch-size many", "at least 1"),
        ("train mnist --hidden 16 -3", "-3"),
        ("train mnist --backend numpi", "Did you mean 'numpy'?"),
        ("evaluate model.gpunn --data fashon-mnist", "Did you mean 'fashion-mnist'?"),
        ("predict model.gpunn", "FILE"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    assert main(arguments.split()) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.startswith("usage: gpunn")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train mnist --learning-rate -1", "learning_rate must be"),
        ("train mnist --dropout 1.5", "rate must be"),
        ("train mnist --seed -1", "seed must be"),
        ("train mnist --out file/x", "file"),
        ("evaluate modle.gpunn", "Did you mean 'model.gpunn'?"),
        ("evaluate file", "not a safetensors file"),
    ],
)
def test_failures_are_reported_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a model")
    (tmp_path / "model.gpunn").write_text("not a model either")
    assert main(arguments.split()) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("gpunn: error: ")
    assert complaint.count("\n") == 1
    assert message in complaint


def test_a_mistake_does_not_cost_the_unfinished_run(unfinished):
    checkpoint = unfinished / "checkpoint" / "checkpoint.gpunn"
    before = checkpoint.read_bytes()
    assert main(["train", "mnist", "--dropout", "1.5", "--out", str(unfinished)]) == 1
    assert checkpoint.read_bytes() == before


def test_training_that_explodes_says_so(tmp_path, mnist, capsys):
    options = "--optimizer sgd --learning-rate 1e30 --batch-size 1000 --epochs 1 --hidden 8 8"
    with np.errstate(all="ignore"):
        assert main(["train", "mnist", *options.split(), "--out", str(tmp_path)]) == 1
    assert "gpunn: error: Training diverges: the loss became" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_fault(trained, mnist, tmp_path):
    idx.write(tmp_path / "many", mnist[1][0])
    process = start("predict", trained[0] / "model.gpunn", tmp_path / "many")
    process.stdout.readline()
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert complaint == ""


@pytest.mark.parametrize(
    "command",
    [[], ["train"], ["evaluate"], ["predict"], ["serve"], ["check-data"], ["doctor"], ["bench"]],
)
def test_help_fits_in_80_columns_and_has_examples(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "82")
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"  gpunn {' '.join(command)}".rstrip() in text.split("examples:")[1]
    assert max(map(len, text.splitlines())) <= 80


def test_help_needs_no_extra():
    code = (
        "import sys; from gpunn.apps.cli import main; main(['--help']); print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].strip("[]").replace("'", "").split(", "))
    assert "numpy" in loaded
    assert not loaded & {"PIL", "cupy", "tensorboardX", "torch", "sklearn"}


def test_python_m_gpunn():
    done = subprocess.run(
        [sys.executable, "-m", "gpunn", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"gpunn {gpunn.__version__}\n")


@pytest.mark.parametrize("words", [["playground", "--save"], ["export", "m.gpunn"]])
@pytest.mark.parametrize("folder", ["missing", "missing/inner"])
def test_a_file_in_a_missing_folder_names_the_folder(words, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1)]).save("m.gpunn")
    assert main([*words, f"{folder}/x.html"]) == 1
    error = capsys.readouterr().err
    assert error == f"gpunn: error: {tmp_path / folder}: No such file or directory\n"
    assert not (tmp_path / "missing").exists()
