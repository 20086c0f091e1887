// Dropout and Gaussian noise, from random numbers that are computed from a key and a counter.
#include "../formulas/control.cuh"
#include "../formulas/random.cuh"
#include "operation.hpp"

namespace {

constexpr int BLOCKS = 16;  // blocks of four random words that are drawn together

#ifdef __AVX512DQ__
// Products of 64-bit integers in vectors; their upper halves come from 32-bit products. With fewer
// lanes, or without an instruction for the lower halves, computing one block after the other is
// faster.
//
// The results of philox() of random.cuh for blocks `first` to `first` + 15.
inline void draw(uint64 first, uint64 batch, uint64 stream, uint64 seed, uint64* words) {
    uint64 c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS], key_0 = seed, key_1 = 0;
    for (int b = 0; b < BLOCKS; ++b) {
        c0[b] = first + b;
        c1[b] = 0;
        c2[b] = batch;
        c3[b] = stream;
    }
    for (int round = 0; round < 10; ++round) {
        for (int b = 0; b < BLOCKS; ++b) {
            const uint64 low_0 = PHILOX_0 * c0[b], low_1 = PHILOX_1 * c2[b];
            const uint64 high_0 = math::high_product_of_halves(PHILOX_0, c0[b]);
            const uint64 high_1 = math::high_product_of_halves(PHILOX_1, c2[b]);
            c0[b] = high_1 ^ c1[b] ^ key_0;
            c1[b] = low_1;
            c2[b] = high_0 ^ c3[b] ^ key_1;
            c3[b] = low_0;
        }
        key_0 += PHILOX_KEY_0;
        key_1 += PHILOX_KEY_1;
    }
    for (int b = 0; b < BLOCKS; ++b) {
        words[4 * b] = c0[b];
        words[4 * b + 1] = c1[b];
        words[4 * b + 2] = c2[b];
        words[4 * b + 3] = c3[b];
    }
}
#else
inline void draw(uint64 first, uint64 batch, uint64 stream, uint64 seed, uint64* words) {
    for (int b = 0; b < BLOCKS; ++b) {
        const Words drawn = philox(Words{{first + b, 0, batch, stream}}, seed, 0);
        for (int k = 0; k < 4; ++k) words[4 * b + k] = drawn.word[k];
    }
}
#endif

// A part of the words for a larger array: those of its elements from `first` on. A block of words is
// for eight neighbours, so the part may begin within one: `begin` elements of it are not drawn for.
struct Part {
    uint64 block;
    int64 begin;

    explicit Part(int64 first) : block(uint64(first / 8) + 1), begin(first % 8) {}
};

// out = x mask / (1 - rate), for the elements from `first` on of a larger array. A block of random
// words gives eight values, for eight neighbours.
template <typename T>
void dropout(const T* x, double least, double factor, uint64 seed, uint64 stream,
             const int64* counters, int64 first, int64 n, T* out, bool* kept_ones) {
    constexpr int64 NUMBERS = 8 * BLOCKS;
    const float keep = float(least);
    uint8* mask = reinterpret_cast<uint8*>(kept_ones);  // compilers have no vectors of bool
    const T scale = T(factor);
    const uint64 batch = uint64(counters[BATCHES]);
    const Part part(first);
    for (int64 start = -part.begin; start < n; start += NUMBERS) {
        uint64 words[4 * BLOCKS];
        draw(part.block + uint64(start + part.begin) / 8, batch, stream, seed, words);
        uint32 halves[NUMBERS];  // low before high, the order that uniform() expects
        INDEPENDENT
        for (int64 k = 0; k < 4 * BLOCKS; ++k) {
            halves[2 * k] = uint32(words[k]);
            halves[2 * k + 1] = uint32(words[k] >> 32);
        }
        const int64 in_block = n - start < NUMBERS ? n - start : NUMBERS;
        INDEPENDENT
        for (int64 i = start < 0 ? -start : 0; i < in_block; ++i) {
            const bool kept = fraction(halves[i]) < keep;
            const T scaled = x[start + i] * scale;
            mask[start + i] = kept;
            out[start + i] = kept ? scaled : T(0);
        }
    }
}

// out (+)= dy mask / (1 - rate)
template <typename T>
void dropout_gradient(const T* dy, const bool* kept, double factor, int64 n, bool accumulate,
                      T* out) {
    const T scale = T(factor);
    const uint8* mask = reinterpret_cast<const uint8*>(kept);
    if (accumulate) {
        INDEPENDENT
        for (int64 i = 0; i < n; ++i) {
            const T scaled = dy[i] * scale;
            out[i] += mask[i] ? scaled : T(0);
        }
        return;
    }
    INDEPENDENT
    for (int64 i = 0; i < n; ++i) {
        const T scaled = dy[i] * scale;
        out[i] = mask[i] ? scaled : T(0);
    }
}

// out = x + noise or, if `factors` is given, x factors with factors = 1 + noise. A block of random
// words gives eight normal values, for eight neighbouring elements, as in `dropout`; so is `first`.
template <typename T>
void normal_noise(const T* x, double deviation, uint64 seed, uint64 stream, const int64* counters,
                  int64 first, int64 n, T* factors, T* out) {
    constexpr int64 PAIRS = 4 * BLOCKS;
    const T stddev = T(deviation);
    const uint64 batch = uint64(counters[BATCHES]);
    const Part part(first);
    for (int64 start = -part.begin; start < n; start += 2 * PAIRS) {
        uint64 words[PAIRS];
        draw(part.block + uint64(start + part.begin) / 8, batch, stream, seed, words);
        T noise[2 * PAIRS];
        INDEPENDENT
        for (int64 i = 0; i < PAIRS; ++i) {  // a word is a pair, as normal_pair() expects
            const T u = T(fraction(uint32(words[i]))), turns = T(fraction(uint32(words[i] >> 32)));
            const T radius = stddev * math::sqrt(T(-2) * math::log(T(1) - u));
            noise[2 * i] = radius * math::cos_turns(turns);
            noise[2 * i + 1] = radius * math::sin_turns(turns);
        }
        const int64 in_block = n - start < 2 * PAIRS ? n - start : 2 * PAIRS;
        for (int64 i = start < 0 ? -start : 0; i < in_block; ++i) {
            const T given = x[start + i];
            if (factors) factors[start + i] = T(1) + noise[i];
            out[start + i] = factors ? given * (T(1) + noise[i]) : given + noise[i];
        }
    }
}

template <typename T> void add_noise() {
    add<&dropout<T>>("dropout", {name_of<T>()});
    add<&dropout_gradient<T>>("dropout_gradient", {name_of<T>()});
    add<&normal_noise<T>>("normal_noise", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_noise)
});

}  // namespace
