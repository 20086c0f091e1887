"""The command line: what it prints, writes and returns, and what it says about mistakes."""

import csv
import json
import os
import signal
import subprocess
import sys

import emulated  # noqa: F401  makes the backend of that name known
import numpy as np
import pytest
from PIL import Image

import gpunn
from gpunn.apps.cli import main
from gpunn.datasets import idx

SMALL = ["--hidden", "16", "--batch-size", "128", "--epochs", "6", "--backend", "numpy"]
# A shell that starts us in the background has Ctrl-C ignored.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from gpunn.apps.cli import main
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def numpy_is_asked_for(monkeypatch, no_backend_yet):
    monkeypatch.setenv("GPUNN_BACKEND", "numpy")


def start(*arguments):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments):
    process = start(*arguments)
    printed, complained = process.communicate()
    return process.returncode, printed, complained


def stop(process, line, sent):
    """Send a signal as soon as a line begins so; what was on stderr."""
    while not process.stdout.readline().startswith(line):
        assert process.poll() is None
    process.send_signal(sent)
    return process.communicate()[1]


def result(folder):
    return {name: (folder / name).read_bytes() for name in ("model.gpunn", "history.csv")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mnist):
    """The folder and the output of a short run."""
    folder = tmp_path_factory.mktemp("trained")
    status, printed, complained = run("train", "mnist", *SMALL, "--out", folder)
    assert (status, complained) == (0, "")
    return folder, printed


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
    assert lines[9] == f"Saved {folder / 'model.gpunn'}"
    assert sorted(os.listdir(folder)) == ["history.csv", "model.gpunn"]
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert float(rows[5]["loss"]) < float(rows[0]["loss"])


def test_the_default_network_is_the_classic_one():
    model = gpunn.apps.cli.train.make_model({**gpunn.apps.cli.train.DEFAULTS, "dataset": "mnist"})
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


def test_killed_and_resumed_gives_the_bits_of_the_undisturbed_run(tmp_path, trained):
    process = start("train", "mnist", *SMALL, "--out", tmp_path)
    stop(process, "Epoch 2/6", signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "checkpoint" / "checkpoint.gpunn").exists()
    status, printed, _ = run("train", "mnist", "--out", tmp_path, "--resume")
    assert status == 0
    assert printed.splitlines()[-1] == f"Saved {tmp_path / 'model.gpunn'}"
    assert result(tmp_path) == result(trained[0])
    assert not (tmp_path / "checkpoint").exists()


def test_interrupted_says_how_to_go_on(tmp_path, trained):
    process = start("train", "mnist", *SMALL[:-4], "--epochs", "2000", "--out", tmp_path)
    complaint = stop(process, "Epoch 2/2000", signal.SIGINT)
    assert process.returncode == 130
    assert complaint.count("\n") == 1
    assert f"to go on: gpunn train mnist --out {tmp_path} --resume" in complaint
    kept = int(complaint.split("Epoch ")[1].split()[0])
    assert kept >= 1  # the second may not have been written yet
    status, _, _ = run(
        "train", "mnist", "--out", tmp_path, "--resume", "--epochs", str(kept + 1)
    )
    assert status == 0
    alone = tmp_path / "alone"
    run("train", "mnist", *SMALL[:-4], "--epochs", str(kept + 1), "--out", alone)
    assert result(tmp_path) == result(alone)


@pytest.fixture
def unfinished(tmp_path, monkeypatch, mnist):
    """The folder of a run that was interrupted in its second epoch."""

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gpunn.callbacks.BackupAndRestore, "on_epoch_begin", interrupt)
        assert main(["train", "mnist", *SMALL, "--out", str(tmp_path)]) == 130
    return tmp_path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hidden", "32"], "--hidden is 16 there and 32 here"),
        (["--hidden"], "--hidden is 16 there and nothing here"),
        (["--seed", "1", "--dropout", "0"], "--dropout is 0.2 there and 0.0 here; --seed is 0"),
        (["--learning-rate", "0.001"], "--learning-rate is the optimizer's own there"),
        (["--optimizer", "sgd"], "--optimizer is adam there and sgd here"),
        (["--backend", "cupy"], "--backend is numpy there and cupy here"),
    ],
)
def test_resuming_under_other_settings_is_refused(unfinished, capsys, options, said):
    capsys.readouterr()
    assert main(["train", "mnist", "--out", str(unfinished), "--resume", *options]) == 1
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert said in complaint


