"""A page's encoding of data for a model, in JavaScript, compared with Python's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import Input, layers
from gpunn.apps.web.program import forward_program

WEB = Path(gpunn.__file__).parent / "apps" / "web"
HOSTILE = [
    "<img src=x onerror=alert(1)>", "</script>", "__proto__", "constructor", "toString", "",
    "\u2028 \u202e", "naïve", "nai\u0308ve", "🌳", "\x00", " oak", "Oak",
]  # fmt: skip

# Node reads models and their inputs, and prints the outputs.
SCRIPT = """
import { readFileSync } from "node:fs";
import { encoded } from "./js/model/encodings.js";
import { Kernels } from "./js/engine/memory.js";
import { ForwardProgram } from "./js/engine/forward.js";
const kernels = await Kernels.load(readFileSync("gpunn.wasm"));
const jobs = JSON.parse(readFileSync(0, "utf8"), (_, v) => v?.bigint ? BigInt(v.bigint) : v);
console.log(JSON.stringify(jobs.map(({ document, inputs }) => {
  const model = new ForwardProgram(kernels, document);
  try {
    return [...model.run(...encoded(model.given, inputs))[0]];
  } catch (error) {
    return error.message;
  }
})));
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A function of a model and its flat inputs that returns a page's results."""
    node = shutil.which("node")
    if node is None:
        reason = "node runs the modules of pages here: apt install nodejs"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("encodings")
    shutil.copytree(WEB / "js", folder / "js")
    shutil.copy(WEB / "gpunn.wasm", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.js").write_text(SCRIPT)

    def run(model: Any, rows: int, *inputs: list[Any]) -> Any:
        large = [
            [{"bigint": str(v)} if type(v) is int and abs(v) > 2**53 else v for v in values]
            for values in inputs
        ]
        jobs = [{"document": forward_program(model, rows=rows), "inputs": large}]
        done = subprocess.run(
            [str(node), "run.js"], cwd=folder, input=json.dumps(jobs), capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[0]

    return run


def flat(values: Any) -> list[Any]:
    return np.asarray(values, object).reshape(-1).tolist()


STRINGS = [["oak"], ["elm"], ["ash"], [None], *([text] for text in HOSTILE)]
BLANKS = [chr(code) for code in range(0x3100) if chr(code).isspace()] + ["\ufeff", "\u200b"]
SPELLED = [f"{blank}New{blank}{blank}York{k // 9}{blank}" for k, blank in enumerate(BLANKS)]
SPELLED += ["Straße", "STRASSE", "ΟΔΟΣ", "οδος", "οδοσ", "İx", "i\u0307X", "Ǆ", "ǆ", "ǅ"]
NUMBERS = [[1.5, None], [None, -2.0], [0.0, 3.25]]
DATES = [
    "2024-02-29", "1.3.24", "03/04/2024", "3-4-1969", "0099-12-31", "1969/12/31 23:59:59,5",
    "29 Feb 2024 12:00 AM", "Feb. 29, 2024, 1:05 p.m.", "5-Sept-1999T01:02Z", "May 5 2024",
    "31 december 2024 9:08+0530", " 2024-02-29  10:00 UTC ", "", None, "9999-12-31", "1-1-68",
    "1-1-69", "1600-02-29 00:00", "1949-01", "Aug-60", "aug-1960", "August 1960", "Sept. 2001",
    "8-Feb-15", "2001 Q4", "2001q1", "Q2-1999", "1949-12 10:30",
]  # fmt: skip
NO_DATES = [
    "soon", "2023-02-29", "May 5 2024 +01:00", "0000-01-01", "13/13/2024", "2024-1/2", "24:00",
    "10:60", "13:00 PM", "12", "5 Foo 2024", "2024-01-31x", "1.2.240", "10:00", "\u0661.1.2024",
    "2024-01-01 " * 4, "1949-13", "1949-1", "2001 Q5", "Q4", "Aug", "Foo-60", "Aug 60", "2001 04",
]  # fmt: skip
TIMES = ["17:30", "5:30 PM", "00:00:59", "2024-02-29 10:00", "2024-02-29", None]
EVERY = ["year", "month", "day", "weekday", "days", "hour", "minutes"]
LARGE = [[2**62 + 1], [2**62], [-7], [3], [2**53], [12]]


@pytest.mark.parametrize(
    ("made", "data"),
    [
        ([Input((1,), dtype="string"), layers.StringLookup(vocabulary=["oak", "elm"])], STRINGS),
        ([Input((1,), dtype="string"), layers.StringLookup(vocabulary=[*HOSTILE[:5], "oak"],
          output_mode="one_hot")], STRINGS),
        ([Input((1,), dtype="string"), layers.StringLookup(vocabulary=HOSTILE, mask_token="oak")],
         STRINGS),
        ([Input((1,), dtype="string"), layers.StringLookup(vocabulary=["oak", *SPELLED[::9]],
          fold=True)], [*STRINGS, *([text] for text in SPELLED)]),
        ([Input((1,), dtype="string"), layers.StringLookup(vocabulary=["oak", *SPELLED[::9]],
          fold=True, mask_token="", output_mode="one_hot")],
         [*STRINGS, *([text] for text in SPELLED)]),
        ([Input((2,), dtype="string"), layers.StringLookup(vocabulary=["a", "b"],
          output_mode="tf_idf", idf_weights=[0.5, 2.0], mask_token="-")],
         [["a", "a"], ["b", None], ["-", "c"]]),
        ([Input((1,)), layers.IntegerLookup(vocabulary=[2**62, -7, 3])], LARGE),
        ([Input((2,)), layers.IntegerLookup(vocabulary=[2**62, 12], num_oov_indices=3,
          mask_token=3, output_mode="count")], np.reshape(LARGE, (3, 2)).tolist()),
        ([Input((2,)), layers.SimpleImputer(statistics=[0.5, -1.25])], NUMBERS),
        ([Input((2,)), layers.MissingIndicator()], NUMBERS),
        ([Input((2,)), layers.SimpleImputer(statistics=[0.5, -1.25], missing_values=[-999, 7])],
         [*NUMBERS, [-999, 7], [7, 3]]),
        ([Input((2,)), layers.MissingIndicator(missing_values=-999)], [*NUMBERS, [-999, 7]]),
        *(([Input((1,), dtype="string"), layers.DatetimeEncoder(EVERY, first, one_hot),
            layers.SimpleImputer(statistics=0.0)], [[text] for text in DATES])
          for first in (True, False) for one_hot in (True, False)),
        ([Input((1,), dtype="string"), layers.DatetimeEncoder(["minutes", "hour"]),
          layers.MissingIndicator()], [[text] for text in TIMES]),
        *(([Input((1,), dtype="string"), layers.HashingVectorizer(n, norm, signed)],
           [*STRINGS, ["Σὰς ÉTÉ_2 été_2, İ 日本 語 x" * 9], ["abc ab a abcd abcde abcdef"]])
          for n, norm, signed in ((256, "l2", True), (3, "l1", False), (1, None, True))),
        ([Input((3,)), layers.CategoryEncoding(4, "count")], [[0, 3, 3], [1, 2, 0]]),
        ([Input((2,)), layers.Discretization([-0.5, 0.25, 1.0])], [[-0.5, 0.2], [0.25, 7.0]]),
        ([Input((2,)), layers.Discretization([0.1], output_mode="one_hot")],
         [[-0.5, 0.1], [0.25, 7.0]]),
    ],
)  # fmt: skip
def test_a_page_encodes_as_predict_does(page: Any, made: list[Any], data: list[Any]) -> None:
    model = gpunn.Sequential(made)
    expected = model.predict(np.array(data, object) if None in flat(data) else data, verbose=0)
    seen = page(model, len(data), flat(data))
    np.testing.assert_allclose(seen, expected.reshape(-1), rtol=1e-6)


def test_inputs_meet_in_one_model(page: Any) -> None:
    """Also if they are read in another order, and one of them twice."""
    age, kind, code = Input((1,), name="age"), Input((1,), dtype="string"), Input((1,))
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    parts = [lookup(kind), layers.SimpleImputer(statistics=30.0)(age)]
    parts += [layers.MissingIndicator()(age), layers.Rescaling(0.5)(code)]
    model = gpunn.Model([age, kind, code], layers.Dense(2)(layers.Concatenate()(parts)))
    data = [[50.0], [None]], [["b"], ["?"]], [[1.0], [4.0]]
    expected = model.predict([np.array(values, object) for values in data[:2]] + [data[2]],
                             verbose=0)  # fmt: skip
    np.testing.assert_allclose(page(model, 2, *map(flat, data)), expected.reshape(-1), rtol=1e-5)


@pytest.mark.parametrize(
    ("made", "value", "message"),
    [
        ([Input((1,), dtype="string"), layers.StringLookup(vocabulary=["a"], num_oov_indices=0)],
         "</script>", "not in the vocabulary"),
        ([Input((1,), dtype="string"), layers.StringLookup(vocabulary=["a"])], 3.5, "holds 3.5"),
        ([Input((1,)), layers.IntegerLookup(vocabulary=[1])], 1.5, "integers of 64 bits"),
        ([Input((1,)), layers.IntegerLookup(vocabulary=[1])], 2**63, "integers of 64 bits"),
        ([Input((1,)), layers.IntegerLookup(vocabulary=[1], num_oov_indices=0)], None, "no value"),
        ([Input((1,)), layers.SimpleImputer(statistics=1.0)], "two", "numbers"),
        *(([Input((1,), dtype="string"), layers.DatetimeEncoder()], text,
           "time of day" if text == "10:00" else "takes dates") for text in NO_DATES),
        ([Input((1,), dtype="string"), layers.HashingVectorizer(3)], 3.5, "holds 3.5"),
        ([Input((1,)), layers.CategoryEncoding(3, "one_hot")], 3, "whole numbers from 0 to 2"),
        ([Input((1,)), layers.CategoryEncoding(3, "one_hot")], 0.5, "whole numbers from 0 to 2"),
        ([Input((1,), dtype="int32"), layers.Dense(1)], 0.5, "whole numbers"),
    ],
)  # fmt: skip
def test_what_predict_refuses_a_page_refuses(
    page: Any, made: Any, value: Any, message: str
) -> None:
    model = gpunn.Sequential(made)
    with pytest.raises((TypeError, ValueError), match=message):
        model.predict(np.array([[value]], object if value is None else None), verbose=0)
    assert message in page(model, 1, [value])


def test_hashes_of_unknown_strings_are_reported_missing() -> None:
    lookup = layers.StringLookup(vocabulary=["a"], num_oov_indices=2)
    with pytest.raises(ValueError, match="hashes"):
        forward_program(gpunn.Sequential([Input((1,), dtype="string"), lookup]))
