// The Python module _kernels_chooser: which of the modules of kernels/cpu suits this CPU. It is
// compiled for any CPU, so that it can be asked where the others cannot even be loaded.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define FOR_X86 1
#include <cpuid.h>
#endif

namespace {

#if FOR_X86
// The CPU is asked itself: __builtin_cpu_supports reads a table that Zig's runtime leaves empty.
struct Registers {
    unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers leaf(unsigned number) {
    Registers r;
    __get_cpuid_count(number, 0, &r.a, &r.b, &r.c, &r.d);
    return r;
}

bool has(unsigned word, int bit) { return word >> bit & 1; }

// Whether the system saves these registers when it changes to another process.
bool saves(unsigned registers) {
    if (!has(leaf(1).c, 27)) return false;  // there is no xgetbv
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & registers) == registers;
}

bool has_avx2() {
    return has(leaf(1).c, 12) && has(leaf(1).c, 28) && has(leaf(7).b, 5) && saves(0x06);
}

bool has_avx512() {  // F, DQ, BW and VL
    const unsigned b = leaf(7).b;
    return has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31) && saves(0xe6);
}
#endif

PyObject* best(PyObject*, PyObject*) {
    const char* best = "baseline";
#if FOR_X86
    if (has_avx2()) best = has_avx512() ? "avx512" : "avx2";
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
