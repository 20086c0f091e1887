// Programs of several networks in lanes, as a Python type.
#pragma once
#include "lanes.hpp"
#include "objects.hpp"

#include <memory>
#include <vector>

namespace {

PyTypeObject* lanes_type;

// The calls of several programs, and of between two passes of each.
struct LanesOfPrograms {
    std::vector<std::vector<SizedCall>> networks;
    std::unique_ptr<Lanes> lanes;
};

struct PyLanes {
    PyObject_HEAD
    PyObject* calls;
    LanesOfPrograms* of;
};

SizedCall sized(const PyBound* bound) {
    SizedCall call{bound->operation, bound->converted.words, {}};
    for (std::size_t i = 0; i < bound->operation->parameters.size(); ++i) {
        PyObject* value = PyTuple_GetItem(bound->arguments, Py_ssize_t(i));
        if (PyArray_Check(value))
            call.bytes[i] = PyArray_NBYTES(reinterpret_cast<PyArrayObject*>(value));
        if (PyTuple_Check(value)) call.bytes[i] = PyTuple_Size(value);
    }
    return call;
}

bool is_bound(PyObject* value) {
    if (Py_TYPE(value) == bound_type) return true;
    PyErr_SetString(PyExc_TypeError, "a program is made of bound calls");
    return false;
}

PyObject* new_lanes(PyTypeObject*, PyObject* arguments, PyObject*) {
    PyObject* given;
    if (!PyArg_ParseTuple(arguments, "O!", &PyTuple_Type, &given)) return nullptr;
    auto of = std::make_unique<LanesOfPrograms>();
    const Py_ssize_t count = PyTuple_Size(given);
    if (count < 1 || count > NETWORKS) {
        PyErr_Format(PyExc_ValueError, "1 to %d programs, not %zd", NETWORKS, count);
        return nullptr;
    }
    for (Py_ssize_t l = 0; l < count; ++l) {
        PyObject* calls = PyTuple_GetItem(given, l);
        if (!PyTuple_Check(calls) || PyTuple_Size(calls) == 0) {
            PyErr_SetString(PyExc_TypeError, "lanes take a tuple of tuples of bound calls");
            return nullptr;
        }
        of->networks.emplace_back();
        for (Py_ssize_t i = 0; i < PyTuple_Size(calls); ++i) {
            PyObject* call = PyTuple_GetItem(calls, i);
            if (!is_bound(call)) return nullptr;
            of->networks.back().push_back(sized(reinterpret_cast<PyBound*>(call)));
        }
    }
    std::string reason;
    of->lanes = lanes_of(of->networks, reason);
    if (!of->lanes) {
        PyErr_SetString(PyExc_ValueError, reason.c_str());
        return nullptr;
    }
    PyLanes* lanes = PyObject_New(PyLanes, lanes_type);
    if (!lanes) return nullptr;
    Py_INCREF(given);
    lanes->calls = given;
    lanes->of = of.release();
    return reinterpret_cast<PyObject*>(lanes);
}

PyObject* run_lanes(PyObject* self, PyObject* arguments) {
    long long steps, passes = 1;
    PyObject *given = nullptr, *flag;
    if (!PyArg_ParseTuple(arguments, "LO!|LO!", &steps, &PyArray_Type, &flag, &passes,
                          &PyTuple_Type, &given))
        return nullptr;
    PyArrayObject* const array = reinterpret_cast<PyArrayObject*>(flag);
    if (PyArray_TYPE(array) != NPY_BOOL || PyArray_SIZE(array) != 1) {
        PyErr_SetString(PyExc_TypeError, "the flag that ends a run is an array of one bool");
        return nullptr;
    }
    const volatile uint8* const stopped = static_cast<uint8*>(PyArray_DATA(array));
    LanesOfPrograms& of = *reinterpret_cast<PyLanes*>(self)->of;
    std::vector<SizedCall> between;
    for (Py_ssize_t l = 0; given && l < PyTuple_Size(given); ++l) {
        if (!is_bound(PyTuple_GetItem(given, l))) return nullptr;
        between.push_back(sized(reinterpret_cast<PyBound*>(PyTuple_GetItem(given, l))));
    }
    if (passes > 1 && between.size() != of.networks.size()) {
        PyErr_SetString(PyExc_TypeError, "several passes take a bound call for each program");
        return nullptr;
    }
    std::vector<const SizedCall*> calls;
    for (const SizedCall& call : between) calls.push_back(&call);
    Py_BEGIN_ALLOW_THREADS
    of.lanes->begin();
    for (int64 pass = 0; pass < passes; ++pass) {
        if (*stopped || (pass > 0 && !of.lanes->next_pass(calls))) break;
        for (int64 step = 0; step < steps && !*stopped; ++step) of.lanes->perform();
    }
    of.lanes->end();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject* bytes_of_lanes(PyObject* self, void*) {
    return PyLong_FromLongLong(reinterpret_cast<PyLanes*>(self)->of->lanes->bytes());
}

void drop_lanes(PyObject* self) {
    delete reinterpret_cast<PyLanes*>(self)->of;
    drop<PyLanes>(self, &PyLanes::calls);
}

PyObject* tuple_of(const std::vector<int>& numbers) {
    PyObject* tuple = PyTuple_New(Py_ssize_t(numbers.size()));
    for (std::size_t i = 0; tuple && i < numbers.size(); ++i)
        PyTuple_SetItem(tuple, Py_ssize_t(i), PyLong_FromLong(numbers[i]));
    return tuple;
}

// {name: (places in lanes, places in which networks may differ)}
PyObject* table_of_lanes() {
    PyObject* all = PyDict_New();
    for (const LaneRule& rule : lane_rules()) {
        PyObject* places = Py_BuildValue("(NN)", tuple_of(rule.lanes), tuple_of(rule.own));
        PyDict_SetItemString(all, rule.name, places);
        Py_XDECREF(places);
    }
    return all;
}

PyMethodDef lanes_methods[] = {
    {"run", run_lanes, METH_VARARGS,
     "run(steps, stopped, passes=1, between=()): perform the steps of all programs, in so many "
     "passes; and a bound call of each between two passes, which may end its run. ``stopped`` is "
     "an array of one bool: once it is true, the run ends after a step."},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef lanes_attributes[] = {
    {"bytes", bytes_of_lanes, nullptr, "Memory of the arrays in lanes.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot lanes_slots[] = {{Py_tp_new, slot(new_lanes)},
                             {Py_tp_dealloc, slot(drop_lanes)},
                             {Py_tp_methods, lanes_methods},
                             {Py_tp_getset, lanes_attributes},
                             {0, nullptr}};
PyType_Spec lanes_spec = {"gpunn.backends.Lanes", sizeof(PyLanes), 0, Py_TPFLAGS_DEFAULT,
                          lanes_slots};

}  // namespace
