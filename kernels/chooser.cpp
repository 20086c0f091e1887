// The Python module _kernels_chooser: which of the modules of kernels/cpu suits this CPU. It is
// compiled for any CPU, so that it can be asked where the others cannot even be loaded.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace {

PyObject* best(PyObject*, PyObject*) {
    const char* best = "baseline";
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = "avx2";
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        best = "avx512";
#endif
    return PyUnicode_FromString(best);
}

PyMethodDef functions[] = {
    {"best", best, METH_NOARGS, "The best instruction set of this CPU, the end of a module's name."},
    {nullptr, nullptr, 0, nullptr}};
PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels_chooser", nullptr, -1, functions,
                          nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__kernels_chooser() { return PyModule_Create(&definition); }
