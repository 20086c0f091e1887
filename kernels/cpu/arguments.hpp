// The arguments of an operation, checked and converted from Python objects.
#pragma once
#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <Python.h>
#include <numpy/arrayobject.h>

#include "operation.hpp"

namespace {

int type_number(Type type) {
    switch (type) {
        case Type::boolean: return NPY_BOOL;
        case Type::int8: return NPY_INT8;
        case Type::int16: return NPY_INT16;
        case Type::int32: return NPY_INT32;
        case Type::int64: return NPY_INT64;
        case Type::uint8: return NPY_UINT8;
        case Type::uint16: return NPY_UINT16;
        case Type::uint32: return NPY_UINT32;
        case Type::uint64: return NPY_UINT64;
        case Type::float16: return NPY_FLOAT16;
        case Type::float32: return NPY_FLOAT32;
        case Type::float64: return NPY_FLOAT64;
        default: return NPY_NOTYPE;
    }
}

// Arguments as C++ has them: words, and the arrays of the tuples that words point to.
struct Arguments {
    Word words[MOST_ARGUMENTS];
    AnyArray listed[MOST_LISTED];
};

// The reason why an operation cannot take an array, whatever its type; nullptr if it can.
const char* fault(PyArrayObject* array, bool constant) {
    if (!PyArray_IS_C_CONTIGUOUS(array) || !PyArray_ISALIGNED(array))
        return "is not C-contiguous and aligned";
    return constant || PyArray_ISWRITEABLE(array) ? nullptr : "cannot be written to";
}

bool convert_array(const Operation& operation, std::size_t i, PyObject* value, Word& word,
                   npy_intp& bytes) {
    const Parameter& parameter = operation.parameters[i];
    if (value == Py_None) {
        word.array = nullptr;
        return true;
    }
    if (!PyArray_Check(value)) {
        PyObject* type = PyType_GetName(Py_TYPE(value));
        if (!type) return false;
        PyErr_Format(PyExc_TypeError, "%s: argument %zu is %U, not an array",
                     operation.name.c_str(), i + 1, type);
        Py_DECREF(type);
        return false;
    }
    PyArrayObject* array = reinterpret_cast<PyArrayObject*>(value);
    const int type = type_number(parameter.type);
    if (!PyArray_EquivTypenums(PyArray_TYPE(array), type) || !PyArray_ISNOTSWAPPED(array)) {
        PyArray_Descr* wanted = PyArray_DescrFromType(type);
        PyErr_Format(PyExc_TypeError, "%s: argument %zu is %S, not %S", operation.name.c_str(),
                     i + 1, reinterpret_cast<PyObject*>(PyArray_DESCR(array)),
                     reinterpret_cast<PyObject*>(wanted));
        Py_DECREF(wanted);
        return false;
    }
    if (const char* found = fault(array, parameter.constant)) {
        PyErr_Format(PyExc_TypeError, "%s: argument %zu %s", operation.name.c_str(), i + 1, found);
        return false;
    }
    word.array = PyArray_DATA(array);
    bytes += PyArray_NBYTES(array);
    return true;
}

Type type_of_array(PyArrayObject* array) {
    for (Type type : {Type::float32, Type::float64, Type::boolean, Type::int8, Type::int16,
                      Type::int32, Type::int64, Type::uint8, Type::uint16, Type::uint32,
                      Type::uint64, Type::float16})
        if (PyArray_EquivTypenums(PyArray_TYPE(array), type_number(type))) return type;
    return Type::none;
}

// Converts a tuple of arrays to the listed ones from index `first` on; moves `first` past them.
bool convert_arrays(const Operation& operation, std::size_t i, PyObject* value,
                    Arguments& converted, std::size_t& first, npy_intp& bytes) {
    converted.words[i].array = converted.listed + first;
    const char* wrong = PyTuple_Check(value) ? nullptr : "is no tuple of arrays";
    for (Py_ssize_t k = 0; !wrong && k < PyTuple_Size(value); ++k) {
        PyObject* item = PyTuple_GetItem(value, k);
        PyArrayObject* array = reinterpret_cast<PyArrayObject*>(item);
        if (!PyArray_Check(item)) {
            wrong = "is no tuple of arrays";
        } else if (first == MOST_LISTED) {
            wrong = "has too many arrays";
        } else if (type_of_array(array) == Type::none || !PyArray_ISNOTSWAPPED(array)) {
            wrong = "has an array of another type";
        } else if (!(wrong = fault(array, operation.parameters[i].constant))) {
            converted.listed[first++] = {PyArray_DATA(array), type_of_array(array),
                                         int64(PyArray_SIZE(array))};
            bytes += PyArray_NBYTES(array);
        }
    }
    if (!wrong) return true;
    PyErr_Format(PyExc_TypeError, "%s: argument %zu %s", operation.name.c_str(), i + 1, wrong);
    return false;
}

bool convert(const Operation& operation, PyObject* const* values, std::size_t n,
             Arguments& converted, npy_intp& bytes) {
    Word* words = converted.words;
    std::size_t listed = 0;
    if (n != operation.parameters.size()) {
        PyErr_Format(PyExc_TypeError, "%s takes %zu arguments, not %zu", operation.name.c_str(),
                     operation.parameters.size(), n);
        return false;
    }
    for (std::size_t i = 0; i < n; ++i) {
        switch (operation.parameters[i].kind) {
            case Parameter::array:
                if (!convert_array(operation, i, values[i], words[i], bytes)) return false;
                break;
            case Parameter::arrays:
                if (!convert_arrays(operation, i, values[i], converted, listed, bytes))
                    return false;
                break;
            case Parameter::number:
                words[i].number = PyFloat_AsDouble(values[i]);
                if (words[i].number == -1.0 && PyErr_Occurred()) return false;
                break;
            case Parameter::integer: {
                PyObject* index = PyNumber_Index(values[i]);
                if (!index) return false;
                words[i].integer = int64(PyLong_AsUnsignedLongLongMask(index));
                Py_DECREF(index);
                if (PyErr_Occurred()) return false;
                break;
            }
            case Parameter::boolean: {
                const int truth = PyObject_IsTrue(values[i]);
                if (truth < 0) return false;
                words[i].integer = truth;
            }
        }
    }
    return true;
}

}  // namespace
