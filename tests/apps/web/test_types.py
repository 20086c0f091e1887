"""The types that the engine's modules state in their comments, checked by TypeScript's compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import gpunn.apps.web

JS = Path(gpunn.apps.web.__file__).parent / "js"
OPTIONS = {
    "allowJs": True, "checkJs": True, "noEmit": True, "strict": True, "types": [],
    "target": "es2022", "module": "es2022", "moduleResolution": "node",
    "ignoreDeprecations": "5.0", "lib": ["es2022", "dom", "dom.iterable"],
}  # fmt: skip


@pytest.mark.more
def test_the_engine_has_the_types_that_it_states(tmp_path: Path) -> None:
    compiler = shutil.which("tsc")
    if compiler is None:
        reason = "TypeScript's compiler checks the types of JavaScript: apt install node-typescript"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    files = [str(JS / "engine.js"), *map(str, sorted((JS / "engine").glob("*.js")))]
    assert len(files) > 5
    config = tmp_path / "tsconfig.json"
    config.write_text(json.dumps({"compilerOptions": OPTIONS, "files": files}))
    done = subprocess.run([str(compiler), "-p", str(config)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
