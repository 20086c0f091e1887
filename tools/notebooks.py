"""Execute the notebooks of examples/ and write their outputs into them: `make notebooks`.

They then show their figures without being run. A notebook runs in an empty folder. Output on the
standard error stream, or an error in a cell, ends the command.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbclient
import nbformat
from PIL import Image

PICTURE = "first_steps", "plots.decision_boundary", "docs/images/spirals.png"
FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(notebook: Any, folder: Path) -> Any:
    """Return the notebook with the outputs of its cells, without metadata that vary between runs.

    Args:
        notebook: as nbformat reads it.
        folder: the working directory.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell raises an error.
        RuntimeError: if a cell writes to the standard error stream.
    """
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    )
    done = client.execute()
    done.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(done.cells):
        cell.id = f"cell-{number}"
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                raise RuntimeError(f"Cell {number} wrote to stderr: {output.text}")
    return done


def smaller(png: str) -> str:
    """Return the image with a colour palette, which takes a third of the bytes."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    written = io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(written, format="png", optimize=True)
    return base64.b64encode(written.getvalue()).decode("ascii")


def main() -> None:
    for path in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        with TemporaryDirectory() as folder:
            done = execute(nbformat.read(path, as_version=4), Path(folder))
        for cell in done.cells:
            for output in cell.get("outputs", ()):
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = smaller(output.data["image/png"])
        name, source, picture = PICTURE
        for cell in done.cells if path.stem == name else ():
            if cell.source.startswith(source):
                png = base64.b64decode(cell.outputs[0].data["image/png"])
                FOLDER.parents[1].joinpath(picture).write_bytes(png)
        nbformat.write(done, path)
        print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
