// Matrix products within a kernel that also does other work: small ones, whose factors stay in the
// cache. The terms of a sum and their order depend on the sizes alone. As in BLAS, n and t tell for
// each factor whether it is used as it is or transposed.
#include "threads.cuh"

constexpr int AT_ONCE = 4;  // at most this many rows: a weight is read once for all of them

// COUNT rows of x w, with `x` and `out` pointing to the first. Neighbouring threads take
// neighbouring columns; if there are few columns, several threads share the sum of each, and add
// up their parts in `partial`, which all threads of the block share.
template <int COUNT, typename T>
__device__ inline void product_rows(ThreadGroup threads, const T* x, const T* w, int64 inputs,
                                    int64 outputs, bool accumulate, T* out, T (*partial)[BLOCK]) {
    int across = 1;
    while (across < outputs && across < BLOCK) across *= 2;
    const int rank = int(threads.rank), slices = BLOCK / across;
    const int slice = rank / across;
    for (int64 first = 0; first < outputs; first += across) {
        const int64 c = first + rank % across;
        T sum[COUNT] = {};
        if (c < outputs)
#pragma unroll 16 / COUNT  // concurrent reads: a read takes longer than all else here
            for (int64 k = slice; k < inputs; k += slices) {
                const T weight = w[k * outputs + c];
                for (int r = 0; r < COUNT; ++r) sum[r] += x[r * inputs + k] * weight;
            }
        for (int r = 0; r < COUNT; ++r) partial[r][rank] = sum[r];
        for (int half = slices / 2; half > 0; half /= 2) {
            __syncthreads();
            if (slice < half)
                for (int r = 0; r < COUNT; ++r)
                    partial[r][rank] += partial[r][rank + half * across];
        }
        if (slice == 0 && c < outputs)
            for (int r = 0; r < COUNT; ++r) {
                T* y = out + r * outputs + c;
                *y = partial[r][rank] + (accumulate ? *y : T(0));
            }
        __syncthreads();  // `partial` is reused for the next columns
    }
}

// out (rows, outputs) (+)= x (rows, inputs) w (inputs, outputs)
template <typename T>
BLOCK_PART void matmul_nn(ThreadGroup threads, ROW_SLICED const T* x, const T* w, int64 rows,
                          int64 inputs, int64 outputs, bool accumulate, ROW_SLICED T* out) {
    __shared__ T partial[AT_ONCE][BLOCK];
    const int64 end = threads.end(rows);
    for (int64 r = threads.begin(rows); r < end; r += AT_ONCE) {
        const T* from = x + r * inputs;
        T* to = out + r * outputs;
        switch (end - r) {
            case 1:
                product_rows<1>(threads, from, w, inputs, outputs, accumulate, to, partial);
                break;
            case 2:
                product_rows<2>(threads, from, w, inputs, outputs, accumulate, to, partial);
                break;
            case 3:
                product_rows<3>(threads, from, w, inputs, outputs, accumulate, to, partial);
                break;
            default:
                product_rows<AT_ONCE>(threads, from, w, inputs, outputs, accumulate, to, partial);
        }
    }
}

// out (rows, inputs) (+)= dz (rows, outputs) w^T. Some lanes of a warp, more for long sums, share a
// column of out.
template <typename T>
ROW_PART void matmul_nt(ThreadGroup threads, ROW_SLICED const T* dz, const T* w, int64 rows,
                        int64 inputs, int64 outputs, bool accumulate, ROW_SLICED T* out) {
    int lanes = 1;
    while (lanes * 8 < outputs && lanes < WARP) lanes *= 2;
    const int lane = int(threads.rank) % lanes, column = int(threads.rank) % WARP / lanes;
    const int64 columns = WARP / lanes;  // columns that a warp takes at once
    for (int64 r = threads.begin(rows); r < threads.end(rows); ++r)
        for (int64 first = threads.warp() * columns; first < inputs;
             first += threads.warps() * columns) {
            const int64 i = first + column;
            T sum = T(0);
            if (i < inputs)
                for (int64 j = lane; j < outputs; j += lanes)
                    sum += dz[r * outputs + j] * w[i * outputs + j];
            sum = warp_sum(sum, lanes);
            if (lane == 0 && i < inputs) {
                T* dx = out + r * inputs + i;
                *dx = sum + (accumulate ? *dx : T(0));
            }
        }
}

// out (inputs, outputs) (+)= x^T dz, x (rows, inputs), dz (rows, outputs): the gradient of w. Its
// first element is element `strided_offset` of the gradients of all weights: the thread that
// computes an element is the one that will update its weight.
template <typename T>
ELEMENT_PART void matmul_tn(ThreadGroup threads, const T* x, const T* dz, int64 rows,
                            uint32 inputs, uint32 outputs, int64 strided_offset, bool accumulate,
                            GRID_STRIDED T* out) {
    const int64 stop = strided_offset + int64(inputs) * outputs;
    for (int64 at : threads.strided(strided_offset, stop)) {
        const uint32 e = uint32(at - strided_offset), i = e / outputs, j = e % outputs;
        T sum = T(0);
#pragma unroll 8
        for (int64 r = 0; r < rows; ++r) sum += x[r * inputs + i] * dz[r * outputs + j];
        out[e] = sum + (accumulate ? out[e] : T(0));
    }
}

// out (outputs,) (+)= the sum over the rows of dz (rows, outputs): the gradient of a bias, likewise
template <typename T>
ELEMENT_PART void sums_of_columns(ThreadGroup threads, const T* dz, int64 rows, int64 outputs,
                                  int64 strided_offset, bool accumulate, GRID_STRIDED T* out) {
    for (int64 at : threads.strided(strided_offset, strided_offset + outputs)) {
        const int64 j = at - strided_offset;
        T sum = T(0);
#pragma unroll 8
        for (int64 r = 0; r < rows; ++r) sum += dz[r * outputs + j];
        out[j] = sum + (accumulate ? out[j] : T(0));
    }
}
