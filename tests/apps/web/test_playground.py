"""The playground as a file: its content, and the command that writes it."""

from __future__ import annotations

import inspect
import json
import re
import webbrowser

import pytest
from command_line import run

from gpunn import activations, initializers, losses, optimizers
from gpunn.apps.cli import main
from gpunn.apps.web.playground import playground_page
from gpunn.common import registry
from gpunn.common.names import snake_case
from gpunn.common.overrides import is_framework


@pytest.fixture(scope="module")
def data():
    found = re.search(r'<script type="application/json" id="data">(.*?)<', playground_page())
    return json.loads(found[1])


def test_it_is_one_small_file_that_loads_nothing():
    shown = playground_page()
    assert len(shown.encode()) <= 400_000
    assert "default-src &#x27;none&#x27;" in shown or "default-src &#39;none&#39;" in shown
    assert not re.search(r"https?://", shown)


def test_the_same_page_each_time():
    assert playground_page() == playground_page()


@pytest.mark.parametrize("name", ["relu", "tanh", "mish", "softmax", "hard_sigmoid", "gelu"])
def test_activations_are_those_of_python(data, name):
    low, high = data["catalogue"]["activations"][name]["range"]
    values = activations.get(name)([[-30.0, -1.0, -0.3, 0.0, 0.4, 2.0]])
    assert low <= float(values.min()) and float(values.max()) <= high


def test_losses_and_optimizers_can_be_made_by_their_names(data):
    for name in data["catalogue"]["losses"]:
        losses.get(name)
    for name, entry in data["catalogue"]["optimizers"].items():
        flags = {flag: bool(entry["settings"][flag]) for flag in entry["flags"]}
        made = getattr(optimizers, name)(**{**entry["settings"], **_none_for_zero(entry), **flags})
        assert type(made).__name__ == name


OF_TENSORS = "of tensors: a page has no such step"
# gpunn's parts that the playground does not offer, and why.
ABSENT = {
    "activation": {"sparsemax": OF_TENSORS},
    "loss": {
        "sparse_categorical_crossentropy": "categorical_crossentropy, of targets as integers",
        **dict.fromkeys(
            ("binary_focal_crossentropy", "categorical_focal_crossentropy", "dice", "tversky",
             "categorical_generalized_cross_entropy", "circle", "ctc"), OF_TENSORS,
        ),
    },
    "optimizer": dict.fromkeys(("adafactor", "muon", "schedule_free_adam_w"), OF_TENSORS),
    "initializer": {},
}


@pytest.mark.parametrize("kind", ABSENT)
def test_all_that_is_registered_is_offered(data, kind):
    offered = data["catalogue"][{"loss": "losses"}.get(kind, f"{kind}s")]
    own = {name for name, cls in registry.entries(kind).items() if is_framework(cls)}
    names = {name if name in offered else snake_case(name) for name in own}
    assert names == set(offered) | set(ABSENT[kind])


def test_initializers_take_what_is_offered(data):
    for name, entry in data["catalogue"]["initializers"].items():
        cls = type(initializers.get(name))
        own = {p for p in inspect.signature(cls).parameters if p != "seed"}
        assert own == set(entry["settings"]) == set(entry["choices"]) | set(entry["least"])
        cls(**entry["settings"])
        cls(**entry["least"])
        for setting, options in entry["choices"].items():
            for option in options:
                assert getattr(cls(**{setting: option}), setting) == option


def _none_for_zero(entry):
    """Replace 0 by None in limits and decays, which are then off."""
    off = ("clip", "global", "weight_decay")
    return {
        key: None for key, value in entry["settings"].items() if key.startswith(off) and not value
    }


def test_the_command_writes_it(tmp_path):
    file = tmp_path / "page.html"
    status, printed, complained = run("playground", "--save", file)
    assert (status, complained) == (0, "")
    assert str(file) in printed
    assert file.read_text(encoding="utf-8") == playground_page()


def test_the_command_opens_it(monkeypatch, tmp_path):
    asked: list[str] = []
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) or True)
    assert main(["playground"]) == 0
    assert asked == [(tmp_path / "cache" / "playground.html").as_uri()]


def test_a_folder_that_is_not_there(tmp_path):
    status, _, complained = run("playground", "--save", tmp_path / "none" / "page.html")
    assert status == 1
    assert "none" in complained
