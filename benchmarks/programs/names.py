"""Count the names of Keras and TensorFlow that the programs in a folder use.

    python -m benchmarks.programs.names FOLDER > names.md

FOLDER has the repositories of `sources.json`. It counts programs with layers: first those
trained by `fit` whose layers gpunn supports or the program defines; then
also those that write the training step by hand; then all without recurrent layers, attention and
text.
"""

from __future__ import annotations

import argparse
import ast
import collections
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import gpunn

from .sources import NotThere, files, parse, read

SOURCES = Path(__file__).parent / "sources.json"
ELSEWHERE = (  # layers of networks that gpunn does not support
    "Attention", "Bidirectional", "ConvLSTM", "Embedding", "GRU", "Hashing", "LSTM", "Lookup",
    "Masking", "RNN", "StringLookup", "TextVectorization", "TimeDistributed",
)  # fmt: skip
KERAS = ("tensorflow.python.keras", "tensorflow.keras", "tensorflow.compat.v2.keras", "keras_core")
METHODS = (
    "assign", "assign_add", "assign_sub", "astype", "copy", "device", "dtype", "flatten",
    "get_shape", "item", "max", "mean", "min", "ndim", "numpy", "reshape", "shape", "std", "sum",
    "tolist", "value",
)  # fmt: skip
TENSORS = (  # functions that return tensors, by prefixes of their full names
    "keras.ops.", "keras.backend.", "keras.random.", "tf.math.", "tf.nn.", "tf.random.",
    "tf.linalg.", "tf.image.", "keras.activations.", "keras.losses.", "tf.signal.",
)  # fmt: skip
NO_TENSORS = (
    "clear_session", "device", "epsilon", "floatx", "function", "int_shape", "set_seed",
    "image_data_format",
)  # fmt: skip


def canonical(name: str) -> str:
    """Return the canonical name of an object, independent of its import."""
    for beginning in KERAS:
        if name == beginning or name.startswith(beginning + "."):
            name = "keras" + name[len(beginning) :]
    if name == "tensorflow" or name.startswith("tensorflow."):
        name = "tf" + name[len("tensorflow") :]
    parts = name.split(".")
    if parts[0] == "keras" and len(parts) > 3 and parts[1] == "layers" and parts[3][:1].isupper():
        name = ".".join((*parts[:2], *parts[3:]))  # keras.layers.core.Dense
    return name.replace("keras.src.", "keras.")


