"""`gpunn predict`: images of all kinds, and the models that accept them."""

import json
import sys

import numpy as np
import pytest
from little_memory import process_limited
from PIL import Image

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.pictures import as_mnist, read_image
from gpunn.datasets import idx

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")


def others(row):
    return ", ".join(f"{i}: {row[i]:.4f}" for i in row.argsort()[::-1][1:3])


def test_predict_says_class_and_probability(trained, mnist, tmp_path, capsys):
    images, _ = mnist[1]
    path = str(trained[0] / "model.gpunn")
    model = gpunn.saving.load_model(path)
    rows, below = model.predict(images[:3]), model.trained_on["unsure_below"]
    idx.write(tmp_path / "three", images[:3])
    np.save(tmp_path / "one.npy", images[0])
    assert main(["predict", path, str(tmp_path / "three"), str(tmp_path / "one.npy")]) == 0
    expected = [
        f"{tmp_path / name}: class {row.argmax()}, probability {row.max():.4f} ({others(row)})"
        + ", unsure" * int(row.max() < below)
        for name, row in zip(("three[0]", "three[1]", "three[2]", "one.npy"), rows[[0, 1, 2, 0]],
                             strict=True)
    ]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == expected
    assert main(["predict", path, str(tmp_path / "three"), "--json"]) == 0
    predictions = json.loads(capsys.readouterr().out)
    assert [row["class"] for row in predictions] == rows.argmax(axis=1).tolist()
    assert [row["probability"] for row in predictions] == rows.max(axis=1).tolist()


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
    predictions = json.loads(capsys.readouterr().out)
    assert [row["class"] for row in predictions] == expected[[0, 0, 1]].argmax(axis=1).tolist()
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
    if kind == "RGBA":  # black ink on a transparent background
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
    read, _ = read_image(str(path), (28, 28))
    # Some conversions round: by 1 of 255.
    assert abs(read.astype(int) - pixels).max() <= 1
    assert read.dtype == np.uint8


def test_images_are_padded_and_scaled(tmp_path):
    page = np.full((300, 200), 250, np.uint8)
    page[60:240, 90:110] = 10  # a dark bar in the middle
    Image.fromarray(page).save(tmp_path / "bar.png")
    read, done = read_image(str(tmp_path / "bar.png"), (28, 28))
    read = read.astype(int)
    assert read.shape == (28, 28)
    heights, widths = np.nonzero(read > 128)
    assert np.ptp(heights) + 1 == pytest.approx(28 * 180 / 300, abs=1)
    assert np.ptp(widths) + 1 == pytest.approx(28 * 20 / 300, abs=1)
    assert abs(read - read[:, ::-1]).max() <= 1
    assert read[0].tolist() == [5] * 28
    steps = ["200x300 L image", "padded to a square", "scaled to 28x28", "inverted"]
    assert done == steps


