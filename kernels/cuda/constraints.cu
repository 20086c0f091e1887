// What weights are brought back to after an update.
#include "../formulas/math.cuh"
#include "threads.cuh"

constexpr int LINE_TILE = WARP;  // lines a block takes at a time: lanes read neighbours
constexpr int LINE_THREADS = BLOCK / LINE_TILE;  // threads that divide each of them

// Weights (outer, n, inner): each line of n, one for each outer and inner place, is scaled so that
// its norm goes `rate` of the way to where it lies between low and high.
template <typename T>
BLOCK_PART void constrain_norms(ThreadGroup threads, T* weights, int64 outer, int64 n, int64 inner,
                                double low, double high, double rate, double epsilon) {
    __shared__ double partial[LINE_THREADS][LINE_TILE];  // no square of a float is infinite there
    const int across = int(threads.rank) % LINE_TILE, down = int(threads.rank) / LINE_TILE;
    const int64 lines = outer * inner;
    for (int64 first : threads.tiles(lines, LINE_TILE)) {
        const int64 line = first + across;
        T* weight = weights + line / inner * n * inner + line % inner;
        double sum = 0;
        if (line < lines)
            for (int64 i = down; i < n; i += LINE_THREADS)
                sum += double(weight[i * inner]) * double(weight[i * inner]);
        partial[down][across] = sum;
        for (int half = LINE_THREADS / 2; half > 0; half /= 2) {
            __syncthreads();
            if (down < half) partial[down][across] += partial[down + half][across];
        }
        __syncthreads();
        const double norm = math::sqrt(partial[0][across]);
        const double wanted = rate * math::clip(norm, low, high) + (1 - rate) * norm;
        const T factor = T(wanted / (norm + epsilon));
        if (line < lines)
            for (int64 i = down; i < n; i += LINE_THREADS) weight[i * inner] *= factor;
        __syncthreads();  // `partial` is filled anew for the next tile
    }
}

// max(w, 0)
template <typename T> ELEMENT_PART void keep_above_zero(ThreadGroup threads, ROW_SLICED T* weights,
                                                        int64 n) {
    for (int64 i : threads.elements(n))
        if (weights[i] < T(0)) weights[i] = T(0);
}
