// Gaussian noise.
#include "../formulas/control.cuh"
#include "../formulas/random.cuh"
#include "threads.cuh"

// out = x + noise or, if `factors` is given, x factors with factors = 1 + noise. A block of random
// words gives eight normal values, for eight neighbouring elements, as in `dropout`; so is `first`.
template <typename T>
ELEMENT_PART void normal_noise(ThreadGroup threads, ROW_SLICED const T* x, T stddev,
                               RUN_TIME uint64 seed, RUN_TIME uint64 stream,
                               BLOCK_COPY const int64* counters, int64 first, int64 n,
                               ROW_SLICED T* factors, ROW_SLICED T* out) {
    const uint64 batch = uint64(counters[BATCHES]);
    const int64 begin = first + threads.begin(n), end = first + threads.end(n);
    for (int64 block = begin / 8 + threads.rank; block * 8 < end; block += threads.size) {
        const Words words = philox(Words{{uint64(block) + 1, 0, batch, stream}}, seed, 0);
        for (int pair = 0; pair < 4; ++pair) {
            const Pair<T> normal = normal_pair<T>(words, pair, stddev);
            for (int k = 0; k < 2; ++k) {
                const int64 drawn = block * 8 + pair * 2 + k, i = drawn - first;
                if (drawn < begin || drawn >= end) continue;
                const T noise = k ? normal.second : normal.first;
                out[i] = factors ? x[i] * (T(1) + noise) : x[i] + noise;
                if (factors) factors[i] = T(1) + noise;
            }
        }
    }
}
