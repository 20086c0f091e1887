// The Python module: operations as callables, bound calls, and programs that perform such calls
// repeatedly without returning to Python.
#include "lane_programs.hpp"
#include "narrow.hpp"
#include "pool.hpp"

#include <structmember.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <vector>

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED_OF(a, b) a##b
#define JOINED(a, b) JOINED_OF(a, b)

namespace {

constexpr npy_intp LARGE = 1 << 15;      // bytes: operations on more data release the GIL
constexpr int64 MOST_TOGETHER = 64;      // most steps between two readings of the clock
constexpr std::chrono::milliseconds BETWEEN_SIGNALS(20);
// A run that is expected to take less keeps the GIL: with other threads waiting for it, getting it
// back would take longer than the run.
constexpr std::chrono::duration<double, std::micro> SHORT(30);

struct PyOperation {
    PyObject_HEAD
    vectorcallfunc call;
    const Operation* operation;
};

struct PyProgram {
    PyObject_HEAD
    PyObject* calls;
    std::vector<const PyBound*>* bound;  // the same
    PyObject* last;  // the program of the last step of a run, which writes more; null: this one
    NarrowStep* narrow;  // the calls as one function; null unless they are a narrow network's step
    double step_time;  // microseconds a step took in the last run; infinite before the first run
};

PyTypeObject* operation_type;
PyTypeObject* program_type;

void perform(const Operation& operation, const Word* words, bool large) {
    if (!large) {
        operation.perform(words);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    operation.perform(words);
    Py_END_ALLOW_THREADS
}

// Whether an operation that may end a program has found a reason to.
bool has_stopped(const Operation& operation, const Word* words) {
    if (!operation.stops) return false;
    return *static_cast<const int64*>(words[operation.parameters.size() - 1].array) != 0;
}

// The last argument of such an operation is a function, called when it stops. It raises an error,
// or returns None: then the program just ends.
PyObject* stop(const PyBound* bound) {
    return PyObject_CallNoArgs(
        PyTuple_GetItem(bound->arguments, PyTuple_Size(bound->arguments) - 1));
}

bool convert_all(const Operation& operation, PyObject* const* values, std::size_t n,
                 Arguments& converted, npy_intp& bytes) {
    if (operation.stops && (n == 0 || !PyCallable_Check(values[--n]))) {
        PyErr_Format(PyExc_TypeError, "%s takes a function behind its arguments",
                     operation.name.c_str());
        return false;
    }
    return convert(operation, values, n, converted, bytes);
}

bool no_keywords(PyObject* names) {
    if (!names || PyTuple_Size(names) == 0) return true;
    PyErr_SetString(PyExc_TypeError, "an operation takes its arguments by position");
    return false;
}

PyObject* call_operation(PyObject* self, PyObject* const* values, std::size_t n, PyObject* names) {
    const Operation& operation = *reinterpret_cast<PyOperation*>(self)->operation;
    Arguments converted;
    npy_intp bytes = 0;
    if (!no_keywords(names)) return nullptr;
    const std::size_t count = std::size_t(PyVectorcall_NARGS(n));
    if (!convert_all(operation, values, count, converted, bytes)) return nullptr;
    perform(operation, converted.words, bytes > LARGE);
    if (has_stopped(operation, converted.words)) return PyObject_CallNoArgs(values[count - 1]);
    Py_RETURN_NONE;
}

PyObject* call_bound(PyObject* self, PyObject* const*, std::size_t n, PyObject*) {
    PyBound* bound = reinterpret_cast<PyBound*>(self);
    if (PyVectorcall_NARGS(n)) {
        PyErr_SetString(PyExc_TypeError, "the arguments of a bound call are given already");
        return nullptr;
    }
    perform(*bound->operation, bound->converted.words, bound->large);
    if (has_stopped(*bound->operation, bound->converted.words)) return stop(bound);
    Py_RETURN_NONE;
}

PyObject* bind(PyObject* self, PyObject* const* values, Py_ssize_t n) {
    const Operation* operation = reinterpret_cast<PyOperation*>(self)->operation;
    PyBound* bound = PyObject_New(PyBound, bound_type);
    if (!bound) return nullptr;
    bound->call = call_bound;
    bound->operation = operation;
    bound->arguments = PyTuple_New(n);
    if (!bound->arguments) {
        Py_DECREF(bound);
        return nullptr;
    }
    for (Py_ssize_t i = 0; i < n; ++i) {
        Py_INCREF(values[i]);
        PyTuple_SetItem(bound->arguments, i, values[i]);
    }
    npy_intp bytes = 0;
    if (!convert_all(*operation, values, std::size_t(n), bound->converted, bytes)) {
        Py_DECREF(bound);
        return nullptr;
    }
    bound->large = bytes > LARGE;
    return reinterpret_cast<PyObject*>(bound);
}

PyObject* new_program(PyTypeObject*, PyObject* arguments, PyObject*) {
    PyObject *given, *last = nullptr;
    if (!PyArg_ParseTuple(arguments, "O|O!", &given, program_type, &last)) return nullptr;
    PyObject* calls = PySequence_Tuple(given);
    if (!calls) return nullptr;
    for (Py_ssize_t i = 0; i < PyTuple_Size(calls); ++i) {
        if (Py_TYPE(PyTuple_GetItem(calls, i)) != bound_type) {
            PyErr_SetString(PyExc_TypeError, "a program is made of bound calls");
            Py_DECREF(calls);
            return nullptr;
        }
    }
    PyProgram* program = PyObject_New(PyProgram, program_type);
    if (!program) {
        Py_DECREF(calls);
        return nullptr;
    }
    program->calls = calls;
    Py_XINCREF(last);
    program->last = last;
    program->bound = new std::vector<const PyBound*>;
    std::vector<Call> all;
    for (Py_ssize_t i = 0; i < PyTuple_Size(calls); ++i) {
        const PyBound* bound = reinterpret_cast<PyBound*>(PyTuple_GetItem(calls, i));
        program->bound->push_back(bound);
        all.push_back({bound->operation, bound->converted.words});
    }
    program->narrow = narrow_step(all).release();
    program->step_time = std::numeric_limits<double>::infinity();
    return reinterpret_cast<PyObject*>(program);
}

// Performs a call. If it finds a reason to stop, `stopped` then points to it.
bool goes_on(const PyBound* bound, const PyBound*& stopped) {
    bound->operation->perform(bound->converted.words);
    if (has_stopped(*bound->operation, bound->converted.words)) stopped = bound;
    return !stopped;
}

// The steps of a pass, how many of them are left, the program of one more step after them if there
// is one, and the call between two passes.
struct Pass {
    int64 steps, left;
    const PyProgram* rest = nullptr;
    const PyBound* between = nullptr;
};

// Performs some steps, until it is time to check for signals; returns how many. The clock is read
// after each step, or less often if steps are short. A call that finds a reason to stop is the last
// one: then `stopped` points to it.
int64 some_steps(const PyProgram* program, int64 most, Pass& pass, const PyBound*& stopped) {
    using clock = std::chrono::steady_clock;
    const Run run;
    const clock::time_point end = clock::now() + BETWEEN_SIGNALS;
    NarrowStep* narrow = program->narrow;
    if (narrow) narrow->begin();
    int64 done = 0, together = 1;
    for (clock::time_point now = end - BETWEEN_SIGNALS; done < most && now < end;) {
        if (pass.left == 0) {
            if (!goes_on(pass.between, stopped)) break;
            pass.left = pass.steps;
        }
        const int64 begun = done, stop = done + std::min({together, most - done, pass.left});
        for (; narrow && done < stop; ++done) narrow->perform();
        for (; done < stop; ++done)
            for (const PyBound* bound : *program->bound)
                if (!goes_on(bound, stopped)) return done;
        pass.left -= done - begun;
        now = clock::now();
        if (together < MOST_TOGETHER && end - now > BETWEEN_SIGNALS / 2) together *= 2;
    }
    if (narrow) narrow->end();
    return done;
}

const PyProgram* last_of(const PyProgram* program) {
    return program->last ? reinterpret_cast<const PyProgram*>(program->last) : program;
}

// The same for passes that end with a step of another program, which stores the gradients: a loss
// that is not finite ends the run after any pass.
int64 some_steps_and_rests(const PyProgram* program, int64 most, Pass& pass,
                           const PyBound*& stopped) {
    using clock = std::chrono::steady_clock;
    const clock::time_point end = clock::now() + BETWEEN_SIGNALS;
    int64 done = 0;
    while (done < most && !stopped && clock::now() < end) {
        if (pass.left > 0) {
            done += some_steps(program, std::min(most - done, pass.left), pass, stopped);
            continue;
        }
        Pass one{1, 1};
        done += some_steps(last_of(pass.rest), 1, one, stopped);
        if (done < most && !stopped && goes_on(pass.between, stopped)) pass.left = pass.steps;
    }
    return done;
}

PyObject* run_program(PyObject* self, PyObject* arguments) {
    long long steps, passes = 1;
    PyObject *between = nullptr, *rest = Py_None;
    if (!PyArg_ParseTuple(arguments, "L|LO!O", &steps, &passes, bound_type, &between, &rest))
        return nullptr;
    if (passes > 1 && !between) {
        PyErr_SetString(PyExc_TypeError, "several passes take a bound call between two of them");
        return nullptr;
    }
    if (rest != Py_None && (Py_TYPE(rest) != program_type || !between)) {
        PyErr_SetString(PyExc_TypeError, "the rest of each of several passes is a program");
        return nullptr;
    }
    using clock = std::chrono::steady_clock;
    PyProgram* program = reinterpret_cast<PyProgram*>(self);
    const PyProgram* last = reinterpret_cast<PyProgram*>(program->last);
    Pass pass{steps, steps, rest == Py_None ? nullptr : reinterpret_cast<PyProgram*>(rest),
              reinterpret_cast<PyBound*>(between)};
    if (!pass.rest && between && last) pass = {steps - 1, steps - 1, last, pass.between};
    int64 left = (pass.steps + (pass.rest != nullptr)) * passes;
    const PyBound* stopped = nullptr;
    bool interrupted = false;
    while (left > 0 && !interrupted) {
        const bool is_short = program->step_time * double(left) < SHORT.count();
        PyThreadState* released = is_short ? nullptr : PyEval_SaveThread();
        const clock::time_point begun = clock::now();
        const int64 done =
            pass.rest ? some_steps_and_rests(program, left, pass, stopped)
            : last && left == 1 ? some_steps(last, 1, pass, stopped)
                                : some_steps(program, last ? left - 1 : left, pass, stopped);
        const std::chrono::duration<double, std::micro> taken = clock::now() - begun;
        if (released) PyEval_RestoreThread(released);
        if (done > 0) program->step_time = taken.count() / double(done);
        left -= done;
        if (stopped) return stop(stopped);
        interrupted = left > 0 && PyErr_CheckSignals();
    }
    if (!interrupted) Py_RETURN_NONE;
    if (pass.rest || last) {  // an interrupted run has a last step too
        PyThreadState* released = PyEval_SaveThread();
        Pass one{1, 1};
        some_steps(last_of(pass.rest && pass.left == 0 ? pass.rest : program), 1, one, stopped);
        PyEval_RestoreThread(released);
    }
    return nullptr;
}

PyObject* describe(PyObject* self) {
    const Operation& operation = *reinterpret_cast<PyOperation*>(self)->operation;
    std::string text = "<operation " + operation.name;
    for (const std::string& choice : operation.choices) text += " " + choice;
    return PyUnicode_FromString((text + ">").c_str());
}

void drop_bound(PyObject* self) { drop<PyBound>(self, &PyBound::arguments); }
void drop_program(PyObject* self) {
    Py_XDECREF(reinterpret_cast<PyProgram*>(self)->last);
    delete reinterpret_cast<PyProgram*>(self)->narrow;
    delete reinterpret_cast<PyProgram*>(self)->bound;
    drop<PyProgram>(self, &PyProgram::calls);
}

// (name, *choices) of an operation
PyObject* key_of(const Operation& operation) {
    PyObject* key = PyTuple_New(Py_ssize_t(1 + operation.choices.size()));
    PyTuple_SetItem(key, 0, PyUnicode_FromString(operation.name.c_str()));
    for (std::size_t i = 0; i < operation.choices.size(); ++i)
        PyTuple_SetItem(key, Py_ssize_t(i + 1),
                        PyUnicode_FromString(operation.choices[i].c_str()));
    return key;
}
PyObject* key_of_bound(PyObject* self, void*) {
    return key_of(*reinterpret_cast<PyBound*>(self)->operation);
}

// The arrays that a call reads or writes; those that it may write, if `only_written`.
PyObject* arrays_of_bound(PyObject* self, void* only_written) {
    const PyBound* bound = reinterpret_cast<PyBound*>(self);
    PyObject* found = PyList_New(0);
    for (std::size_t i = 0; found && i < bound->operation->parameters.size(); ++i) {
        const Parameter& parameter = bound->operation->parameters[i];
        PyObject* value = PyTuple_GetItem(bound->arguments, Py_ssize_t(i));
        if (parameter.kind > Parameter::arrays || value == Py_None ||
            (only_written && parameter.constant))
            continue;
        const bool failed = parameter.kind == Parameter::array
                                ? PyList_Append(found, value) < 0
                                : PyList_SetSlice(found, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, value) < 0;
        if (failed) Py_CLEAR(found);
    }
    return found;
}

PyMethodDef operation_methods[] = {
    {"bind", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(bind)), METH_FASTCALL,
     "bind(*arguments): a call of it that can be repeated."},
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef program_methods[] = {
    {"run", run_program, METH_VARARGS,
     "run(steps, passes=1, between=None, rest=None): perform the calls so many times, in so many "
     "passes, each of which ends with a step of the program ``rest``; and a bound call between two "
     "passes, which may end the run."},
    {nullptr, nullptr, 0, nullptr}};
PyMemberDef operation_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyOperation, call), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyMemberDef bound_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyBound, call), READONLY, nullptr},
    {"arguments", T_OBJECT, offsetof(PyBound, arguments), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyGetSetDef bound_attributes[] = {
    {"key", key_of_bound, nullptr, "(name, *choices) of its operation.", nullptr},
    {"arrays", arrays_of_bound, nullptr, "The arrays that it reads or writes.", nullptr},
    {"written", arrays_of_bound, nullptr, "The arrays that it may write.", &bound_type},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef program_members[] = {
    {"calls", T_OBJECT, offsetof(PyProgram, calls), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyType_Slot operation_slots[] = {{Py_tp_call, slot(PyVectorcall_Call)},
                                 {Py_tp_repr, slot(describe)},
                                 {Py_tp_methods, operation_methods},
                                 {Py_tp_members, operation_members},
                                 {0, nullptr}};
PyType_Slot bound_slots[] = {{Py_tp_call, slot(PyVectorcall_Call)},
                             {Py_tp_dealloc, slot(drop_bound)},
                             {Py_tp_members, bound_members},
                            {Py_tp_getset, bound_attributes},
                             {0, nullptr}};
PyType_Slot program_slots[] = {{Py_tp_new, slot(new_program)},
                               {Py_tp_dealloc, slot(drop_program)},
                               {Py_tp_methods, program_methods},
                               {Py_tp_members, program_members},
                               {0, nullptr}};
constexpr unsigned CALLABLE = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL;
PyType_Spec operation_spec = {"gpunn.backends.Operation", sizeof(PyOperation), 0, CALLABLE,
                              operation_slots};
PyType_Spec bound_spec = {"gpunn.backends.Bound", sizeof(PyBound), 0, CALLABLE, bound_slots};
PyType_Spec program_spec = {"gpunn.backends.Program", sizeof(PyProgram), 0, Py_TPFLAGS_DEFAULT,
                            program_slots};

PyObject* change_threads(PyObject*, PyObject* count) {
    const long n = PyLong_AsLong(count);
    if (n == -1 && PyErr_Occurred()) return nullptr;
    set_threads(int(n));
    Py_RETURN_NONE;
}

// Whether all are between -limit and limit. NaN is not.
template <typename T> bool all_within(const T* x, int64 n, double limit) {
    constexpr int64 some = 1 << 16;
    const double largest = double(std::numeric_limits<T>::max());
    const T most = T(limit < largest ? limit : largest);
    std::atomic<int32> found{0};
    parallel((n + some - 1) / some, [&](int64 piece) {
        const int64 end = std::min(n, (piece + 1) * some);
        int32 outside = 0;
        for (int64 i = piece * some; i < end; ++i) outside |= !(x[i] <= most) | !(x[i] >= -most);
        if (outside) found.store(1, std::memory_order_relaxed);
    });
    return !found.load();
}

PyObject* within(PyObject*, PyObject* const* values, Py_ssize_t n) {
    if (n != 2 || !PyArray_Check(values[0])) {
        PyErr_SetString(PyExc_TypeError, "within() takes an array and a number");
        return nullptr;
    }
    PyArrayObject* array = reinterpret_cast<PyArrayObject*>(values[0]);
    const double limit = PyFloat_AsDouble(values[1]);
    if (limit == -1.0 && PyErr_Occurred()) return nullptr;
    const int type = PyArray_TYPE(array);
    if (!PyArray_ISCARRAY_RO(array) || (type != NPY_FLOAT32 && type != NPY_FLOAT64)) {
        PyErr_SetString(PyExc_TypeError, "within() takes C-contiguous floats");
        return nullptr;
    }
    bool all;
    Py_BEGIN_ALLOW_THREADS
    const void* numbers = PyArray_DATA(array);
    const int64 size = PyArray_SIZE(array);
    all = type == NPY_FLOAT32 ? all_within(static_cast<const float*>(numbers), size, limit)
                              : all_within(static_cast<const double*>(numbers), size, limit);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(all);
}

PyMethodDef functions[] = {
    {"within", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(within)), METH_FASTCALL,
     "within(array, limit): whether all numbers are between -limit and limit."},
    {"set_threads", change_threads, METH_O, "How many threads a large operation may use."},
    {nullptr, nullptr, 0, nullptr}};
PyModuleDef definition = {PyModuleDef_HEAD_INIT, TEXT(MODULE), nullptr, -1, functions,
                          nullptr, nullptr, nullptr, nullptr};

// {(name, *choices): operation}
PyObject* table() {
    PyObject* all = PyDict_New();
    for (const Operation& operation : operations()) {
        PyOperation* item = PyObject_New(PyOperation, operation_type);
        item->call = call_operation;
        item->operation = &operation;
        PyObject* key = key_of(operation);
        PyDict_SetItem(all, key, reinterpret_cast<PyObject*>(item));
        Py_DECREF(key);
        Py_DECREF(item);
    }
    return all;
}

}  // namespace

PyMODINIT_FUNC JOINED(PyInit_, MODULE)() {
    import_array();
    PyObject* module = PyModule_Create(&definition);
    operation_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&operation_spec));
    bound_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&bound_spec));
    program_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&program_spec));
    lanes_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&lanes_spec));
    if (!module || !operation_type || !bound_type || !program_type || !lanes_type) return nullptr;
    PyModule_AddObject(module, "operations", table());
    PyModule_AddObjectRef(module, "Bound", reinterpret_cast<PyObject*>(bound_type));
    PyModule_AddObjectRef(module, "Program", reinterpret_cast<PyObject*>(program_type));
    PyModule_AddObjectRef(module, "Lanes", reinterpret_cast<PyObject*>(lanes_type));
    PyModule_AddObject(module, "lane_rules", table_of_lanes());
    PyModule_AddIntConstant(module, "NETWORKS", NETWORKS);
    return module;
}
