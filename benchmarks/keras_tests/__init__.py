"""Keras's own tests, run with gpunn's names in place of Keras's."""

import re

FOLDERS = (
    "activations", "callbacks", "constraints", "initializers", "layers", "losses", "metrics",
    "models", "ops", "optimizers", "random", "regularizers", "saving", "trainers", "utils",
)  # fmt: skip
NOT_COUNTED = re.compile(
    r"jit|jax|flax|distribut|device|bounding_box|bbox|(?<!ot)tensorflow|openvino|torch_module|nnx"
)
INTERNAL = re.compile(
    r"trainers/(compile_utils|data_adapters|epoch_iterator)|ops/(function|node|operation_utils"
    r"|symbolic_arguments)_|utils/(argument_validation|backend_utils|code_stats|dtype_utils|file_utils"
    r"|io_utils|module_utils|naming|python_utils|summary_utils|torch_utils|tracking|traceback)"
)
NARROW = re.compile(r"complex|bfloat16|float16|float8|float64|u?int8|u?int16|uint32|int64")


def concerns(test: str) -> bool:
    """Return whether a test concerns what gpunn sets out to have.

    These do not: other frameworks, compilers and several devices; bounding boxes; functions
    that no user imports; in tests of dtypes, those other than float32, int32 and bool.

    >>> concerns("ops/numpy_test.py::NumpyDtypeTest::test_add_int8_float32")
    False
    """
    folder, _, name = test.lower().partition("/")
    if folder not in FOLDERS or INTERNAL.match(test) or NOT_COUNTED.search(name):
        return False
    return not ("dtype" in name and NARROW.search(name.partition("::")[2]))
