"""Write the generated parts of the documents from the program itself: `make docs`.

The table of operations comes from their declarations, the list of parts from their docstrings. The
trace of a training step comes from running one: what each backend does for each operation.
"""

from __future__ import annotations

import importlib
import inspect
import runpy
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gpunn import ops
from gpunn.apps.roofline.step_profile import BATCH, copied, example, step_program
from gpunn.backends.contract import Contract, OpDeclaration
from gpunn.backends.contract.declaration import Argument
from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch.known_gpus import GPU, GPUS
from gpunn.backends.cupy.launch.tasks import Product, Task
from gpunn.common import registry
from gpunn.compat import absent, members
from gpunn.core.operators import FUNCTIONS

DOCS = Path(__file__).parents[1] / "docs"
LINE_TO_KERNEL = runpy.run_path(str(Path(__file__).with_name("line_to_kernel.py")))
ONE_FORMULA = runpy.run_path(str(Path(__file__).with_name("one_formula.py")))
FIT_PATH = runpy.run_path(str(Path(__file__).with_name("fit_path.py")))
READING_ORDER = runpy.run_path(str(Path(__file__).with_name("reading_order.py")))
COMMAND_LINE = runpy.run_path(str(Path(__file__).with_name("command_line.py")))


def shape_of(argument: Argument) -> str:
    if callable(argument.shape):
        return "set by the formula"
    shape = ", ".join(argument.shape.split())
    turned = f", transposed by `{argument.transposed}`" if argument.transposed else ""
    dtype = "" if argument.dtype == "float" else f" {argument.dtype}"
    return f"({shape}){dtype}{turned}"


def arrays_of(operation: OpDeclaration, use: str) -> str:
    """Return its arrays that are read, written, or both (also where the call decides)."""
    found = []
    for name, argument in operation.arrays.items():
        kinds = {(True, False): "read", (False, True): "written"}
        kind = "both" if callable(argument.read) or callable(argument.written) else None
        if (kind or kinds.get((bool(argument.read), bool(argument.written)), "both")) == use:
            optional = "?" if argument.optional else ""
            found.append(f"`{name}{optional}` {shape_of(argument)}")
    return "<br>".join(found)


def row(operation: OpDeclaration) -> str:
    text = (operation.method.__doc__ or "").split("\n\n")[0]
    meaning = " ".join(text.split()).replace("|", "\\|")
    where = "<br>".join(f"`{condition}`" for condition in operation.where).replace("|", "\\|")
    uses = [arrays_of(operation, use) for use in ("read", "written", "both")]
    return "| " + " | ".join([f"`{operation.name}`", *uses, where, meaning]) + " |"


def table_of_operations() -> str:
    lines = [
        "| operation | reads | writes | reads and/or writes | required | what it does |",
        "| --- | --- | --- | --- | --- | --- |",
        *map(row, Contract.operations.values()),
    ]
    return "\n".join(lines) + "\n"


# -- the parts that users name

MODULES = (
    "activations", "layers", "losses", "metrics", "optimizers", "optimizers.schedules",
    "initializers", "regularizers", "constraints", "callbacks",
)  # fmt: skip


def is_part(value: Any) -> bool:
    """Whether it is a registered class."""
    if not (isinstance(value, type) and issubclass(value, registry.Entry)):
        return False
    return registry.entries(value._kind).get(value.__name__) is value


def list_of_parts() -> str:
    """Return a table for each kind: the name, and the first paragraph of the docstring."""
    lines = []
    for name in MODULES:
        lines += [f"### `gpunn.{name}`", "", "| part | what it is |", "| --- | --- |"]
        module = importlib.import_module(f"gpunn.{name}")
        names = {*vars(module), *getattr(module, "__all__", ())}
        public = [getattr(module, one) for one in names]
        parts = {value.__name__: value for value in public if is_part(value)}
        for part, cls in sorted(parts.items()):
            meaning = " ".join((cls.__doc__ or "").split("\n\n")[0].split()).replace("|", "\\|")
            lines.append(f"| `{part}` | {meaning} |")
        lines.append("")
    return "\n".join(lines)


