// Sums along the columns or the rows of a (rows, features) array, in a fixed order.
#include "../formulas/generated_activations.cuh"
#include "threads.cuh"

constexpr int COLUMN_TILE = 32;  // columns that a block handles: neighbouring lanes read neighbours
constexpr int ROW_THREADS = BLOCK / COLUMN_TILE;  // threads that share the rows of each

// out (features,) (+)= the sum over the rows of x: the gradient of a bias.
template <typename T>
BLOCK_PART void column_sums(ThreadGroup threads, const T* x, int64 rows, int64 features,
                            bool accumulate, T* out) {
    __shared__ T partial[ROW_THREADS][COLUMN_TILE];
    const int across = int(threads.rank) % COLUMN_TILE, down = int(threads.rank) / COLUMN_TILE;
    for (int64 first : threads.tiles(features, COLUMN_TILE)) {
        const int64 column = first + across;
        T sum = T(0);
        if (column < features)
            for (int64 r = down; r < rows; r += ROW_THREADS) sum += x[r * features + column];
        partial[down][across] = sum;
        for (int half = ROW_THREADS / 2; half > 0; half /= 2) {
            __syncthreads();
            if (down < half) partial[down][across] += partial[down + half][across];
        }
        if (down == 0 && column < features)
            out[column] = partial[0][across] + (accumulate ? out[column] : T(0));
        __syncthreads();  // `partial` is reused for the next tile
    }
}

// out = f(x + bias) for an f that depends on the whole row; one warp for each row.
// With keep_input, x itself becomes x + bias.
template <typename T, template <typename> class RowActivation>
ROW_PART void row_activation(ThreadGroup threads, ROW_SLICED T* x, const T* bias,
                             const double* parameters, int64 rows, int64 features, bool keep_input,
                             ROW_SLICED T* out) {
    const RowActivation<T> f(parameters);
    const int lane = threadIdx.x % WARP;
    for (int64 r : threads.rows(rows)) {
        T* row = x + r * features;
        T* result = out + r * features;
        T maximum = math::minus_infinity<T>();
        for (int64 c = lane; c < features; c += WARP) {
            const T z = bias ? row[c] + bias[c] : row[c];
            if (keep_input) row[c] = z;
            result[c] = z;  // each lane reads only its own columns again
            if (!(z <= maximum)) maximum = z;
        }
        maximum = warp_largest(Placed<T>{maximum, 0}).value;
        T sum = T(0);
        for (int64 c = lane; c < features; c += WARP) sum += f.term(result[c], maximum);
        sum = warp_sum(sum);
        for (int64 c = lane; c < features; c += WARP)
            result[c] = f.forward(result[c], maximum, sum);
    }
}

// out (+)= its gradient, from what the forward pass saved
template <typename T, template <typename> class RowActivation>
ROW_PART void row_activation_gradient(ThreadGroup threads, ROW_SLICED const T* saved,
                                      ROW_SLICED const T* dy, const double* parameters, int64 rows,
                                      int64 features, bool accumulate, ROW_SLICED T* out) {
    const RowActivation<T> f(parameters);
    const int lane = threadIdx.x % WARP;
    for (int64 r : threads.rows(rows)) {
        const int64 start = r * features;
        T sum = T(0);
        for (int64 c = lane; c < features; c += WARP)
            sum += f.gradient_term(saved[start + c], dy[start + c]);
        sum = warp_sum(sum);
        for (int64 c = lane; c < features; c += WARP) {
            const int64 i = start + c;
            const T dx = f.gradient(saved[i], dy[i], sum);
            out[i] = accumulate ? out[i] + dx : dx;
        }
    }
}
