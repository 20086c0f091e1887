"""Replace the import of Keras or TensorFlow in a program, and nothing else."""

from __future__ import annotations

import ast
import re

# The locations in Keras 3 of modules of older Keras.
MOVED = {
    f"{keras}.{old}": new
    for keras in ("keras", "tensorflow.keras")
    for old, new in {
        "engine.topology": "layers",
        "layers.advanced_activations": "layers",
        "layers.convolutional": "layers",
        "layers.core": "layers",
        "layers.merge": "layers",
        "layers.noise": "layers",
        "layers.normalization": "layers",
        "layers.pooling": "layers",
        "utils.generic_utils": "utils",
        "utils.np_utils": "utils",
        "utils.vis_utils": "utils",
    }.items()
}
# The imports of a program, and their replacements. The longest match is used.
GPUNN = {
    **{old: f"gpunn.keras.{new}" for old, new in MOVED.items()},
    "tensorflow": "gpunn.tensorflow",
    "tensorflow.keras": "gpunn.keras",
    "tensorflow.python.keras": "gpunn.keras",
    "keras": "gpunn.keras",
    "keras_core": "gpunn.keras",
    "tf_keras": "gpunn.keras",
}
KERAS = {
    **{old: f"keras.{new}" for old, new in MOVED.items()},
    "keras_core": "keras",
    "tensorflow.python.keras": "tensorflow.keras",
}


def replaced(name: str, places: dict[str, str]) -> str | None:
    """Return the module to import instead, or None to keep the import."""
    for there in sorted(places, key=len, reverse=True):
        if name == there or name.startswith(there + "."):
            return places[there] + name[len(there) :]
    return None


def statements(node: ast.Import, places: dict[str, str]) -> str:
    """Return an ``import`` of other modules that binds the same names."""
    parts = []
    for alias in node.names:
        module = replaced(alias.name, places)
        if module is None:
            parts.append("import " + ast.unparse(alias))
        elif alias.asname:
            parts.append(f"import {module} as {alias.asname}")
        else:
            first = alias.name.split(".")[0]
            top = replaced(first, places) or first
            parts += [f"import {module}"] if "." in alias.name else []
            parts.append(f"import {top} as {first}")
    return "; ".join(parts)


def imports(source: str, places: dict[str, str]) -> str:
    """Return the program with its imports replaced; every line keeps its number."""
    lines = source.splitlines(keepends=True)
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.Import, ast.ImportFrom))]
    for node in sorted(nodes, key=lambda n: (n.lineno, n.col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        line = lines[first].encode()
        start = line[: node.col_offset].decode()
        if isinstance(node, ast.ImportFrom):
            module = replaced(node.module or "", places) if node.level == 0 else None
            rest = line[node.col_offset :].decode()
            old = f"{node.module}.{node.names[0].name}"
            if old in MOVED and len(node.names) == 1:  # from keras.utils import np_utils
                top, _, last = (replaced(old, places) or old).rpartition(".")
                name = node.names[0].asname or node.names[0].name
                lines[first] = f"{start}from {top} import {last} as {name}\n"
            elif module:
                lines[first] = start + re.sub(r"^from\s+[\w.]+", f"from {module}", rest)
        elif any(replaced(alias.name, places) for alias in node.names):
            end = lines[last].encode()[node.end_col_offset :].decode()
            lines[first : last + 1] = [
                start + statements(node, places) + end, *["\n"] * (last - first)
            ]  # fmt: skip
    return "".join(lines)