class Names(ast.NodeVisitor):
    """The full names that a program uses, and its tensor operations."""

    def __init__(self, tree: ast.Module) -> None:
        self.aliases: dict[str, str] = {}
        self.used: collections.Counter[str] = collections.Counter()
        self.on_tensors: collections.Counter[str] = collections.Counter()
        self.tensors: list[set[str]] = [set()]
        self.fits = False
        self.own_layers = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.bases
        }
        self.visit(tree)

    def full(self, node: ast.AST) -> str | None:
        """Return the full name of a chain of attributes, if it begins with an import."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.aliases:
            return None
        return canonical(".".join((self.aliases[node.id], *reversed(parts))))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.asname:
                self.aliases[alias.asname] = alias.name
            else:
                first = alias.name.split(".")[0]
                self.aliases[first] = first

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.fits |= node.attr in ("fit", "fit_generator", "train_on_batch")
        name = self.full(node)
        if name:
            self.used[name] += 1
            return
        if self.is_tensor(node.value) and node.attr in METHODS:
            self.on_tensors["." + node.attr] += 1
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        name = self.full(node)
        if name and isinstance(node.ctx, ast.Load):
            self.used[name] += 1

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        name = self.full(node.value)
        for target in node.targets:
            if name and isinstance(target, ast.Name):
                self.aliases[target.id] = name  # layers = keras.layers
            elif self.is_tensor(node.value):
                for part in ast.walk(target):
                    if isinstance(part, (ast.Name, ast.Attribute)):
                        self.tensors[-1].add(ast.unparse(part))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if self.is_tensor(node.target) or self.is_tensor(node.value):
            self.on_tensors[f"{symbol(node.op)}="] += 1
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        names = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
        known = set(self.tensors[-1])
        if {"y_true", "y_pred"} & set(names) or node.name in ("call", "train_step", "test_step"):
            known |= set(names) - {"self", "training", "mask", "sample_weight"}
        elif node.name == "__call__":
            known |= set(names) - {"self", "shape", "dtype"}
        self.tensors.append(known)
        self.generic_visit(node)
        self.tensors.pop()

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if self.is_tensor(node.left) or self.is_tensor(node.right):
            self.on_tensors[symbol(node.op)] += 1
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if self.is_tensor(node.operand):
            self.on_tensors[f"unary {symbol(node.op)}"] += 1
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if self.is_tensor(node.left) or any(map(self.is_tensor, node.comparators)):
            for operator in node.ops:
                self.on_tensors[symbol(operator)] += 1
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self.is_tensor(node.value) and isinstance(node.ctx, ast.Load):
            self.on_tensors[f"[{index(node.slice)}]"] += 1
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in ("float", "int", "len", "print"):
            for argument in node.args:
                if self.is_tensor(argument):
                    self.on_tensors[f"{node.func.id}()"] += 1
        self.generic_visit(node)

    def is_tensor(self, node: ast.AST) -> bool:
        """Whether an expression is a tensor, as far as static analysis can tell."""
        if isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node) in self.tensors[-1]:
            return True
        if isinstance(node, ast.Subscript):
            return self.is_tensor(node.value)
        if isinstance(node, ast.BinOp):
            return self.is_tensor(node.left) or self.is_tensor(node.right)
        if isinstance(node, ast.UnaryOp):
            return self.is_tensor(node.operand)
        if isinstance(node, ast.Compare):
            return self.is_tensor(node.left)
        if not isinstance(node, ast.Call):
            return False
        if getattr(node.func, "attr", "") in ("add_weight", "add_variable"):
            return True
        name = self.full(node.func)
        if name is None:
            return (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in ("astype", "reshape", "mean", "sum")
                and self.is_tensor(node.func.value)
            )
        last = name.split(".")[-1]
        if last in NO_TENSORS or (last[:1].isupper() and last != "Variable"):
            return False
        plain = name.startswith("tf.") and name.count(".") == 1
        return plain or name.startswith(TENSORS)


def symbol(operator: ast.AST) -> str:
    """Return the symbol of an operator."""
    return {
        "Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "Pow": "**",
        "MatMult": "@", "USub": "-", "UAdd": "+", "Invert": "~", "Not": "not", "Eq": "==",
        "NotEq": "!=", "Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "BitAnd": "&", "BitOr": "|",
        "BitXor": "^", "Is": "is", "IsNot": "is not", "In": "in", "NotIn": "not in",
        "LShift": "<<", "RShift": ">>",
    }[type(operator).__name__]  # fmt: skip


def index(node: ast.AST) -> str:
    """Return the kind of an index: ``i``, ``:``, ``...``, ``None``, ``x`` for computed ones."""
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    kinds = []
    for part in parts:
        if isinstance(part, ast.Slice):
            kinds.append(":" if part.step is None else "::")
        elif isinstance(part, ast.Constant):
            kinds.append({type(None): "None", type(...): "..."}.get(type(part.value), "i"))
        elif isinstance(part, ast.Attribute) and part.attr == "newaxis":
            kinds.append("None")
        elif isinstance(part, ast.UnaryOp):
            kinds.append("i")
        else:
            kinds.append("x")
    return ", ".join(kinds)


def layers(names: Names) -> set[str]:
    """Return Keras's layers that a program uses."""
    found = {name.split(".")[2] for name in names.used if name.startswith("keras.layers.")}
    return {name for name in found if name[:1].isupper()} | {
        name.split(".")[1] for name in names.used if name.startswith("keras.applications")
    }


KINDS = ("fit", "ours", "near")
BY_HAND = ("tf.GradientTape", "tf.Session", "tf.compat.v1", "tf.estimator", "tf.placeholder")


def kind(names: Names) -> str:
    """Return one of the `KINDS`, or ``other``."""
    there = {name for name in dir(gpunn.layers) if name[:1].isupper()} | {"Lambda"}
    used = layers(names)
    if not used or any(word in name for name in used for word in ELSEWHERE):
        return "other"
    if not used <= there:
        return "near"
    by_hand = any(name.startswith(BY_HAND) for name in names.used)
    return "ours" if by_hand or not names.fits else "fit"


def programs(folder: Path) -> Iterator[tuple[str, Names]]:
    """Yield each program of the sources that uses Keras once: a notebook or its twin, not both."""
    seen = set()
    for source in json.loads(SOURCES.read_text(encoding="utf-8")):
        paths = files(folder, source["repository"], source["commit"], source["paths"])
        for path in sorted(paths, key=lambda p: (p.endswith(".py"), p)):
            whole = str(Path(path).with_suffix(""))
            family = source.get("family")
            stem = (family, Path(path).stem) if family else (source["repository"], whole)
            if stem in seen or "/." in f"/{path}":
                continue
            try:
                tree = parse(read(folder, source["repository"], source["commit"], path))
            except NotThere as absent:
                print(absent, file=sys.stderr)
                continue
            if tree is None:
                continue
            names = Names(tree)
            if any(name.startswith("keras.") for name in names.used):
                seen.add(stem)
                yield f"{source['repository']} {path}", names