# -- the operations on tensors


DIFFERS = """## What differs

Values match NumPy, or Keras where NumPy has no such operation. Gradients match PyTorch. These are
the exceptions, which the tests of all operations (`tests/ops/test_operations.py`) exclude.
"""


def list_of_functions() -> str:
    """Return a table: the name and arguments, and the first paragraph of the docstring."""
    lines = ["| operation | what it does |", "| --- | --- |"]
    images = {f"image.{name}": getattr(ops.image, name) for name in ops.image.__all__}
    for name, function in sorted({**FUNCTIONS, **images}.items()):
        parameters = inspect.signature(function).parameters.values()
        arguments = ", ".join(map(written_argument, parameters))
        meaning = " ".join((function.__doc__ or "").split("\n\n")[0].split()).replace("|", "\\|")
        lines.append(f"| `{name}({arguments})` | {meaning} |")
    return "\n".join(lines) + "\n"


def list_of_differences() -> str:
    """Return a table of where operations differ from what they are tested against."""
    sys.path.insert(0, str(DOCS.parent / "tests" / "support"))
    oracles = importlib.import_module("operation_cases").ORACLES
    names: dict[Any, list[str]] = {}
    for name, oracle in sorted(oracles.items()):
        refused = [call.refused for call in oracle.calls if call.refused]
        for difference in dict.fromkeys((*oracle.differs, *refused)):
            names.setdefault(difference, []).append(f"`{name}`")
    lines = ["| inputs | operations | other libraries | gpunn |", "| --- | --- | --- | --- |"]
    for difference, operations in names.items():
        what = "the gradient: " if difference.of == "gradient" else ""
        cells = difference.inputs, ", ".join(operations), difference.theirs, what + difference.ours
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def functions_and_differences() -> str:
    return f"{list_of_functions()}\n{DIFFERS}\n{list_of_differences()}"


