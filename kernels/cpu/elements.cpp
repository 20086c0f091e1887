// Element-wise passes without a formula: conversion, columns.
#include "../formulas/types.cuh"
#include "operation.hpp"
#include "vectors.hpp"

namespace {

// out[i] = value(i), or += with `accumulate`
template <typename T, typename Value>
inline void write(T* out, int64 n, bool accumulate, Value value) {
    if (accumulate) {
        INDEPENDENT
        for (int64 i = 0; i < n; ++i) out[i] += value(i);
    } else {
        INDEPENDENT
        for (int64 i = 0; i < n; ++i) out[i] = value(i);
    }
}

// out (+)= x scale + offset, from any numeric type
template <typename Source, typename Out>
void affine(const Source* x, double factor, double shift, int64 n, bool accumulate, Out* out) {
    const Out scale = Out(factor), offset = Out(shift);
    write(out, n, accumulate, [=](int64 i) { return Converted<Out>::of(x[i]) * scale + offset; });
}

// In each row, `width` elements of `into` starting at `at` (+)= those of x starting at `start`.
template <typename T>
void copy_columns(const T* x, int64 x_width, int64 start, int64 rows, int64 width, int64 at,
                  int64 into_width, bool accumulate, T* into) {
    for (int64 r = 0; r < rows; ++r) {
        const T* source = x + r * x_width + start;
        write(into + r * into_width + at, width, accumulate, [=](int64 c) { return source[c]; });
    }
}

// out (+)= the sums over the rows of `count` vectors of neighbouring columns, in registers. SOME_ROWS
// at a time are summed first, so that a sum over many rows does not lose small values next to a large
// one.
template <typename T, int count, typename Load, typename Store>
inline void sums_of(const T* x, int64 rows, int64 features, bool accumulate, T* out, Load load,
                    Store store) {
    typedef Vector<T> V;
    constexpr int64 SOME_ROWS = 256;
    typename V::type total[count], partial[count];
    UNROLLED
    for (int k = 0; k < count; ++k) total[k] = V::zero();
    for (int64 start = 0; start < rows; start += SOME_ROWS) {
        const int64 some = rows - start < SOME_ROWS ? rows - start : SOME_ROWS;
        UNROLLED
        for (int k = 0; k < count; ++k) partial[k] = V::zero();
        for (int64 r = 0; r < some; ++r, x += features) {
            UNROLLED
            for (int k = 0; k < count; ++k) partial[k] = partial[k] + load(x + k * V::lanes);
        }
        UNROLLED
        for (int k = 0; k < count; ++k) total[k] = total[k] + partial[k];
    }
    UNROLLED
    for (int k = 0; k < count; ++k) {
        T* into = out + k * V::lanes;
        store(into, accumulate ? load(into) + total[k] : total[k]);
    }
}

// out (features,) (+)= the sum over the rows of x (rows, features)
template <typename T>
void column_sums(const T* x, int64 rows, int64 features, bool accumulate, T* out) {
    constexpr int VECTORS = 8;
    if (rows == 1) {
        write(out, features, accumulate, [=](int64 c) { return x[c]; });
        return;
    }
    constexpr int64 columns = VECTORS * Vector<T>::lanes;
    const int64 whole = features / columns * columns;
    for (int64 c = 0; c < whole; c += columns)
        sums_of<T, VECTORS>(x + c, rows, features, accumulate, out + c,
                            [](const T* p) { return Vector<T>::load(p); },
                            [](T* p, const typename Vector<T>::type& v) { Vector<T>::store(p, v); });
    each_vector<T>(features - whole, [&](int64 c, auto load, auto store) {
        c += whole;
        sums_of<T, 1>(x + c, rows, features, accumulate, out + c, load, store);
    });
}

template <typename Source> void add_affine(const char* source) {
    add<&affine<Source, float>>("affine", {source, "float32"});
#ifndef FOR_BROWSERS
    add<&affine<Source, double>>("affine", {source, "float64"});
#endif
    add<&affine<Source, int32>>("affine", {source, "int32"});
}

template <typename T> void add_passes() {
    add<&copy_columns<T>>("copy_columns", {name_of<T>()});
    add<&column_sums<T>>("column_sums", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_passes)
    EACH_SOURCE(add_affine)
});

}  // namespace
