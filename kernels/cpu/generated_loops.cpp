// Expressions that layers of the framework are in a step, as loops.
// Written by `make formulas` from `call` in gpunn/layers; do not edit.
#include "../formulas/elements.cuh"
#include "operation.hpp"
#include "pieces.hpp"

namespace {

template <typename T> inline void put(T x, bool adds, T& out) { out = adds ? out + x : x; }

// Add: e e; add 0 1; 2
template <typename T>
void loop_0(const T* x0, const T* x1, const double*, int64 rows, int64 columns, bool adds_0,
            T* y0) {
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            const T v1 = x1[i];
            put(v0 + v1, adds_0, y0[i]);
        }
    });
}

// Add, Subtract, Average: e; copy 0; 1
template <typename T>
void loop_1(const T* x0, const double*, int64 rows, int64 columns, bool adds_0, T* y0) {
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            put(elements::copy(v0), adds_0, y0[i]);
        }
    });
}

// Subtract: e e; subtract 0 1; 2
template <typename T>
void loop_2(const T* x0, const T* x1, const double*, int64 rows, int64 columns, bool adds_0,
            T* y0) {
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            const T v1 = x1[i];
            put(v0 - v1, adds_0, y0[i]);
        }
    });
}

// Subtract: e; negative 0; 1
template <typename T>
void loop_3(const T* x0, const double*, int64 rows, int64 columns, bool adds_0, T* y0) {
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            put(-v0, adds_0, y0[i]);
        }
    });
}

// Multiply: e e; multiply 0 1; 2
template <typename T>
void loop_4(const T* x0, const T* x1, const double*, int64 rows, int64 columns, bool adds_0,
            T* y0) {
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            const T v1 = x1[i];
            put(v0 * v1, adds_0, y0[i]);
        }
    });
}

// Multiply: e e e; multiply 0 1; multiply 0 2; 3 4
template <typename T>
void loop_5(const T* x0, const T* x1, const T* x2, const double*, int64 rows, int64 columns,
            bool adds_0, bool adds_1, T* y0, T* y1) {
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            const T v1 = x1[i];
            const T v2 = x2[i];
            put(v0 * v1, adds_0, y0[i]);
            put(v0 * v2, adds_1, y1[i]);
        }
    });
}

// Average: e e; add 0 1; constant; multiply 2 3; 4
template <typename T>
void loop_6(const T* x0, const T* x1, const double* numbers, int64 rows, int64 columns, bool adds_0,
            T* y0) {
    const T n0 = T(numbers[0]);
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            const T v1 = x1[i];
            put((v0 + v1) * n0, adds_0, y0[i]);
        }
    });
}

// Average: e; constant; multiply 0 1; 2
template <typename T>
void loop_7(const T* x0, const double* numbers, int64 rows, int64 columns, bool adds_0, T* y0) {
    const T n0 = T(numbers[0]);
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            put(v0 * n0, adds_0, y0[i]);
        }
    });
}

// Maximum: e e; maximum 0 1; 2
template <typename T>
void loop_8(const T* x0, const T* x1, const double*, int64 rows, int64 columns, bool adds_0,
            T* y0) {
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            const T v1 = x1[i];
            put(elements::maximum(v0, v1), adds_0, y0[i]);
        }
    });
}

// Maximum: e e e; greater 0 1; equal 0 1; constant; multiply 2 5; constant; where 4 6 7; where 3 2
// 8; less 0 1; where 10 2 8; 9 11
template <typename T>
void loop_9(const T* x0, const T* x1, const T* x2, const double* numbers, int64 rows, int64 columns,
            bool adds_0, bool adds_1, T* y0, T* y1) {
    const T n0 = T(numbers[0]);
    const T n1 = T(numbers[1]);
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            const T v1 = x1[i];
            const T v2 = x2[i];
            const T v6 = v2 * n0;
            const T v8 = v0 == v1 ? v6 : n1;
            put(v0 > v1 ? v2 : v8, adds_0, y0[i]);
            put(v0 < v1 ? v2 : v8, adds_1, y1[i]);
        }
    });
}

// Minimum: e e; minimum 0 1; 2
template <typename T>
void loop_10(const T* x0, const T* x1, const double*, int64 rows, int64 columns, bool adds_0,
             T* y0) {
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            const T v1 = x1[i];
            put(elements::minimum(v0, v1), adds_0, y0[i]);
        }
    });
}

