// Passes over elements without a formula of their own: conversion, combination, columns, dropout.
#include "../combinations.cuh"
#include "../control.cuh"
#include "../random.cuh"
#include "formulas.hpp"
#include "operation.hpp"

namespace {

// out[i] = value(i), or += with `accumulate`
template <typename T, typename Value>
inline void write(T* out, int64 n, bool accumulate, Value value) {
    if (accumulate) {
        INDEPENDENT
        for (int64 i = 0; i < n; ++i) out[i] += value(i);
    } else {
        INDEPENDENT
        for (int64 i = 0; i < n; ++i) out[i] = value(i);
    }
}

// out (+)= x scale + offset, from any type of number
template <typename Source, typename Out>
void affine(const Source* x, double factor, double shift, int64 n, bool accumulate, Out* out) {
    const Out scale = Out(factor), offset = Out(shift);
    write(out, n, accumulate, [=](int64 i) { return Out(x[i]) * scale + offset; });
}

// out (+)= what the combination makes of a and b
template <typename T, template <typename> class Combination>
void combine(const T* a, const T* b, int64 n, bool accumulate, T* out) {
    write(out, n, accumulate, [=](int64 i) { return Combination<T>::of(a[i], b[i]); });
}

// Of each row, the `width` numbers of `into` from `at` on (+)= those of x from `start` on.
template <typename T>
void copy_columns(const T* x, int64 x_width, int64 start, int64 rows, int64 width, int64 at,
                  int64 into_width, bool accumulate, T* into) {
    for (int64 r = 0; r < rows; ++r) {
        const T* source = x + r * x_width + start;
        write(into + r * into_width + at, width, accumulate, [=](int64 c) { return source[c]; });
    }
}

// out (features,) (+)= the sum over the rows of x (rows, features): first of SOME_ROWS together,
// so that in a sum over many rows small numbers are not lost beside a large one.
template <typename T>
void column_sums(const T* x, int64 rows, int64 features, bool accumulate, T* out) {
    constexpr int64 SOME_ROWS = 256, COLUMNS = 128;
    for (int64 first = 0; first < features; first += COLUMNS) {
        const int64 columns = features - first < COLUMNS ? features - first : COLUMNS;
        T total[COLUMNS] = {}, some[COLUMNS];
        for (int64 start = 0; start < rows; start += SOME_ROWS) {
            const int64 stop = rows - start < SOME_ROWS ? rows : start + SOME_ROWS;
            for (int64 c = 0; c < columns; ++c) some[c] = T(0);
            for (int64 r = start; r < stop; ++r) {
                const T* row = x + r * features + first;
                for (int64 c = 0; c < columns; ++c) some[c] += row[c];
            }
            for (int64 c = 0; c < columns; ++c) total[c] += some[c];
        }
        write(out + first, columns, accumulate, [&](int64 c) { return total[c]; });
    }
}

constexpr int BLOCKS = 16;  // of random words, four each, that are drawn together

#ifdef __AVX512DQ__
// Products of 64-bit numbers in vectors, their upper halves from products of 32 bits: with fewer
// lanes, or without an instruction for the lower halves, one block after the other is faster.
inline uint64 high_product(uint64 a, uint64 b) {
    const uint64 mask = 0xFFFFFFFFu;
    const uint64 low = (a & mask) * (b & mask), cross = (a >> 32) * (b & mask);
    const uint64 middle = (low >> 32) + (cross & mask) + (a & mask) * (b >> 32);
    return (a >> 32) * (b >> 32) + (cross >> 32) + (middle >> 32);
}

// What philox() of random.cuh gives for blocks `first` to `first` + 15.
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
            const uint64 high_0 = high_product(PHILOX_0, c0[b]), low_0 = PHILOX_0 * c0[b];
            const uint64 high_1 = high_product(PHILOX_1, c2[b]), low_1 = PHILOX_1 * c2[b];
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

// out = x mask / (1 - rate). A block of random words is eight numbers, for eight neighbours.
template <typename T>
void dropout(const T* x, double least, double factor, uint64 seed, uint64 stream,
             const int64* counters, int64 n, T* out, bool* kept_ones) {
    constexpr int64 NUMBERS = 8 * BLOCKS;
    const float keep = float(least);
    uint8* mask = reinterpret_cast<uint8*>(kept_ones);  // compilers have no vectors of bool
    const T scale = T(factor);
    const uint64 batch = uint64(counters[BATCHES]);
    for (int64 start = 0; start < n; start += NUMBERS) {
        uint64 words[4 * BLOCKS];
        draw(uint64(start / 8) + 1, batch, stream, seed, words);
        uint32 halves[NUMBERS];  // low before high, as uniform() takes them
        INDEPENDENT
        for (int64 k = 0; k < 4 * BLOCKS; ++k) {
            halves[2 * k] = uint32(words[k]);
            halves[2 * k + 1] = uint32(words[k] >> 32);
        }
        const int64 some = n - start < NUMBERS ? n - start : NUMBERS;
        INDEPENDENT
        for (int64 i = 0; i < some; ++i) {
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
    write(out, n, accumulate, [=](int64 i) {
        const T scaled = dy[i] * scale;
        return mask[i] ? scaled : T(0);
    });
}

// out = x where x > 0, else x slope; x (rows, features), slopes (features,)
template <typename T>
void prelu(const T* x, const T* slopes, int64 rows, int64 features, T* out) {
    for (int64 r = 0; r < rows; ++r, x += features, out += features) {
        INDEPENDENT
        for (int64 c = 0; c < features; ++c) {
            const T below = x[c] * slopes[c];
            out[c] = x[c] > T(0) ? x[c] : below;
        }
    }
}

// terms = dy min(x, 0), and dx (+)= dy where x > 0, else dy slope, where it is wanted
template <typename T>
void prelu_gradient(const T* x, const T* slopes, const T* dy, int64 rows, int64 features,
                    bool accumulate, T* terms, T* dx) {
    for (int64 r = 0; r < rows; ++r) {
        const int64 start = r * features;
        INDEPENDENT
        for (int64 c = 0; c < features; ++c) {
            const T term = dy[start + c] * x[start + c];
            terms[start + c] = x[start + c] > T(0) ? T(0) : term;
        }
        if (!dx) continue;
        const T *z = x + start, *slope = dy + start;  // nothing is loaded under a condition
        write(dx + start, features, accumulate, [=](int64 c) {
            const T below = slope[c] * slopes[c];
            return z[c] > T(0) ? slope[c] : below;
        });
    }
}

template <typename Source> void add_affine(const char* source) {
    add<&affine<Source, float>>("affine", {source, "float32"});
    add<&affine<Source, double>>("affine", {source, "float64"});
    add<&affine<Source, int32>>("affine", {source, "int32"});
}

template <typename T> void add_passes() {
    const char* type = name_of<T>();
#define ADD(Formula) add<&combine<T, Formula>>("combine", {type, #Formula});
    EACH_COMBINATION(ADD)
#undef ADD
    add<&copy_columns<T>>("copy_columns", {type});
    add<&column_sums<T>>("column_sums", {type});
    add<&dropout<T>>("dropout", {type});
    add<&dropout_gradient<T>>("dropout_gradient", {type});
    add<&prelu<T>>("prelu", {type});
    add<&prelu_gradient<T>>("prelu_gradient", {type});
}

const Registration registration([] {
    add_passes<float>();
    add_passes<double>();
    add_affine<bool>("bool");
    add_affine<int8>("int8");
    add_affine<int16>("int16");
    add_affine<int32>("int32");
    add_affine<int64>("int64");
    add_affine<uint8>("uint8");
    add_affine<uint16>("uint16");
    add_affine<uint32>("uint32");
    add_affine<uint64>("uint64");
    add_affine<float16>("float16");
    add_affine<float>("float32");
    add_affine<double>("float64");
});

}  // namespace
