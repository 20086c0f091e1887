// Element-wise passes without a formula: conversion, columns.
#include "../formulas/types.cuh"
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

// out (features,) (+)= the sum over the rows of x (rows, features). SOME_ROWS at a time are summed
// first, so that a sum over many rows does not lose small values next to a large one.
template <typename T>
void column_sums(const T* x, int64 rows, int64 features, bool accumulate, T* out) {
    constexpr int64 SOME_ROWS = 256, COLUMNS = 128;
    if (rows == 1) {
        write(out, features, accumulate, [=](int64 c) { return x[c]; });
        return;
    }
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