@pytest.mark.parametrize("size", [(90, 37), (37, 90), (60, 60), (500, 1), (1, 500), (3, 2)])
@pytest.mark.parametrize("shape", [(28, 20), (9, 64, 3)])
def test_padding_and_scaling_are_those_of_a_square(tmp_path, size, shape):
    pixels = np.random.default_rng(4).integers(0, 256, (size[1], size[0], *shape[2:]), np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 200
    side, image = max(size), Image.fromarray(pixels)
    square = Image.new(image.mode, (side, side), (200,) * len(image.mode))
    square.paste(image, ((side - size[0]) // 2, (side - size[1]) // 2))
    expected = np.asarray(square.resize(shape[1::-1], Image.Resampling.BILINEAR), int)
    image.save(tmp_path / "image.png")
    read, _ = read_image(str(tmp_path / "image.png"), shape, "no")
    assert abs(read - expected).max() <= 1  # rounded once more


@pytest.mark.parametrize("size", [(200_000, 2), (2, 200_000)])
def test_a_long_picture_takes_no_memory_of_a_square(tmp_path, size):
    Image.new("L", size, 60).save(tmp_path / "long.png")
    with process_limited(1 << 28):
        read, _ = read_image(str(tmp_path / "long.png"), (28, 28))
    assert (read == 60).all()
    with pytest.raises(ValueError, match="too long to be padded to a square"):
        read_image(str(tmp_path / "long.png"), (28, 28), max_pixels=5_000_000)


def pages(images, seed=0):
    """Digits as pictures of 280 x 280, of random size and position."""
    random = np.random.default_rng(seed)
    for image in images:
        side = int(random.integers(40, 201))
        digit = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
        page = Image.new("L", (280, 280))
        page.paste(digit, tuple(random.integers(0, 281 - side, 2).tolist()))
        yield page


def test_digits_of_any_size_and_place_are_read(trained, mnist):
    """As many as of the original digits, by a network with an accuracy of about 93%."""
    images, labels = mnist[1][0][:200], mnist[1][1][:200]
    model = gpunn.saving.load_model(trained[0] / "model.gpunn")
    found = np.stack([as_mnist(page) for page in pages(images)])
    same = (model.predict(found).argmax(axis=1) == labels).mean()
    assert same >= (model.predict(images).argmax(axis=1) == labels).mean() - 0.01
    assert same >= 0.94


def test_pictures_of_digits_are_prepared_as_the_model_says(trained, mnist, tmp_path, capsys):
    path, page, blank = (str(tmp_path / name) for name in ("m.gpunn", "page.png", "blank.png"))
    dark = np.asarray(next(pages(mnist[1][0])))
    Image.fromarray(255 - dark).save(page)  # ink on paper
    Image.new("L", (280, 280), "white").save(blank)
    model = gpunn.saving.load_model(trained[0] / "model.gpunn")

    def answers(path, *options):
        assert main(["predict", path, page, blank, *options, "--json"]) == 0
        printed, stderr = capsys.readouterr()
        return [entry["top"] for entry in json.loads(printed)], stderr

    prepared = as_mnist(Image.fromarray(dark))
    row = model.predict(prepared[None])[0]
    expected = [[int(i), float(row[i])] for i in row.argsort()[::-1][:3]]
    assert expected[0][0] == 7
    tops, stderr = answers(str(trained[0] / "model.gpunn"))
    assert tops == [expected, []]
    assert "page.png: 280x280 L image, inverted, cropped, scaled and centred" in stderr
    assert main(["predict", str(trained[0] / "model.gpunn"), blank]) == 0
    assert capsys.readouterr().out == f"{blank}: blank\n"
    model.trained_on = {}
    model.save(path)
    assert answers(path)[0][0] != expected and "cropped" not in stderr.replace("cropped", "", 1)
    assert answers(path, "--like", "mnist")[0] == [expected, []]
    whole, stderr = answers(str(trained[0] / "model.gpunn"), "--as-is")
    assert whole == answers(path)[0] and "cropped" not in stderr


@pytest.mark.parametrize(("low", "factor"), [(0.0, 1 / 255), (-1.0, 2 / 255)])
def test_values_have_the_range_of_training(tmp_path, capsys, low, factor):
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28)).astype(np.uint8)
    x = (images * factor + low).astype(np.float32)
    model = gpunn.Sequential([gpunn.layers.Flatten(), gpunn.layers.Dense(10, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, np.arange(60) % 10, verbose=0)
    path, names = str(tmp_path / "m.gpunn"), ("good.npy", "bytes.npy", "a.png")
    good, wrong, picture = (str(tmp_path / name) for name in names)
    model.save(path)
    np.save(good, x[0])
    np.save(wrong, images[0])
    Image.fromarray(images[0]).save(picture)
    assert main(["predict", path, good, wrong, picture, "--invert", "no", "--json"]) == 0
    printed, stderr = capsys.readouterr()
    found = [entry["probability"] for entry in json.loads(printed)]
    assert [found[0], found[2]] == pytest.approx([model.predict(x[:1]).max()] * 2)
    assert stderr.count("warning") == 1
    assert f"{wrong} has values from 0 to 255, but the model was trained on values from " in stderr
    assert f"scaled to values from {low:g} to 1" in stderr


@pytest.mark.parametrize(("name", "value"), [("range", ["a"]), ("unsure_below", "x")])
def test_what_a_model_says_of_its_data_is_checked(trained, tmp_path, mnist, capsys, name, value):
    model = gpunn.saving.load_model(trained[0] / "model.gpunn")
    model.trained_on = {name: value}
    model.save(tmp_path / "m.gpunn")
    np.save(tmp_path / "x.npy", mnist[1][0][:1])
    assert main(["predict", str(tmp_path / "m.gpunn"), str(tmp_path / "x.npy")]) == 1
    assert f"the entry 'trained_on/{name}" in capsys.readouterr().err


def test_inversion_can_be_asked_for(tmp_path):
    Image.fromarray(np.full((28, 28), 40, np.uint8)).save(tmp_path / "even.png")
    path = str(tmp_path / "even.png")
    values = [
        int(read_image(path, (28, 28), invert)[0][0, 0])
        for invert in ("auto", "no", "yes")
    ]
    assert values == [40, 40, 215]


def test_images_without_pillow(monkeypatch, tmp_path, trained, capsys):
    Image.new("L", (28, 28)).save(tmp_path / "x.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["predict", str(trained[0] / "model.gpunn"), str(tmp_path / "x.png")]) == 1
    assert 'pip install "gpunn[image]"' in capsys.readouterr().err


def _files(folder, images):
    (folder / "empty").mkdir()
    (folder / "text.png").write_text("no image")
    (folder / "empty.npy").write_bytes(b"")
    Image.fromarray(images[0]).resize((200, 200)).save(folder / "whole.jpg")
    (folder / "part.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:600])
    np.save(folder / "shape.npy", images[:, :5])
    np.save(folder / "strings.npy", np.full((2, 28, 28), "a"))
    np.save(folder / "objects.npy", np.array([None]), allow_pickle=True)
    np.save(folder / "nan.npy", np.full((28, 28), np.nan))
    (folder / "part-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x09")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.png", "No such file"),
        ("text.png", "not an image that Pillow can read"),
        ("empty.npy", "not an image that Pillow can read"),
        ("part.jpg", "damaged"),
        ("shape.npy", "shape (100, 5, 28)"),
        ("strings.npy", "dtype <U1"),
        ("objects.npy", "allow_pickle"),
        ("nan.npy", "nan"),
        ("part-idx3-ubyte", "truncated"),
        ("empty", "a folder without pictures"),
    ],
)
def test_files_that_cannot_be_predicted(tmp_path, trained, mnist, capsys, name, message):
    _files(tmp_path, mnist[1][0][:100])
    assert main(["predict", str(trained[0] / "model.gpunn"), str(tmp_path / name)]) == 1
    printed, complaint = capsys.readouterr()
    assert printed == ""
    last = complaint.splitlines()[-1]
    assert last.startswith("gpunn: error: ")
    assert message in last
    assert "Traceback" not in complaint


def test_outputs_that_are_no_probabilities(tmp_path, capsys):
    model = gpunn.Sequential([gpunn.Input((4,)), gpunn.layers.Dense(3)])
    model.save(tmp_path / "linear.gpunn")
    np.save(tmp_path / "x.npy", np.ones((2, 4)))
    assert main(["predict", str(tmp_path / "linear.gpunn"), str(tmp_path / "x.npy")]) == 1
    assert "needs a softmax" in capsys.readouterr().err
