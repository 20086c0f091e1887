// ReLU with a trained slope below 0 for each feature; x (rows, features), slopes (features,).
#include "threads.cuh"

// out = x where x > 0, else x slope
template <typename T>
ELEMENT_PART void prelu(ThreadGroup threads, ROW_SLICED const T* x, const T* slopes, int64 n,
                        uint32 features, ROW_SLICED T* out) {
    uint32 column = uint32(threads.rank) % features;  // a slice begins with a row
    const uint32 stride = uint32(threads.size) % features;
    for (int64 i : threads.elements(n)) {
        out[i] = x[i] > T(0) ? x[i] : x[i] * slopes[column];
        column = column >= features - stride ? column - (features - stride) : column + stride;
    }
}

// terms, whose column sums are the gradient of the slopes, = dy min(x, 0); unless dx is null,
// dx (+)= the gradient of x
template <typename T>
ELEMENT_PART void prelu_gradient(ThreadGroup threads, ROW_SLICED const T* x, const T* slopes,
                                 ROW_SLICED const T* dy, int64 n, uint32 features,
                                 bool accumulate_dx, ROW_SLICED T* terms, ROW_SLICED T* dx) {
    uint32 column = uint32(threads.rank) % features;
    const uint32 stride = uint32(threads.size) % features;
    for (int64 i : threads.elements(n)) {
        const bool above = x[i] > T(0);
        const T slope = dy[i];
        terms[i] = above ? T(0) : slope * x[i];
        if (dx) {
            const T more = above ? slope : slope * slopes[column];
            dx[i] = accumulate_dx ? dx[i] + more : more;
        }
        column = column >= features - stride ? column - (features - stride) : column + stride;
    }
}
