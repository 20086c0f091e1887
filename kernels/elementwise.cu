// Element-wise passes over arrays of any size. `x` is (n / features, features) throughout.
#include "activations.cuh"
#include "control.cuh"
#include "random.cuh"
#include "threads.cuh"

// out = f(x + bias); with keep_input, x itself becomes x + bias, for a gradient that reads it.
template <typename T, template <typename> class Activation>
__global__ void bias_activation(T* x, const T* bias, const double* parameters, int64 n,
                                uint32 features, bool keep_input, T* out) {
    const Activation<T> f(parameters);
    // The column is carried along: a division for each element would cost more than the rest.
    uint32 column = uint32(thread_number()) % features;
    const uint32 stride = uint32(thread_count()) % features;
    for (int64 i = thread_number(); i < n; i += thread_count()) {
        const T z = bias ? x[i] + bias[column] : x[i];
        if (keep_input) x[i] = z;
        out[i] = f.forward(z);
        column = column >= features - stride ? column - (features - stride) : column + stride;
    }
}

// out (+)= dy f'(.), from what the forward pass saved
template <typename T, template <typename> class Activation>
__global__ void activation_gradient(const T* saved, const T* dy, const double* parameters, int64 n,
                                    bool accumulate, T* out) {
    const Activation<T> f(parameters);
    for (int64 i = thread_number(); i < n; i += thread_count()) {
        const T dx = f.gradient(saved[i], dy[i]);
        out[i] = accumulate ? out[i] + dx : dx;
    }
}

// out (+)= x scale + offset, from any type of number
template <typename Source, typename Out>
__global__ void affine(const Source* x, Out scale, Out offset, int64 n, bool accumulate, Out* out) {
    for (int64 i = thread_number(); i < n; i += thread_count()) {
        const Out y = Out(x[i]) * scale + offset;
        out[i] = accumulate ? out[i] + y : y;
    }
}

// out = x mask / (1 - rate). Each thread draws one block of random words: eight numbers, for
// eight neighbouring elements.
template <typename T>
__global__ void dropout(const T* x, float keep, T scale, uint64 seed, uint64 stream,
                        const int64* counters, int64 n, T* out, bool* mask) {
    const uint64 batch = uint64(counters[BATCHES]);
    for (int64 block = thread_number(); block * 8 < n; block += thread_count()) {
        const Words words = philox(Words{{uint64(block) + 1, 0, batch, stream}}, seed, 0);
        for (int k = 0; k < 8; ++k) {
            const int64 i = block * 8 + k;
            if (i < n) {
                const bool kept = uniform(words, k) < keep;
                mask[i] = kept;
                out[i] = kept ? x[i] * scale : T(0);
            }
        }
    }
}

// out (+)= dy mask / (1 - rate)
template <typename T>
__global__ void dropout_gradient(const T* dy, const bool* mask, T scale, int64 n, bool accumulate,
                                 T* out) {
    for (int64 i = thread_number(); i < n; i += thread_count()) {
        const T dx = mask[i] ? dy[i] * scale : T(0);
        out[i] = accumulate ? out[i] + dx : dx;
    }
}