def test_resuming_with_another_data_set_is_refused(unfinished, capsys):
    assert main(["train", "fashion-mnist", "--out", str(unfinished), "--resume"]) == 1
    assert "dataset is mnist there and fashion-mnist here" in capsys.readouterr().err


def test_resuming_for_fewer_epochs_than_there_are_is_refused(unfinished, capsys):
    checkpoint = unfinished / "checkpoint" / "checkpoint.gpunn"
    document = gpunn.saving.files.read(checkpoint)
    gpunn.saving.files.write(checkpoint, {**document, "epoch": 2})
    assert main(["train", "mnist", "--out", str(unfinished), "--resume", "--epochs", "1"]) == 1
    assert "has 2 epochs already" in capsys.readouterr().err


def test_a_new_run_does_not_take_up_the_old_one(unfinished, trained, tmp_path, capsys):
    options = ["train", "mnist", *SMALL, "--seed", "1", "--epochs", "1", "--out"]
    assert main([*options, str(unfinished)]) == 0
    assert "begun anew" in capsys.readouterr().err
    assert main([*options, str(tmp_path / "alone")]) == 0
    history = result(unfinished)["history.csv"]
    assert history == result(tmp_path / "alone")["history.csv"]
    assert not result(trained[0])["history.csv"].startswith(history)  # that of another seed


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


def test_a_run_that_goes_on_is_not_begun_anew(unfinished, capsys):
    checkpoint = unfinished / "checkpoint" / "checkpoint.gpunn"
    before = checkpoint.read_bytes()
    lock = gpunn.saving.lock.FolderLock(unfinished / "checkpoint")
    assert lock.take()
    assert main(["train", "mnist", *SMALL, "--out", str(unfinished)]) == 1
    assert "Another run that is under way" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before
    lock.release()


# -- evaluating


def test_evaluate_agrees_with_training(trained, capsys):
    folder, printed = trained
    assert main(["evaluate", str(folder / "model.gpunn")]) == 0
    said = capsys.readouterr().out
    accuracy, loss = (word.strip(",") for word in printed.splitlines()[-2].split()[2:5:2])
    assert said == f"mnist: loss {loss}, accuracy {accuracy} (10,000 images)\n"


