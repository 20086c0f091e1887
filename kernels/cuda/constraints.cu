// Constraints that are applied to weights after an update.
#include "../formulas/generated_weights.cuh"
#include "threads.cuh"

constexpr int LINE_TILE = WARP;  // lines a block takes at a time: lanes read neighbours
constexpr int LINE_THREADS = BLOCK / LINE_TILE;  // threads that share each of them

// Weights (outer, n, inner): each line of n, one for each outer and inner index, is scaled
// according to its norm.
template <typename T>
BLOCK_PART void constrain_norms(ThreadGroup threads, T* weights, int64 outer, int64 n, int64 inner,
                                const double* parameters) {
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
        const T factor = T(NormLimits::value(parameters, math::sqrt(partial[0][across])));
        if (line < lines)
            for (int64 i = down; i < n; i += LINE_THREADS) weight[i * inner] *= factor;
        __syncthreads();  // `partial` is reused for the next tile
    }
}