def written_argument(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    if parameter.default is parameter.empty:
        return parameter.name
    return f"{parameter.name}={parameter.default!r}"


# -- the trace of a step


def calls_on_host(backend: str) -> tuple[list[ProfiledOperation], list[str]]:
    """Return the operations of a training step, and the calls that its program makes for each."""
    model = copied(example(), backend)
    program, own = step_program(model, BATCH, 2), model._trainer.training.backend
    profile = model.backend.profile()
    with profile as operations:
        program.run(1)
    calls: list[list[str]] = []

    def step() -> None:
        trace = own.xp  # receives the calls while a step is traced
        add_call = trace.add_call

        def recorded(function: Any, *args: Any, **kwargs: Any) -> Any:
            before, listed = len(trace.calls), len(calls[-1])
            out = add_call(function, *args, **kwargs)
            spread = len(trace.calls) - before - 1  # copies of a row into a whole array
            if len(calls[-1]) == listed:  # else it consists of others, which are listed already
                calls[-1] += ["copyto"] * spread + [name_of_call(function)]
            return out

        trace.add_call = recorded
        for run, given in profile.calls:
            calls.append([])
            run(given)

    own.trace(step)
    return operations, [", ".join(f"`{name}`" for name in names) for names in calls]


def name_of_call(function: Any) -> str:
    """Return the name of a function of NumPy or gpunn, or of a compiled operation."""
    name = getattr(function, "__name__", None)
    return name or repr(function).removeprefix("<operation ").removesuffix(">")


def launches_on_gpu(gpu: GPU | None = None) -> tuple[list[str], list[str]]:
    """Return the numbers of the launches of each operation, and the tasks of each launch."""
    model = copied(example(), dry.make_backend(gpu))
    program: Any = step_program(model, BATCH, 1)
    with model.backend.profile() as operations, np.errstate(all="ignore"):
        program.run(1)
    numbers = [
        ", ".join(
            str(number)
            for number, launch in enumerate(program.launches, 1)
            if any(o is operation for task in launch.tasks for o in task.operations)
        )
        for operation in operations
    ]
    return numbers, [" + ".join(map(name_of_task, launch.tasks)) for launch in program.launches]


def name_of_task(task: Task) -> str:
    if isinstance(task, Product):
        return "product"
    return f"`{' '.join((task.name, *task.choices))}`"


def trace_of_a_step() -> str:
    operations, on_numpy = calls_on_host("numpy")
    _, compiled = calls_on_host("compiled")
    fused, tasks = launches_on_gpu()
    _, (persistent,) = launches_on_gpu(GPUS[-1])
    lines = [
        "| | operation | arrays | NumPy calls | compiled calls | launch |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    columns = zip(operations, on_numpy, compiled, fused, strict=True)
    for number, (operation, calls, call, launch) in enumerate(columns, 1):
        name = f"`{operation.name}` {operation.formula}".rstrip()
        if operation.name == "matmul":  # the CPU decides which of them
            call = "`matmul float32` or `dot`"
        lines.append(f"| {number} | {name} | {shapes(operation)} | {calls} | {call} | {launch} |")
    lines += ["", "| launch | what it does |", "| --- | --- |"]
    lines += [f"| {number} | {task} |" for number, task in enumerate(tasks, 1)]
    lines += ["", f"In the mode `persistent`, one launch runs many steps of this: {persistent}."]
    return "\n".join(lines) + "\n"


def shapes(operation: ProfiledOperation) -> str:
    return ", ".join(
        f"{name} {'x'.join(map(str, shape)) or '1'}" for name, shape in operation.shapes.items()
    )


# -- the pages

# For each page: where its generated part begins, where it ends, and what makes it.
PARTS: dict[str, tuple[str, str, Callable[[], str]]] = {
    "reference/operations.md": (
        "<!-- table of operations -->\n", "<!-- end of the table -->", table_of_operations
    ),
    "reference/keras.md": (
        "<!-- not supported -->\n\n", "<!-- end of the table -->",
        lambda: f"{absent.table()}\nNor do objects have these attributes:\n\n{members.table()}",
    ),
    "reference/ops.md": (
        "<!-- list of operations -->\n\n", "<!-- end of the list -->", functions_and_differences
    ),
    "reference/parts.md": ("<!-- list of parts -->\n\n", "<!-- end of the list -->", list_of_parts),
    "reference/command-line.md": (
        "<!-- commands -->\n\n", "<!-- end of the commands -->", COMMAND_LINE["generated"]
    ),
    "explanation/from-your-line-to-a-kernel.md": (
        "<!-- one line -->\n\n", "<!-- end of the line -->", LINE_TO_KERNEL["generated"]
    ),
    "explanation/one-formula.md": (
        "<!-- the formula -->\n\n", "<!-- end of the formula -->", ONE_FORMULA["generated"]
    ),
    "explanation/what-happens-in-fit.md": (
        "<!-- the path -->\n\n", "<!-- end of the path -->", FIT_PATH["generated"]
    ),
    "explanation/the-core.md": (
        "<!-- the files -->\n\n", "<!-- end of the files -->", READING_ORDER["generated"]
    ),
    "explanation/architecture.md": (
        "<!-- trace of a step -->\n", "<!-- end of the trace -->", trace_of_a_step
    ),
}  # fmt: skip


def written(page: str) -> str:
    """Return the text of a page with its generated part up to date."""
    begin, end, made = PARTS[page]
    before, _, rest = (DOCS / page).read_text(encoding="utf-8").partition(begin)
    return before + begin + made() + end + rest.partition(end)[2]


def main(pages: Iterable[str] = PARTS) -> None:
    for page in pages:
        text = written(page)
        (DOCS / page).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
