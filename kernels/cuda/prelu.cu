// ReLU with a trained slope below 0 for each feature; x (rows, features), slopes (features,).
#include "threads.cuh"

// out = x where x > 0, else x slope
template <typename T>
ELEMENT_PART void prelu(Share share, PIECE const T* x, const T* slopes, int64 n, uint32 features,
                        PIECE T* out) {
    uint32 column = uint32(share.rank) % features;  // a piece begins with a row
    const uint32 stride = uint32(share.size) % features;
    for (int64 i = share.first(n) + share.rank; i < share.stop(n); i += share.size) {
        out[i] = x[i] > T(0) ? x[i] : x[i] * slopes[column];
        column = column >= features - stride ? column - (features - stride) : column + stride;
    }
}

// terms, whose column sums are the gradient of the slopes, = dy min(x, 0); unless out is null,
// out (+)= the gradient of x
template <typename T>
ELEMENT_PART void prelu_gradient(Share share, PIECE const T* x, const T* slopes, PIECE const T* dy,
                                 int64 n, uint32 features, bool accumulate, PIECE T* terms,
                                 PIECE T* out) {
    uint32 column = uint32(share.rank) % features;
    const uint32 stride = uint32(share.size) % features;
    for (int64 i = share.first(n) + share.rank; i < share.stop(n); i += share.size) {
        const bool above = x[i] > T(0);
        const T slope = dy[i];
        terms[i] = above ? T(0) : slope * x[i];
        if (out) {
            const T dx = above ? slope : slope * slopes[column];
            out[i] = accumulate ? out[i] + dx : dx;
        }
        column = column >= features - stride ? column - (features - stride) : column + stride;
    }
}
