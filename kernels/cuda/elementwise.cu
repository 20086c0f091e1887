// Element-wise passes over arrays of any size.
#include "../formulas/activations.cuh"
#include "../formulas/combinations.cuh"
#include "../formulas/control.cuh"
#include "../formulas/random.cuh"
#include "threads.cuh"

// out = f(x + bias), x (n / features, features); with keep_input, x itself becomes x + bias, for
// a gradient that reads it.
template <typename T, template <typename> class Activation>
ELEMENT_PART void bias_activation(Share share, PIECE T* x, const T* bias, const double* parameters,
                                  int64 n, uint32 features, bool keep_input, PIECE T* out) {
    const Activation<T> f(parameters);
    // The column is carried along: a division for each element would cost more than the rest.
    uint32 column = uint32(share.rank) % features;  // a piece begins with a row
    const uint32 stride = uint32(share.size) % features;
    for (int64 i = share.first(n) + share.rank; i < share.stop(n); i += share.size) {
        const T z = bias ? x[i] + bias[column] : x[i];
        if (keep_input) x[i] = z;
        out[i] = f.forward(z);
        column = column >= features - stride ? column - (features - stride) : column + stride;
    }
}

// out (+)= dy f'(.), from what the forward pass saved
template <typename T, template <typename> class Activation>
ELEMENT_PART void activation_gradient(Share share, PIECE const T* saved, PIECE const T* dy,
                                      const double* parameters, int64 n, bool accumulate,
                                      PIECE T* out) {
    const Activation<T> f(parameters);
    for (int64 i = share.first(n) + share.rank; i < share.stop(n); i += share.size) {
        const T dx = f.gradient(saved[i], dy[i]);
        out[i] = accumulate ? out[i] + dx : dx;
    }
}

// out (+)= x scale + offset, from any type of number
template <typename Source, typename Out>
ELEMENT_PART void affine(Share share, PIECE const Source* x, Out scale, Out offset, int64 n,
                         bool accumulate, PIECE Out* out) {
    for (int64 i = share.first(n) + share.rank; i < share.stop(n); i += share.size) {
        const Out y = Out(x[i]) * scale + offset;
        out[i] = accumulate ? out[i] + y : y;
    }
}

// out (+)= what the combination makes of a and b
template <typename T, template <typename> class Combination>
ELEMENT_PART void combine(Share share, PIECE const T* a, PIECE const T* b, int64 n,
                          bool accumulate, PIECE T* out) {
    for (int64 i = share.first(n) + share.rank; i < share.stop(n); i += share.size) {
        const T y = Combination<T>::of(a[i], b[i]);
        out[i] = accumulate ? out[i] + y : y;
    }
}

// Of each row, the `width` numbers of `into` from `at` on (+)= those of x from `start` on; what
// else `into` holds stays.
template <typename T>
ROW_PART void copy_columns(Share share, PIECE const T* x, int64 x_width, int64 start, int64 rows,
                           int64 width, int64 at, int64 into_width, bool accumulate,
                           PIECE T* into) {
    for (int64 i = share.first(rows); i < share.stop(rows); ++i) {
        const T* source = x + i * x_width + start;
        T* target = into + i * into_width + at;
        for (int64 c = share.rank; c < width; c += share.size)
            target[c] = accumulate ? target[c] + source[c] : source[c];
    }
}

// out = x mask / (1 - rate). A block of random words is eight numbers, for eight neighbouring
// elements; where a piece begins or ends within them, its team draws them too.
template <typename T>
ELEMENT_PART void dropout(Share share, PIECE const T* x, float keep, T scale, uint64 seed,
                          uint64 stream, const int64* counters, int64 n, PIECE T* out,
                          PIECE bool* mask) {
    const uint64 batch = uint64(counters[BATCHES]);
    const int64 first = share.first(n), stop = share.stop(n);
    for (int64 block = first / 8 + share.rank; block * 8 < stop; block += share.size) {
        const Words words = philox(Words{{uint64(block) + 1, 0, batch, stream}}, seed, 0);
        for (int k = 0; k < 8; ++k) {
            const int64 i = block * 8 + k;
            if (i >= first && i < stop) {
                const bool kept = uniform(words, k) < keep;
                mask[i] = kept;
                out[i] = kept ? x[i] * scale : T(0);
            }
        }
    }
}

// out (+)= dy mask / (1 - rate)
template <typename T>
ELEMENT_PART void dropout_gradient(Share share, PIECE const T* dy, PIECE const bool* mask, T scale,
                                   int64 n, bool accumulate, PIECE T* out) {
    for (int64 i = share.first(n) + share.rank; i < share.stop(n); i += share.size) {
        const T dx = mask[i] ? dy[i] * scale : T(0);
        out[i] = accumulate ? out[i] + dx : dx;
    }
}
