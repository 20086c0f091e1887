"""The thread pool of the compiled kernels, in a program of its own without Python.

It is built for speed and with ThreadSanitizer, which sees each access that no order of the pool's
atomic operations makes safe.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = (ROOT / "tests" / "support" / "pool" / "pool_check.cpp", ROOT / "kernels/cpu/pool.cpp")
PROPERTIES = (
    "any_number_of_threads", "own_piece_first", "the_others_go_on", "callers_beside_each_other",
    "pieces_within_pieces",
)  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")


@pytest.fixture(
    scope="module", params=["-O2", pytest.param("-fsanitize=thread", marks=pytest.mark.more)]
)  # fmt: skip
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pool") / "pool_check"
    flags = ["-std=c++17", "-g1", "-pthread", f"-I{ROOT / 'kernels' / 'cpu'}", request.param]
    built = subprocess.run(
        ["g++", *flags, *map(str, SOURCES), "-o", str(made)], capture_output=True, text=True
    )
    if built.returncode and "tsan" in built.stderr:
        pytest.skip("g++ has no ThreadSanitizer")
    assert built.returncode == 0, built.stderr
    return made


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", PROPERTIES)
def test_pool(program: Path, name: str) -> None:
    run = subprocess.run([str(program), name], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
