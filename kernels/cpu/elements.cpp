// Passes over elements without a formula of their own: conversion, combination, columns.
#include "../formulas/combinations.cuh"
#include "formulas.hpp"
#include "operation.hpp"

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

// out (+)= x scale + offset, from any type of number
template <typename Source, typename Out>
void affine(const Source* x, double factor, double shift, int64 n, bool accumulate, Out* out) {
    const Out scale = Out(factor), offset = Out(shift);
    write(out, n, accumulate, [=](int64 i) { return Converted<Out>::of(x[i]) * scale + offset; });
}

// out (+)= what the combination makes of a and b
template <typename T, template <typename> class Combination>
void combine(const T* a, const T* b, int64 n, bool accumulate, T* out) {
    write(out, n, accumulate, [=](int64 i) { return Combination<T>::of(a[i], b[i]); });
}

// Of each row, the `width` numbers of `into` from `at` on (+)= those of x from `start` on.
template <typename T>
void copy_columns(const T* x, int64 x_width, int64 start, int64 rows, int64 width, int64 at,
                  int64 into_width, bool accumulate, T* into) {
    for (int64 r = 0; r < rows; ++r) {
        const T* source = x + r * x_width + start;
        write(into + r * into_width + at, width, accumulate, [=](int64 c) { return source[c]; });
    }
}

// out (features,) (+)= the sum over the rows of x (rows, features): first of SOME_ROWS together,
// so that in a sum over many rows small numbers are not lost beside a large one.
template <typename T>
void column_sums(const T* x, int64 rows, int64 features, bool accumulate, T* out) {
    constexpr int64 SOME_ROWS = 256, COLUMNS = 128;
    for (int64 first = 0; first < features; first += COLUMNS) {
        const int64 columns = features - first < COLUMNS ? features - first : COLUMNS;
        T total[COLUMNS] = {}, partial[COLUMNS];
        for (int64 start = 0; start < rows; start += SOME_ROWS) {
            const int64 stop = rows - start < SOME_ROWS ? rows : start + SOME_ROWS;
            for (int64 c = 0; c < columns; ++c) partial[c] = T(0);
            for (int64 r = start; r < stop; ++r) {
                const T* row = x + r * features + first;
                for (int64 c = 0; c < columns; ++c) partial[c] += row[c];
            }
            for (int64 c = 0; c < columns; ++c) total[c] += partial[c];
        }
        write(out + first, columns, accumulate, [&](int64 c) { return total[c]; });
    }
}

// out = x where x > 0, else x slope; x (rows, features), slopes (features,)
template <typename T>
void prelu(const T* x, const T* slopes, int64 rows, int64 features, T* out) {
    for (int64 r = 0; r < rows; ++r, x += features, out += features) {
        INDEPENDENT
        for (int64 c = 0; c < features; ++c) {
            const T below = x[c] * slopes[c];
            out[c] = x[c] > T(0) ? x[c] : below;
        }
    }
}

// terms = dy min(x, 0), and dx (+)= dy where x > 0, else dy slope, where it is wanted
template <typename T>
void prelu_gradient(const T* x, const T* slopes, const T* dy, int64 rows, int64 features,
                    bool accumulate, T* terms, T* dx) {
    for (int64 r = 0; r < rows; ++r) {
        const int64 start = r * features;
        INDEPENDENT
        for (int64 c = 0; c < features; ++c) {
            const T term = dy[start + c] * x[start + c];
            terms[start + c] = x[start + c] > T(0) ? T(0) : term;
        }
        if (!dx) continue;
        const T *z = x + start, *slope = dy + start;  // nothing is loaded under a condition
        write(dx + start, features, accumulate, [=](int64 c) {
            const T below = slope[c] * slopes[c];
            return z[c] > T(0) ? slope[c] : below;
        });
    }
}

template <typename Source> void add_affine(const char* source) {
    add<&affine<Source, float>>("affine", {source, "float32"});
#ifndef FOR_BROWSERS
    add<&affine<Source, double>>("affine", {source, "float64"});
#endif
    add<&affine<Source, int32>>("affine", {source, "int32"});
}

template <typename T> void add_passes() {
    const char* type = name_of<T>();
#define ADD(Formula) add<&combine<T, Formula>>("combine", {type, #Formula});
    EACH_COMBINATION(ADD)
#undef ADD
    add<&copy_columns<T>>("copy_columns", {type});
    add<&column_sums<T>>("column_sums", {type});
    add<&prelu<T>>("prelu", {type});
    add<&prelu_gradient<T>>("prelu_gradient", {type});
}

const Registration registration([] {
    EACH_FLOAT(add_passes)
    EACH_SOURCE(add_affine)
});

}  // namespace
