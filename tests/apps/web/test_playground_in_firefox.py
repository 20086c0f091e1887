"""The playground in Firefox: it learns, and its script returns the same answers."""

from __future__ import annotations

import numpy as np
import pytest
from browser.pages import executed


@pytest.fixture(scope="module")
def found(firefox, address):
    return firefox("playground_in_firefox.cjs", f"{address}#data=moons&net=8:tanh,8:tanh")


@pytest.mark.more
def test_it_learns_and_is_worked_with(found):
    assert found["errors"] == []
    assert found["right"] > 0.98
    assert found["point"] is not None and found["after"] != found["point"]


@pytest.mark.more
def test_what_it_says_is_what_its_script_says(found):
    names, _ = executed(found["script"])
    there = names["model"].predict(names["x"]).ravel()
    # After thousands of epochs, differences in rounding have grown.
    np.testing.assert_allclose(there > 0.5, np.array(found["answers"]) > 0.5)
