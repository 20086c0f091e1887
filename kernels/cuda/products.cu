// Matrix products within a kernel that also does other work: small ones, whose factors stay in the
// cache. The terms of a sum and their order depend on the sizes alone. As in BLAS, n and t tell for
// each factor whether it is used as it is or transposed.
#include "threads.cuh"

constexpr int AT_ONCE = 4;  // at most this many rows: a weight is read once for all of them
constexpr int QUAD = 4;     // neighbouring columns that a thread takes, if their number allows it

// Elements that a thread reads at once where they are aligned.
template <typename T, int N> struct alignas(N * sizeof(T)) Columns {
    T values[N];
};

// COUNT rows of x w, with `x` and `out` pointing to the first. A thread takes N neighbouring
// columns, and neighbouring threads the next; if there are few columns, several threads share the
// sums of each, and add up their parts in `partial`, which all threads of the block share.
template <int COUNT, int N, typename T>
__device__ inline void product_rows(ThreadGroup threads, const T* x, const T* w, int64 inputs,
                                    int64 outputs, bool accumulate, T* out,
                                    Columns<T, N> (*partial)[BLOCK]) {
    const int64 columns = outputs / N;
    const bool aligned = reinterpret_cast<uint64>(w) % sizeof(Columns<T, N>) == 0;
    int across = 1;
    while (across < columns && across < BLOCK) across *= 2;
    const int rank = int(threads.rank), slices = BLOCK / across;
    const int slice = rank / across;
    for (int64 first = 0; first < columns; first += across) {
        const int64 c = first + rank % across;
        Columns<T, N> sum[COUNT] = {};
        auto add = [&](int64 k, const Columns<T, N>& weight) {
            for (int r = 0; r < COUNT; ++r) {
                const T value = x[r * inputs + k];
                for (int j = 0; j < N; ++j) sum[r].values[j] += value * weight.values[j];
            }
        };
        if (c < columns && aligned) {
            const Columns<T, N>* from = reinterpret_cast<const Columns<T, N>*>(w) + c;
#pragma unroll (N > 1 ? 8 : 16) / COUNT  // concurrent reads: a read takes longer than all else here
            for (int64 k = slice; k < inputs; k += slices) {
                const Columns<T, N> weight = from[k * columns];  // one read, as it is aligned
                add(k, weight);
            }
        } else if (c < columns) {
#pragma unroll 4
            for (int64 k = slice; k < inputs; k += slices) {
                Columns<T, N> weight;
                for (int j = 0; j < N; ++j) weight.values[j] = w[k * outputs + c * N + j];
                add(k, weight);
            }
        }
        for (int r = 0; r < COUNT; ++r) partial[r][rank] = sum[r];
        for (int half = slices / 2; half > 0; half /= 2) {
            __syncthreads();
            if (slice < half)
                for (int r = 0; r < COUNT; ++r)
                    for (int j = 0; j < N; ++j)
                        partial[r][rank].values[j] += partial[r][rank + half * across].values[j];
        }
        if (slice == 0 && c < columns)
            for (int r = 0; r < COUNT; ++r)
                for (int j = 0; j < N; ++j) {
                    T* y = out + r * outputs + c * N + j;
                    *y = partial[r][rank].values[j] + (accumulate ? *y : T(0));
                }
        __syncthreads();  // `partial` is reused for the next columns
    }
}

template <int N, typename T>
__device__ inline void products_of_rows(ThreadGroup threads, const T* x, const T* w, int64 rows,
                                        int64 inputs, int64 outputs, bool accumulate, T* out,
                                        Columns<T, N> (*partial)[BLOCK]) {
    const int64 end = threads.end(rows);
    for (int64 r = threads.begin(rows); r < end; r += AT_ONCE) {
        const T* from = x + r * inputs;
        T* to = out + r * outputs;
        switch (end - r) {
            case 1:
                product_rows<1, N>(threads, from, w, inputs, outputs, accumulate, to, partial);
                break;
            case 2:
                product_rows<2, N>(threads, from, w, inputs, outputs, accumulate, to, partial);
                break;
            case 3:
                product_rows<3, N>(threads, from, w, inputs, outputs, accumulate, to, partial);
                break;
            default:
                product_rows<AT_ONCE, N>(threads, from, w, inputs, outputs, accumulate, to,
                                         partial);
        }
    }
}

// out (rows, outputs) (+)= x (rows, inputs) w (inputs, outputs)
template <typename T>
BLOCK_PART void matmul_nn(ThreadGroup threads, ROW_SLICED const T* x, const T* w, int64 rows,
                          int64 inputs, int64 outputs, bool accumulate, ROW_SLICED T* out) {
    // One buffer for both, as a kernel has room for little more.
    __shared__ Columns<T, QUAD> partial[AT_ONCE][BLOCK];
    if (outputs % QUAD == 0)
        products_of_rows<QUAD>(threads, x, w, rows, inputs, outputs, accumulate, out, partial);
    else
        products_of_rows<1>(threads, x, w, rows, inputs, outputs, accumulate, out,
                            reinterpret_cast<Columns<T, 1>(*)[BLOCK]>(partial));
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
#pragma unroll 16
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
