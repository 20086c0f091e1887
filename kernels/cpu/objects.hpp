// The Python objects that programs are made of.
#pragma once
#include "arguments.hpp"

namespace {

PyTypeObject* bound_type;

// Bound arguments: as C++ has them, and the Python objects, to keep their memory alive.
struct PyBound {
    PyObject_HEAD
    vectorcallfunc call;
    const Operation* operation;
    PyObject* arguments;
    bool large;
    Arguments converted;
};

template <typename Object> void drop(PyObject* self, PyObject* Object::*held) {
    PyTypeObject* type = Py_TYPE(self);
    Py_XDECREF(reinterpret_cast<Object*>(self)->*held);
    PyObject_Free(self);
    Py_DECREF(type);
}

template <typename Function> void* slot(Function function) {
    return reinterpret_cast<void*>(function);
}

}  // namespace
