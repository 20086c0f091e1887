// Element-wise passes over arrays of any size.
#include "../formulas/generated_activations.cuh"
#include "../formulas/control.cuh"
#include "../formulas/random.cuh"
#include "threads.cuh"

// out = f(x + bias), x (n / features, features); with keep_input, x itself becomes x + bias, for
// a gradient that reads it.
template <typename T, template <typename> class Activation>
ELEMENT_PART void bias_activation(ThreadGroup threads, ROW_SLICED T* x, const T* bias,
                                  const double* parameters, int64 n, uint32 features,
                                  bool keep_input, ROW_SLICED T* out) {
    const Activation<T> f(parameters);
    // The column is carried along: a division for each element would cost more than the rest.
    uint32 column = uint32(threads.rank) % features;  // a slice begins with a row
    const uint32 stride = uint32(threads.size) % features;
    for (int64 i : threads.elements(n)) {
        const T z = bias ? x[i] + bias[column] : x[i];
        if (keep_input) x[i] = z;
        out[i] = f.forward(z);
        column = column >= features - stride ? column - (features - stride) : column + stride;
    }
}

// out (+)= dy f'(.), from what the forward pass saved
template <typename T, template <typename> class Activation>
ELEMENT_PART void activation_gradient(ThreadGroup threads, ROW_SLICED const T* saved,
                                      ROW_SLICED const T* dy, const double* parameters, int64 n,
                                      bool accumulate, ROW_SLICED T* out) {
    const Activation<T> f(parameters);
    for (int64 i : threads.elements(n)) {
        const T dx = f.gradient(saved[i], dy[i]);
        out[i] = accumulate ? out[i] + dx : dx;
    }
}

// out (+)= x scale + offset, from any numeric type
template <typename Source, typename Out>
ELEMENT_PART void affine(ThreadGroup threads, ROW_SLICED const Source* x, Out scale, Out offset,
                         int64 n, bool accumulate, ROW_SLICED Out* out) {
    for (int64 i : threads.elements(n)) {
        const Out y = Converted<Out>::of(x[i]) * scale + offset;
        out[i] = accumulate ? out[i] + y : y;
    }
}

// In each row, `width` elements of `into` starting at `at` (+)= those of x starting at `start`. The
// other elements of `into` are unchanged.
template <typename T>
ROW_PART void copy_columns(ThreadGroup threads, ROW_SLICED const T* x, int64 x_columns,
                           int64 start, int64 rows, int64 width, int64 at, int64 into_columns,
                           bool accumulate, ROW_SLICED T* into) {
    for (int64 i = threads.begin(rows); i < threads.end(rows); ++i) {
        const T* source = x + i * x_columns + start;
        T* target = into + i * into_columns + at;
        for (int64 c : threads.across(0, width))
            target[c] = accumulate ? target[c] + source[c] : source[c];
    }
}

// out = x mask / (1 - rate), for the elements from `first` on of a larger array. A block of random
// words gives eight values, for eight neighbouring elements. If a slice begins or ends within them,
// both groups draw them.
template <typename T>
ELEMENT_PART void dropout(ThreadGroup threads, ROW_SLICED const T* x, float keep, T scale,
                          RUN_TIME uint64 seed, RUN_TIME uint64 stream,
                          BLOCK_COPY const int64* counters, int64 first, int64 n,
                          ROW_SLICED T* out, ROW_SLICED bool* mask) {
    const uint64 batch = uint64(counters[BATCHES]);
    const int64 begin = first + threads.begin(n), end = first + threads.end(n);
    for (int64 block = begin / 8 + threads.rank; block * 8 < end; block += threads.size) {
        const Words words = philox(Words{{uint64(block) + 1, 0, batch, stream}}, seed, 0);
        for (int k = 0; k < 8; ++k) {
            const int64 drawn = block * 8 + k, i = drawn - first;
            if (drawn >= begin && drawn < end) {
                const bool kept = uniform(words, k) < keep;
                mask[i] = kept;
                out[i] = kept ? x[i] * scale : T(0);
            }
        }
    }
}

// out (+)= dy mask / (1 - rate)
template <typename T>
ELEMENT_PART void dropout_gradient(ThreadGroup threads, ROW_SLICED const T* dy,
                                   ROW_SLICED const bool* mask, T scale, int64 n, bool accumulate,
                                   ROW_SLICED T* out) {
    for (int64 i : threads.elements(n)) {
        const T dx = mask[i] ? dy[i] * scale : T(0);
        out[i] = accumulate ? out[i] + dx : dx;
    }
}
