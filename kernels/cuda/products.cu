// Matrix products by the threads of a kernel that does more than a product: small ones, whose
// factors stay in the cache. What a sum is made of, and in which order, depends on the sizes alone.
#include "threads.cuh"

constexpr int AT_ONCE = 4;  // rows for which a weight is read once

// COUNT rows of x w, `x` and `out` pointing to the first. Neighbouring threads take neighbouring
// columns; where these are few, several threads share out the sum of each.
template <int COUNT, typename T>
__device__ inline void product_rows(Share share, const T* x, const T* w, int64 inputs,
                                    int64 outputs, bool accumulate, T* out) {
    __shared__ T partial[COUNT][BLOCK];
    int across = 1;
    while (across < outputs && across < BLOCK) across *= 2;
    const int rank = int(share.rank), slices = BLOCK / across;
    const int slice = rank / across;
    for (int64 first = 0; first < outputs; first += across) {
        const int64 c = first + rank % across;
        T sum[COUNT] = {};
        if (c < outputs)
#pragma unroll 16 / COUNT  // reads under way at once: a read takes longer than all else here
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
        __syncthreads();  // `partial` is filled anew for the next columns
    }
}

// out (rows, outputs) (+)= x (rows, inputs) w (inputs, outputs)
template <typename T>
BLOCK_PART void product(Share share, PIECE const T* x, const T* w, int64 rows, int64 inputs,
                        int64 outputs, bool accumulate, PIECE T* out) {
    int64 r = share.first(rows);
    for (; r + AT_ONCE <= share.stop(rows); r += AT_ONCE)
        product_rows<AT_ONCE>(share, x + r * inputs, w, inputs, outputs, accumulate,
                              out + r * outputs);
    for (; r < share.stop(rows); ++r)
        product_rows<1>(share, x + r * inputs, w, inputs, outputs, accumulate, out + r * outputs);
}

// out (rows, inputs) (+)= dz (rows, outputs) w^T. Some lanes of a warp, more where the sums are
// long, take a column of out.
template <typename T>
ROW_PART void product_transposed(Share share, PIECE const T* dz, const T* w, int64 rows,
                                 int64 inputs, int64 outputs, bool accumulate, PIECE T* out) {
    int lanes = 1;
    while (lanes * 8 < outputs && lanes < WARP) lanes *= 2;
    const int lane = int(share.rank) % lanes, column = int(share.rank) % WARP / lanes;
    const int64 columns = WARP / lanes;  // that a warp takes at once
    for (int64 r = share.first(rows); r < share.stop(rows); ++r)
        for (int64 first = share.warp() * columns; first < inputs;
             first += share.warps() * columns) {
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

// out (inputs, outputs) (+)= x^T dz, x (rows, inputs), dz (rows, outputs): the gradient of w, whose
// first element is dealt out as the one at `place`.
template <typename T>
ELEMENT_PART void product_of_columns(Share share, const T* x, const T* dz, int64 rows,
                                     uint32 inputs, uint32 outputs, int64 place, bool accumulate,
                                     DEALT T* out) {
    const int64 stop = place + int64(inputs) * outputs;
    for (int64 at = share.dealt(place); at < stop; at += share.count()) {
        const uint32 e = uint32(at - place), i = e / outputs, j = e % outputs;
        T sum = T(0);
#pragma unroll 8
        for (int64 r = 0; r < rows; ++r) sum += x[r * inputs + i] * dz[r * outputs + j];
        out[e] = sum + (accumulate ? out[e] : T(0));
    }
}

// out (outputs,) (+)= sum of the rows of dz (rows, outputs): the gradient of a bias, likewise
template <typename T>
ELEMENT_PART void sums_of_columns(Share share, const T* dz, int64 rows, int64 outputs, int64 place,
                                  bool accumulate, DEALT T* out) {
    for (int64 at = share.dealt(place); at < place + outputs; at += share.count()) {
        const int64 j = at - place;
        T sum = T(0);
#pragma unroll 8
        for (int64 r = 0; r < rows; ++r) sum += dz[r * outputs + j];
        out[j] = sum + (accumulate ? out[j] : T(0));
    }
}