// Minimum: e e e; less 0 1; equal 0 1; constant; multiply 2 5; constant; where 4 6 7; where 3 2 8;
// greater 0 1; where 10 2 8; 9 11
template <typename T>
void loop_11(const T* x0, const T* x1, const T* x2, const double* numbers, int64 rows,
             int64 columns, bool adds_0, bool adds_1, T* y0, T* y1) {
    const T n0 = T(numbers[0]);
    const T n1 = T(numbers[1]);
    in_pieces(0, rows * columns, [=](int64 first, int64 last) {
        INDEPENDENT
        for (int64 i = first; i < last; ++i) {
            const T v0 = x0[i];
            const T v1 = x1[i];
            const T v2 = x2[i];
            const T v6 = v2 * n0;
            const T v8 = v0 == v1 ? v6 : n1;
            put(v0 < v1 ? v2 : v8, adds_0, y0[i]);
            put(v0 > v1 ? v2 : v8, adds_1, y1[i]);
        }
    });
}

// PReLU: e c; constant; greater 0 2; multiply 0 1; where 3 0 4; 5
template <typename T>
void loop_12(const T* x0, const T* x1, const double* numbers, int64 rows, int64 columns,
             bool adds_0, T* y0) {
    const T n0 = T(numbers[0]);
    for (int64 r = 0; r < rows; ++r) {
        INDEPENDENT
        for (int64 c = 0; c < columns; ++c) {
            const int64 i = r * columns + c;
            const T v0 = x0[i];
            const T v1 = x1[c];
            const T v4 = v0 * v1;
            put(v0 > n0 ? v0 : v4, adds_0, y0[i]);
        }
    }
}

// PReLU: e e c; constant; greater 0 3; constant; where 4 5 1; multiply 6 0; constant; where 4 1 8;
// multiply 6 2; add 9 10; 11 7
template <typename T>
void loop_13(const T* x0, const T* x1, const T* x2, const double* numbers, int64 rows,
             int64 columns, bool adds_0, bool adds_1, T* y0, T* y1) {
    const T n0 = T(numbers[0]);
    const T n1 = T(numbers[1]);
    const T n2 = T(numbers[2]);
    for (int64 r = 0; r < rows; ++r) {
        INDEPENDENT
        for (int64 c = 0; c < columns; ++c) {
            const int64 i = r * columns + c;
            const T v0 = x0[i];
            const T v1 = x1[i];
            const T v2 = x2[c];
            const bool v4 = v0 > n0;
            const T v6 = v4 ? n1 : v1;
            put((v4 ? v1 : n2) + v6 * v2, adds_0, y0[i]);
            put(v6 * v0, adds_1, y1[i]);
        }
    }
}

template <typename T> void add_loops() {
    const char* type = name_of<T>();
    add<&loop_0<T>>("loop", {type, "e e; add 0 1; 2"});
    add<&loop_1<T>>("loop", {type, "e; copy 0; 1"});
    add<&loop_2<T>>("loop", {type, "e e; subtract 0 1; 2"});
    add<&loop_3<T>>("loop", {type, "e; negative 0; 1"});
    add<&loop_4<T>>("loop", {type, "e e; multiply 0 1; 2"});
    add<&loop_5<T>>("loop", {type, "e e e; multiply 0 1; multiply 0 2; 3 4"});
    add<&loop_6<T>>("loop", {type, "e e; add 0 1; constant; multiply 2 3; 4"});
    add<&loop_7<T>>("loop", {type, "e; constant; multiply 0 1; 2"});
    add<&loop_8<T>>("loop", {type, "e e; maximum 0 1; 2"});
    add<&loop_9<T>>("loop", {type, "e e e; greater 0 1; equal 0 1; constant; multiply 2 5; constant; where 4 6 7; where 3 2 8; less 0 1; where 10 2 8; 9 11"});
    add<&loop_10<T>>("loop", {type, "e e; minimum 0 1; 2"});
    add<&loop_11<T>>("loop", {type, "e e e; less 0 1; equal 0 1; constant; multiply 2 5; constant; where 4 6 7; where 3 2 8; greater 0 1; where 10 2 8; 9 11"});
    add<&loop_12<T>>("loop", {type, "e c; constant; greater 0 2; multiply 0 1; where 3 0 4; 5"});
    add<&loop_13<T>>("loop", {type, "e e c; constant; greater 0 3; constant; where 4 5 1; multiply 6 0; constant; where 4 1 8; multiply 6 2; add 9 10; 11 7"});
}

const Registration registration([] {
    EACH_FLOAT(add_loops)
});

}  // namespace
