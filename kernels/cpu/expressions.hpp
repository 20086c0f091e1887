// Steps on a whole block: conversion, broadcasting and reduction.
#pragma once
#include "strips.hpp"

namespace {

template <typename T> inline void fill(T x, int64 n, T* out) {
    each(n, out, [=](int64) { return x; });
}

// Repeats the value of each row `columns` times.
template <typename T> void repeat(const T* x, int64 rows, int64 columns, T* out) {
    for (int64 r = 0; r < rows; ++r, out += columns) {
        const T value = x[r];
        for (int64 c = 0; c < columns; c += LANES) {  // the next row overwrites any excess
            EACH_LANE
            for (int l = 0; l < LANES; ++l) out[c + l] = value;
        }
    }
}

// Reduces each row to one value by `fold`, a function of vectors or scalars. For a long row, it
// reduces to 64 lanes first, then combines these; a short row goes from left to right.
template <typename T, typename Fold>
void fold_rows(const T* x, int64 rows, int64 columns, T start, T* out, Fold fold) {
    if (columns == 1) {
        each(rows, out, [=](int64 r) { return fold(start, x[r]); });
        return;
    }
    if (columns <= ShortRows<T>::LONGEST) {
        for (int64 r = 0; r < rows; r += LANES) {
            const ShortRows<T> some(rows - r < LANES ? rows - r : LANES, columns);
            typename ShortRows<T>::Input input;
            some.template read<true>(x + r * columns, input);
            Chunk<T> all = input(0);
            for (int64 c = 1; c < columns; ++c) {
                const Chunk<T>& next = input(c);
                EACH_LANE
                for (int l = 0; l < LANES; ++l) all[l] = fold(all[l], next[l]);
            }
            EACH_LANE
            for (int l = 0; l < LANES; ++l) all[l] = fold(start, all[l]);  // for -0 the sum is 0
            std::memcpy(out + r, all.at, sizeof all.at);
        }
        return;
    }
    for (int64 r = 0; r < rows; ++r, x += columns) {
        alignas(64) T lanes[WIDE];
        for (int l = 0; l < WIDE; ++l) lanes[l] = start;
        fold_into(x, columns, lanes, fold);
        out[r] = lanes_folded(lanes, fold);
    }
}

// Reduces values into 64 lanes.
template <typename T, typename Fold>
inline void fold_into(const T* x, int64 n, T* lanes, Fold fold) {
    int64 i = 0;
    for (; i + WIDE <= n; i += WIDE) {
        INDEPENDENT
        for (int l = 0; l < WIDE; ++l) lanes[l] = fold(lanes[l], x[i + l]);
    }
    for (; i < n; i += LANES, lanes += LANES) {
        const int32 left = int32(n - i);
        EACH_LANE
        for (int l = 0; l < LANES; ++l) {
            const T folded = fold(lanes[l], x[i + l]);
            lanes[l] = LANE[l] < left ? folded : lanes[l];
        }
    }
}

template <typename T, typename Fold> inline T lanes_folded(const T* lanes, Fold fold) {
    Chunk<T> chunk;
    EACH_LANE
    for (int l = 0; l < LANES; ++l)
        chunk[l] = fold(fold(lanes[l], lanes[l + 2 * LANES]),
                        fold(lanes[l + LANES], lanes[l + 3 * LANES]));
    return together(chunk, fold);
}

// Calls work(Source()) for the element type of an array.
template <typename Work> inline void for_type(Type type, Work work) {
    switch (type) {
        case Type::boolean: return work(bool());
        case Type::int8: return work(int8());
        case Type::int16: return work(int16());
        case Type::int32: return work(int32());
        case Type::int64: return work(int64());
        case Type::uint8: return work(uint8());
        case Type::uint16: return work(uint16());
        case Type::uint32: return work(uint32());
        case Type::uint64: return work(uint64());
        case Type::float16: return work(float16());
        case Type::float32: return work(float());
        default: return work(double());
    }
}

// out = n elements of an array, from `start` on
template <typename T> void read(const AnyArray& array, int64 start, int64 n, T* out) {
    for_type(array.type, [=](auto zero) {
        typedef decltype(zero) Source;
        const Source* from = static_cast<const Source*>(array.data) + start;
        if constexpr (std::is_same_v<Source, T>) {
            std::memcpy(out, from, std::size_t(n) * sizeof(T));
        } else {
            INDEPENDENT
            for (int64 i = 0; i < n; ++i) out[i] = T(from[i]);
        }
    });
}

// Calls work(Out()) for the element type of an array of a tensor.
template <typename Work> inline void for_tensor_type(Type type, Work work) {
    switch (type) {
        case Type::boolean: return work(bool());
        case Type::int32: return work(int32());
        case Type::float32: return work(float());
        default: return work(double());
    }
}

// array (+)= n elements, from `start` on. Sums are in the array's type or in double precision.
template <typename T>
void write(const T* x, int64 n, bool accumulate, const AnyArray& array, int64 start) {
    for_tensor_type(array.type, [=](auto zero) {
        typedef decltype(zero) Out;
        Out* to = static_cast<Out*>(array.data) + start;
        typedef std::conditional_t<std::is_same_v<Out, T>, T, double> Sum;
        if (accumulate) {
            INDEPENDENT
            for (int64 i = 0; i < n; ++i) to[i] = Converted<Out>::of(Sum(to[i]) + Sum(x[i]));
        } else if constexpr (std::is_same_v<Out, T>) {
            if (to != x) std::memcpy(to, x, std::size_t(n) * sizeof(T));
        } else {
            INDEPENDENT
            for (int64 i = 0; i < n; ++i) to[i] = Converted<Out>::of(x[i]);
        }
    });
}

}  // namespace