def test_evaluate_on_ones_own_images(trained, mnist, tmp_path, capsys):
    images, labels = mnist[1]
    idx.write(tmp_path / "t10k-images-idx3-ubyte", images[:50])
    idx.write(tmp_path / "t10k-labels-idx1-ubyte", labels[:50])
    model = str(trained[0] / "model.gpunn")
    assert main(["evaluate", model, "--data", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    right = gpunn.saving.load_model(model).predict(images[:50]).argmax(axis=1) == labels[:50]
    assert said["images"] == 50
    assert said["accuracy"] == pytest.approx(right.mean())


def test_evaluate_needs_to_know_the_data(tmp_path, capsys):
    model = gpunn.Sequential([gpunn.Input((28, 28)), gpunn.layers.Flatten()], name="mine")
    model.save(tmp_path / "mine.gpunn")
    assert main(["evaluate", str(tmp_path / "mine.gpunn")]) == 1
    assert "say --data" in capsys.readouterr().err


# -- predicting


def test_predict_says_class_and_probability(trained, mnist, tmp_path, capsys):
    images, _ = mnist[1]
    path = str(trained[0] / "model.gpunn")
    rows = gpunn.saving.load_model(path).predict(images[:3])
    idx.write(tmp_path / "three", images[:3])
    np.save(tmp_path / "one.npy", images[0])
    assert main(["predict", path, str(tmp_path / "three"), str(tmp_path / "one.npy")]) == 0
    expected = [
        f"{tmp_path / name}: class {row.argmax()}, probability {row.max():.4f}"
        for name, row in zip(("three[0]", "three[1]", "three[2]", "one.npy"), rows[[0, 1, 2, 0]],
                             strict=True)
    ]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == expected
    assert main(["predict", path, str(tmp_path / "three"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["class"] for row in said] == rows.argmax(axis=1).tolist()
    assert [row["probability"] for row in said] == rows.max(axis=1).tolist()


@pytest.mark.parametrize("shape", [(28, 28, 1), (1, 28, 28)])
def test_convolutional_models_take_grey_images(shape, mnist, tmp_path, capsys):
    images, labels = mnist[1][0][:20], mnist[1][1][:20]
    data_format = "channels_last" if shape[-1] == 1 else "channels_first"
    model = gpunn.Sequential(
        [
            gpunn.Input(shape),
            gpunn.layers.Conv2D(2, 5, strides=4, data_format=data_format),
            gpunn.layers.Flatten(),
            gpunn.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    path, picture, array = (str(tmp_path / name) for name in ("m.gpunn", "one.png", "two.npy"))
    model.save(path)
    Image.fromarray(images[0]).save(picture)
    np.save(array, images[:2])
    expected = model.predict(images.reshape(-1, *shape))
    assert main(["predict", path, picture, array, "--invert", "no", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["class"] for row in said] == expected[[0, 0, 1]].argmax(axis=1).tolist()
    idx.write(tmp_path / "t10k-images-idx3-ubyte", images)
    idx.write(tmp_path / "t10k-labels-idx1-ubyte", labels)
    assert main(["evaluate", path, "--data", str(tmp_path), "--json"]) == 0
    found = model.evaluate(images.reshape(-1, *shape), labels, verbose=0)
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(found)


def picture(pixels, kind):
    """The same light-on-dark digit as an image of another kind."""
    grey = Image.fromarray(pixels)
    if kind == "I;16":
        return Image.fromarray(pixels.astype(np.uint16) * 257)
    if kind == "F":
        return Image.fromarray(pixels.astype(np.float32) / 255)
    if kind == "RGBA":  # black ink on nothing
        ink = np.zeros((*pixels.shape, 4), np.uint8)
        ink[..., 3] = pixels
        return Image.fromarray(ink)
    if kind == "dark on light":
        return Image.fromarray(255 - pixels)
    return grey.convert(kind)


@pytest.mark.parametrize("kind", ["L", "RGB", "P", "CMYK", "I;16", "F", "RGBA", "dark on light"])
def test_images_of_every_kind_become_the_same_pixels(tmp_path, mnist, kind):
    pixels = mnist[1][0][0]
    path = tmp_path / ("digit.tif" if kind in ("CMYK", "F") else "digit.png")
    picture(pixels, kind).save(path)
    read = gpunn.apps.cli.predict.image_to_array(str(path), (28, 28))
    # Some conversions round: by 1 of 255.
    assert abs(read.astype(int) - pixels).max() <= 1
    assert read.dtype == np.uint8


def test_images_are_padded_and_scaled(tmp_path, capsys):
    page = np.full((300, 200), 250, np.uint8)
    page[60:240, 90:110] = 10  # a dark bar in the middle
    Image.fromarray(page).save(tmp_path / "bar.png")
    read = gpunn.apps.cli.predict.image_to_array(str(tmp_path / "bar.png"), (28, 28)).astype(int)
    assert read.shape == (28, 28)
    heights, widths = np.nonzero(read > 128)
    assert np.ptp(heights) + 1 == pytest.approx(28 * 180 / 300, abs=1)
    assert np.ptp(widths) + 1 == pytest.approx(28 * 20 / 300, abs=1)
    assert abs(read - read[:, ::-1]).max() <= 1
    assert read[0].tolist() == [5] * 28
    said = capsys.readouterr().err
    assert said == "bar.png: 200x300 L image, padded to a square, scaled to 28x28, inverted\n"


def test_inversion_can_be_asked_for(tmp_path):
    Image.fromarray(np.full((28, 28), 40, np.uint8)).save(tmp_path / "even.png")
    path = str(tmp_path / "even.png")
    values = [
        int(gpunn.apps.cli.predict.image_to_array(path, (28, 28), invert)[0, 0])
        for invert in ("auto", "no", "yes")
    ]
    assert values == [40, 40, 215]


def test_images_without_pillow(monkeypatch, tmp_path, trained, capsys):
    Image.new("L", (28, 28)).save(tmp_path / "x.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["predict", str(trained[0] / "model.gpunn"), str(tmp_path / "x.png")]) == 1
    assert 'pip install "gpunn[image]"' in capsys.readouterr().err


def _files(folder, images):
    (folder / "text.png").write_text("no image")
    (folder / "empty.npy").write_bytes(b"")
    Image.fromarray(images[0]).resize((200, 200)).save(folder / "whole.jpg")
    (folder / "part.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:600])
    np.save(folder / "shape.npy", images[:, :5])
    np.save(folder / "texts.npy", np.full((2, 28, 28), "a"))
    np.save(folder / "objects.npy", np.array([None]), allow_pickle=True)
    np.save(folder / "nan.npy", np.full((28, 28), np.nan))
    (folder / "part-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x09")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.png", "No such file"),
        ("text.png", "no image that Pillow knows"),
        ("empty.npy", "no image that Pillow knows"),
        ("part.jpg", "damaged"),
        ("shape.npy", "shape (100, 5, 28)"),
        ("texts.npy", "dtype <U1"),
        ("objects.npy", "allow_pickle"),
        ("nan.npy", "nan"),
        ("part-idx3-ubyte", "truncated"),
        ("", "Is a directory"),
    ],
)
def test_files_that_cannot_be_predicted(tmp_path, trained, mnist, capsys, name, said):
    _files(tmp_path, mnist[1][0][:100])
    assert main(["predict", str(trained[0] / "model.gpunn"), str(tmp_path / name)]) == 1
    printed, complaint = capsys.readouterr()
    assert printed == ""
    last = complaint.splitlines()[-1]
    assert last.startswith("gpunn: error: ")
    assert said in last
    assert "Traceback" not in complaint


def test_outputs_that_are_no_probabilities(tmp_path, capsys):
    model = gpunn.Sequential([gpunn.Input((4,)), gpunn.layers.Dense(3)])
    model.save(tmp_path / "linear.gpunn")
    np.save(tmp_path / "x.npy", np.ones((2, 4)))
    assert main(["predict", str(tmp_path / "linear.gpunn"), str(tmp_path / "x.npy")]) == 1
    assert "needs a softmax" in capsys.readouterr().err


# -- mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "COMMAND"),
        ("trian mnist", "trian"),
        ("train", "dataset"),
        ("train mnits", "Did you mean 'mnist'?"),
        ("train mnist --optimizer adm", "Did you mean 'adam'?"),
        ("train mnist --epochs 0", "at least 1"),
        ("train mnist --batch-size many", "at least 1"),
        ("train mnist --hidden 16 -3", "-3"),
        ("train mnist --backend numpi", "numpi"),
        ("evaluate model.gpunn --data fashon-mnist", "Did you mean 'fashion-mnist'?"),
        ("predict model.gpunn", "FILE"),
    ],
)
def test_wrong_usage(capsys, arguments, said):
    assert main(arguments.split()) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.startswith("usage: gpunn")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train mnist --learning-rate -1", "learning_rate must be"),
        ("train mnist --dropout 1.5", "rate must be"),
        ("train mnist --seed -1", "seed must be"),
        ("train mnist --out file/x", "file"),
        ("evaluate modle.gpunn", "Did you mean 'model.gpunn'?"),
        ("evaluate file", "not a safetensors file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a model")
    (tmp_path / "model.gpunn").write_text("not a model either")
    assert main(arguments.split()) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("gpunn: error: ")
    assert complaint.count("\n") == 1
    assert said in complaint


def test_a_mistake_does_not_cost_the_unfinished_run(unfinished):
    checkpoint = unfinished / "checkpoint" / "checkpoint.gpunn"
    before = checkpoint.read_bytes()
    assert main(["train", "mnist", "--dropout", "1.5", "--out", str(unfinished)]) == 1
    assert checkpoint.read_bytes() == before


def test_training_that_explodes_says_so(tmp_path, mnist, capsys):
    options = "--optimizer sgd --learning-rate 1e30 --batch-size 1000 --epochs 1 --hidden 8 8"
    with np.errstate(all="ignore"):
        assert main(["train", "mnist", *options.split(), "--out", str(tmp_path)]) == 1
    assert "gpunn: error: The loss became" in capsys.readouterr().err


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
    [[], ["train"], ["evaluate"], ["predict"], ["check-data"], ["doctor"], ["bench"]],
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
