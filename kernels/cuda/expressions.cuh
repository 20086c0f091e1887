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
