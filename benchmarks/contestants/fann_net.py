"""FANN, the Fast Artificial Neural Network Library in C, which trains W6 through ctypes."""

from __future__ import annotations

import ctypes
import itertools
from ctypes.util import find_library

import numpy as np

REQUIRES = ("libfann",)
VARIANTS = {"FANN": {"device": "cpu"}}
ONLY = "W6"
NOTE = (
    "Debian's libfann in float32 (apt-get install libfann-dev). A pass is one call, "
    "fann_train_epoch with incremental training, which keeps the squared error; "
    "fann_shuffle_train_data before it. Sigmoid with FANN's steepness 0.5, 1 / (1 + exp(-x)); no "
    "momentum, as by default. Its error function is set to the linear one (by default it is "
    "tanh's), so that it descends half the squared error. FANN takes outputs beyond 0.01 and "
    "0.99 for these limits where it computes a derivative; the others do not."
)
SIGMOID, INCREMENTAL, LINEAR_ERROR = 3, 0, 0  # of FANN's enumerations
FLOATS = ctypes.POINTER(ctypes.c_float)


class Connection(ctypes.Structure):
    """``struct fann_connection``."""

    _fields_ = (
        ("source", ctypes.c_uint),
        ("target", ctypes.c_uint),
        ("weight", ctypes.c_float),
    )


class TrainData(ctypes.Structure):
    """``struct fann_train_data``."""

    _fields_ = (
        ("error_number", ctypes.c_int),
        ("error_log", ctypes.c_void_p),
        ("error_text", ctypes.c_char_p),
        ("rows", ctypes.c_uint),
        ("inputs", ctypes.c_uint),
        ("outputs", ctypes.c_uint),
        ("x", ctypes.POINTER(FLOATS)),
        ("y", ctypes.POINTER(FLOATS)),
    )


def library():
    """Load libfann for floats, and declare the functions that are called here."""
    fann = ctypes.CDLL(find_library("fann"))
    pointer, data, unsigned = ctypes.c_void_p, ctypes.POINTER(TrainData), ctypes.c_uint
    links = ctypes.POINTER(Connection)
    for name, result, arguments in (
        ("fann_create_standard_array", pointer, (unsigned, ctypes.POINTER(unsigned))),
        ("fann_set_activation_function_hidden", None, (pointer, ctypes.c_int)),
        ("fann_set_activation_function_output", None, (pointer, ctypes.c_int)),
        ("fann_set_training_algorithm", None, (pointer, ctypes.c_int)),
        ("fann_set_train_error_function", None, (pointer, ctypes.c_int)),
        ("fann_set_learning_rate", None, (pointer, ctypes.c_float)),
        ("fann_get_total_connections", unsigned, (pointer,)),
        ("fann_get_connection_array", None, (pointer, links)),
        ("fann_set_weight_array", None, (pointer, links, unsigned)),
        ("fann_create_train", data, (unsigned, unsigned, unsigned)),
        ("fann_shuffle_train_data", None, (data,)),
        ("fann_train_epoch", ctypes.c_float, (pointer, data)),
    ):
        function = getattr(fann, name)
        function.restype, function.argtypes = result, arguments
    return fann


def network(x, y, weights, rate, shuffle):
    """Return functions for a pass over the rows, and for the weights, of a sigmoid network.

    Args:
        x, y: float32 (rows, inputs) and (rows, outputs).
        weights: kernel (inputs, units) and bias (units,) of each layer.
        rate: the learning rate.
        shuffle: whether to shuffle the rows before each pass.
    """
    fann = library()
    sizes = [*(len(kernel) for kernel in weights[::2]), len(weights[-1])]
    made = fann.fann_create_standard_array(len(sizes), (ctypes.c_uint * len(sizes))(*sizes))
    fann.fann_set_activation_function_hidden(made, SIGMOID)
    fann.fann_set_activation_function_output(made, SIGMOID)
    fann.fann_set_training_algorithm(made, INCREMENTAL)
    fann.fann_set_train_error_function(made, LINEAR_ERROR)
    fann.fann_set_learning_rate(made, rate)

    data = fann.fann_create_train(len(x), x.shape[1], y.shape[1])
    for rows, into in ((x, data.contents.x), (y, data.contents.y)):
        for number, row in enumerate(np.ascontiguousarray(rows, np.float32)):
            ctypes.memmove(into[number], row.ctypes.data, row.nbytes)

    count = fann.fann_get_total_connections(made)
    links = (Connection * count)()
    fann.fann_get_connection_array(made, links)
    places = [*_places(sizes)]

    def write():
        values = {place: weights[i][at] for place, (i, at) in places}
        for link in links:
            link.weight = values[link.source, link.target]
        fann.fann_set_weight_array(made, links, count)

    def read():
        fann.fann_get_connection_array(made, links)
        found = {(link.source, link.target): link.weight for link in links}
        arrays = [np.zeros_like(w) for w in weights]
        for place, (i, at) in places:
            arrays[i][at] = found[place]
        return arrays

    def epoch():
        if shuffle:
            fann.fann_shuffle_train_data(data)
        return fann.fann_train_epoch(made, data)

    write()
    return epoch, read


def _places(sizes):
    """Return ((source, target), (index of the array, index in it)) of every weight.

    Neurons are numbered layer by layer. Each layer has an additional last neuron, with the
    constant output 1, for the biases of the next layer.
    """
    first = 0
    for layer, (inputs, units) in enumerate(itertools.pairwise(sizes)):
        following = first + inputs + 1
        for unit in range(units):
            for source in range(inputs):
                yield (first + source, following + unit), (2 * layer, (source, unit))
            yield (first + inputs, following + unit), (2 * layer + 1, unit)
        first = following
