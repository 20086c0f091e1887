// Building blocks of expressions (gpunn/backends/cupy/launch/expressions.py), with the functions in
// ../formulas/elements.cuh.
#pragma once
#include "../formulas/elements.cuh"
#include "threads.cuh"

// A thread's elements of a (rows, columns) matrix. Row and column are tracked incrementally: a
// division for each element would cost more than the rest.
struct MatrixPlace {
    int64 element, row, column;
    int64 columns, stop, step, step_rows, step_columns;

    __device__ MatrixPlace(ThreadGroup threads, int64 rows, int64 columns)
        : element(threads.begin(rows * columns) + threads.rank),
          row(element / columns),
          column(element % columns),
          columns(columns),
          stop(threads.end(rows * columns)),
          step(threads.size),
          step_rows(step / columns),
          step_columns(step % columns) {}

    __device__ bool inside() const { return element < stop; }
    __device__ void next() {
        element += step;
        row += step_rows;
        column += step_columns;
        if (column >= columns) {
            column -= columns;
            ++row;
        }
    }
};

// The largest or the smallest value over a warp's lanes, in every lane; NaN if one is NaN.
template <typename T> __device__ inline T warp_maximum(T x) {
    for (int distance = WARP / 2; distance > 0; distance /= 2)
        x = elements::maximum(x, __shfl_xor_sync(ALL_LANES, x, distance));
    return x;
}
template <typename T> __device__ inline T warp_minimum(T x) {
    for (int distance = WARP / 2; distance > 0; distance /= 2)
        x = elements::minimum(x, __shfl_xor_sync(ALL_LANES, x, distance));
    return x;
}

// The nearest half-precision number, ties to even.
__device__ inline float16 nearest_half(double x) {
    union { double value; uint64 word; } given = {x};
    const uint16 sign = uint16(given.word >> 48 & 0x8000u);
    const uint64 size = given.word & 0x7FFFFFFFFFFFFFFFull;
    const double magnitude = math::magnitude(x);
    if (x != x) return {uint16(sign | 0x7E00u)};
    if (magnitude >= 65520.0) return {uint16(sign | 0x7C00u)};  // infinity
    if (magnitude < 6.103515625e-05)  // a multiple of 2^-24
        return {uint16(sign | uint16(math::rint(magnitude * 16777216.0)))};
    const uint64 rebiased = size - (uint64(1023 - 15) << 52);
    return {uint16(sign | ((rebiased + 0x1FFFFFFFFFFull + (rebiased >> 42 & 1)) >> 42))};
}

// The result of an expression as it is stored. Integers that are too large wrap around, except
// those of int32.
template <typename To> struct Written {
    template <typename T> static __device__ To as(T x) { return To(int64(x)); }
};
template <> struct Written<uint64> {
    template <typename T> static __device__ uint64 as(T x) {
        return x < T(0) ? uint64(int64(x)) : uint64(x);
    }
};
template <> struct Written<int32> {
    template <typename T> static __device__ int32 as(T x) { return Converted<int32>::of(x); }
};
template <> struct Written<bool> {
    template <typename T> static __device__ bool as(T x) { return x != T(0); }
};
template <> struct Written<float16> {
    template <typename T> static __device__ float16 as(T x) { return nearest_half(double(x)); }
};
template <> struct Written<float> {
    template <typename T> static __device__ float as(T x) { return float(x); }
};
template <> struct Written<double> {
    template <typename T> static __device__ double as(T x) { return double(x); }
};