# One operation has several names; Keras 3's comes first.
SAME = {
    "abs": "absolute", "add_n": "add (of a list)", "batch_dot": "dot", "clip_by_value": "clip",
    "concat": "concatenate", "constant": "convert_to_tensor", "conv2d": "conv",
    "convolution": "conv", "dot": "matmul", "gather": "take", "get_value": "convert_to_numpy",
    "int_shape": "shape", "l2_normalize": "normalize", "max_pool2d": "max_pool", "avg_pool2d":
    "average_pool", "permute_dimensions": "transpose", "pow": "power", "random_normal":
    "random.normal", "random_uniform": "random.uniform", "range": "arange", "reduce_all": "all",
    "reduce_any": "any", "reduce_max": "max", "reduce_mean": "mean", "reduce_min": "min",
    "reduce_prod": "prod", "reduce_std": "std", "reduce_sum": "sum", "reduce_variance": "var",
    "reduce_logsumexp": "logsumexp", "repeat_elements": "repeat", "truediv": "divide",
    "variable": "Variable",
}  # fmt: skip
DTYPES = ("bool", "string", *(f"{k}{n}" for k in ("int", "uint", "float", "complex")
          for n in (8, 16, 32, 64, 128)))  # fmt: skip
PLACES = ("keras.ops.nn.", "keras.ops.numpy.", "keras.ops.", "keras.backend.", "tf.math.", "tf.nn.",
          "tf.linalg.", "tf.")  # fmt: skip


def operation(name: str) -> str | None:
    """Return the operation of a full name, or None."""
    if name.startswith(("keras.random.", "tf.random.")):
        return "random." + name.split(".")[2]
    for place in PLACES:
        if name.startswith(place):
            last = name[len(place) :]
            if "." in last or not last[:1].islower() or last in DTYPES:
                return None
            return SAME.get(last, last)
    return None


GROUPS = {
    "keras.ops": "`keras.ops`",
    "tf.math": "`tf.math`",
    "tf.nn": "`tf.nn`",
    "keras.backend": "`keras.backend`",
    "keras.random": "`keras.random`",
    "tf.random": "`tf.random`",
    "tf.linalg": "`tf.linalg`",
    "tf.image": "`tf.image`",
    "tf.data": "`tf.data`",
    "tf.config": "`tf.config`",
    "tf.": "other `tf`",
    "keras.layers": "`keras.layers`",
    "keras.losses": "`keras.losses`",
    "keras.metrics": "`keras.metrics`",
    "keras.initializers": "`keras.initializers`",
    "keras.callbacks": "`keras.callbacks`",
    "keras.utils": "`keras.utils`",
    "keras.datasets": "`keras.datasets`",
    "keras.": "other `keras`",
}
Counts = dict[str, collections.Counter[str]]


def table(programs_: Counts, uses: Counts, names: set[str]) -> list[str]:
    """Return the rows of a table, the most used first."""
    rows = ["| name | fit: programs | uses | by hand too | near | uses |", "|" + " --- |" * 6]

    def figures(name: str) -> list[int]:
        return [programs_["fit"][name], uses["fit"][name], programs_["ours"][name],
                programs_["near"][name], uses["near"][name]]  # fmt: skip

    for name in sorted(names, key=lambda n: ([-f for f in figures(n)], n)):
        shown = name.replace("|", "\\|")
        rows.append(f"| `{shown}` | " + " | ".join(map(str, figures(name))) + " |")
    return rows


def page(folder: Path) -> str:
    in_programs: Counts = {which: collections.Counter() for which in KINDS}
    uses: Counts = {which: collections.Counter() for which in KINDS}
    total: collections.Counter[str] = collections.Counter()
    prefix = "operation "
    for _, names in programs(folder):
        which = kind(names)
        total[which] += 1
        if which == "other":
            continue
        found = names.used + names.on_tensors
        for name, number in names.used.items():
            if same := operation(name):
                found[prefix + same] += number
        for wider in KINDS[KINDS.index(which) :]:
            uses[wider].update(found)
            in_programs[wider].update(found.keys())
    ours, near = total["fit"] + total["ours"], total["fit"] + total["ours"] + total["near"]
    lines = [
        "# What programs use",
        "",
        f"{total['fit']} programs are trained by `fit` and have only layers that gpunn has, their "
        f"own and `Lambda`; with those that write the step by hand, or train nothing, {ours}; "
        f"{near} with those that have other layers of the same field. {total['other']} others are "
        "not counted.",
        "",
    ]
    left = set(uses["near"])
    merged = {name for name in left if name.startswith(prefix)}
    left -= merged
    lines += ["## Operations, under whichever name", ""]
    lines += [row.replace(prefix, "") for row in table(in_programs, uses, merged)]
    words = ("is", "is not", "in", "not in")
    on_tensors = {
        n for n in left if not n[0].isalpha() or n.endswith("()") or n[:5] == "unary" or n in words
    }
    lines += ["", "## On tensors", "", *table(in_programs, uses, on_tensors), ""]
    for beginning, title in GROUPS.items():
        inside = {name for name in left - on_tensors if name.startswith(beginning)}
        left -= inside
        lines += [f"## {title}", "", *table(in_programs, uses, inside), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder with the repositories")
    print(page(parser.parse_args().folder))


if __name__ == "__main__":
    main()
