// The loops of expressions: each over the numbers of a block, which lie next to each other. They
// compute some numbers behind the last one as well, so that vectors are always whole: `SLACK` of
// them can be read and written there.
#pragma once
#include "../formulas/doubles.cuh"
#include "../formulas/elements.cuh"
#include "operation.hpp"
#include "rows.hpp"

namespace {

constexpr int64 WIDE = 4 * LANES, SLACK = WIDE;

template <typename T> using Compute = void (*)(const T* a, const T* b, const T* c, int64 n, T* out);

// out[i] = value(i)
template <typename T, typename Value> inline void each(int64 n, T* out, Value value) {
    int64 i = 0;
    for (; i + WIDE <= n; i += WIDE) {
        INDEPENDENT
        for (int l = 0; l < WIDE; ++l) out[i + l] = value(i + l);
    }
    for (; i < n; i += LANES) {
        EACH_LANE
        for (int l = 0; l < LANES; ++l) out[i + l] = value(i + l);
    }
}

// Functions as types, so that loops are compiled for each.
#define FUNCTION(name)                                                                     \
    struct name {                                                                          \
        template <typename... T> static auto of(T... x) { return elements::name(x...); }   \
    };
// Those that the C library would compute for double, with a call for each number.
#define FUNCTION_OF_DOUBLE(name)                                      \
    struct name {                                                     \
        static float of(float x) { return elements::name(x); }        \
        static double of(double x) { return doubles::name(x); }       \
    };
namespace functions {
FUNCTION_OF_DOUBLE(sigmoid) FUNCTION_OF_DOUBLE(exp) FUNCTION_OF_DOUBLE(expm1)
FUNCTION_OF_DOUBLE(log) FUNCTION_OF_DOUBLE(log1p) FUNCTION_OF_DOUBLE(tanh)
FUNCTION(negative) FUNCTION(abs) FUNCTION(sign) FUNCTION(square) FUNCTION(reciprocal)
FUNCTION(sqrt) FUNCTION(relu) FUNCTION(sin) FUNCTION(cos) FUNCTION(tan) FUNCTION(arcsin)
FUNCTION(arccos) FUNCTION(arctan) FUNCTION(sinh) FUNCTION(cosh) FUNCTION(arcsinh)
FUNCTION(arccosh) FUNCTION(arctanh) FUNCTION(floor) FUNCTION(ceil) FUNCTION(round)
FUNCTION(isnan) FUNCTION(isinf) FUNCTION(isfinite) FUNCTION(logical_not) FUNCTION(add)
FUNCTION(subtract) FUNCTION(multiply) FUNCTION(divide) FUNCTION(maximum) FUNCTION(minimum)
FUNCTION(power) FUNCTION(floor_divide) FUNCTION(mod) FUNCTION(arctan2) FUNCTION(logaddexp)
FUNCTION(equal) FUNCTION(not_equal) FUNCTION(less) FUNCTION(less_equal) FUNCTION(greater)
FUNCTION(greater_equal) FUNCTION(logical_and) FUNCTION(logical_or) FUNCTION(logical_xor)
}  // namespace functions
#undef FUNCTION
#undef FUNCTION_OF_DOUBLE

template <typename T, typename F>
void unary(const T* a, const T*, const T*, int64 n, T* out) {
    each(n, out, [=](int64 i) { return F::of(a[i]); });
}
template <typename T, typename F>
void binary(const T* a, const T* b, const T*, int64 n, T* out) {
    each(n, out, [=](int64 i) { return F::of(a[i], b[i]); });
}
template <typename T, typename F>
void with_number(const T* a, const T* b, const T*, int64 n, T* out) {
    const T y = *b;
    each(n, out, [=](int64 i) { return F::of(a[i], y); });
}
template <typename T, typename F>
void of_number(const T* a, const T* b, const T*, int64 n, T* out) {
    const T x = *a;
    each(n, out, [=](int64 i) { return F::of(x, b[i]); });
}

// Of functions that are a call for each number: no more calls than numbers.
template <typename T, typename F>
void unary_calls(const T* a, const T*, const T*, int64 n, T* out) {
    for (int64 i = 0; i < n; ++i) out[i] = F::of(a[i]);
}
template <typename T, typename F>
void binary_calls(const T* a, const T* b, const T*, int64 n, T* out) {
    for (int64 i = 0; i < n; ++i) out[i] = F::of(a[i], b[i]);
}

// The polynomials for angles that they are good for, which is nearly always.
template <typename F, float (*near)(float)>
void of_angles(const float* a, const float* b, const float* c, int64 n, float* out) {
    int32 far = 0;
    for (int64 i = 0; i < n; ++i) far |= !(math::magnitude(a[i]) < polynomials::MOST_ANGLE);
    if (far) unary_calls<float, F>(a, b, c, n, out);
    else each(n, out, [=](int64 i) { return near(a[i]); });
}

// out = condition != 0 ? a : b, each of the two maybe one number
template <typename T, bool one_a, bool one_b>
void where(const T* condition, const T* a, const T* b, int64 n, T* out) {
    const T x = *a, y = *b;
    each(n, out, [=](int64 i) {
        const T chosen = one_a ? x : a[i], other = one_b ? y : b[i];
        return elements::where(condition[i], chosen, other);
    });
}

template <typename T> inline void fill(T x, int64 n, T* out) {
    each(n, out, [=](int64) { return x; });
}

// Each of the rows' numbers, `columns` times.
template <typename T> void repeat(const T* x, int64 rows, int64 columns, T* out) {
    for (int64 r = 0; r < rows; ++r, out += columns) {
        const T value = x[r];
        for (int64 c = 0; c < columns; c += LANES) {  // what is too much, the next row writes over
            EACH_LANE
            for (int l = 0; l < LANES; ++l) out[c + l] = value;
        }
    }
}

// Each row folded to one number by `together`, of vectors or numbers: 64 lanes of a long row are
// folded first, then these; a short row from left to right.
template <typename T, typename Fold>
void fold_rows(const T* x, int64 rows, int64 columns, T start, T* out, Fold fold) {
    if (columns == 1) {
        each(rows, out, [=](int64 r) { return x[r]; });
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

// Folds numbers into 64 lanes.
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

// A float as a half-precision number: the nearest one, of two the even one.
inline float16 half(float x) {
    uint32 word;
    std::memcpy(&word, &x, sizeof word);
    const uint32 sign = (word >> 16) & 0x8000u, size = word & 0x7FFFFFFFu;
    uint32 bits;
    if (size > 0x7F800000u) {  // NaN
        bits = 0x7E00u;
    } else if (size >= 0x477FF000u) {  // rounds to 65536 or more
        bits = 0x7C00u;
    } else if (size >= 0x38800000u) {
        const uint32 rounded = size + 0xFFFu + ((size >> 13) & 1u);
        bits = (rounded - 0x38000000u) >> 13;
    } else {  // a multiple of 2^-24, as the sum with 1/2 rounds it
        float part;
        std::memcpy(&part, &size, sizeof part);
        part += 0.5f;
        std::memcpy(&bits, &part, sizeof bits);
        bits -= 0x3F000000u;
    }
    return {uint16(sign | bits)};
}

// Negative numbers without a sign are their rest modulo a power of 2, on every instruction set.
template <typename Out, typename T> inline Out converted(T x) {
    if constexpr (std::is_same_v<Out, bool>) return x != T(0);
    else if constexpr (std::is_same_v<Out, float16>) return half(float(x));
    else if constexpr (std::is_same_v<Out, uint64>) return x < T(0) ? Out(int64(x)) : Out(x);
    else if constexpr (std::is_unsigned_v<Out>) return Out(int64(x));
    else return Out(x);
}

// work(Source()) for the type of an array's numbers.
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

// out = n numbers of an array, from `start` on
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

// array (+)= n numbers, from `start` on. Added are they in the array's type or in double precision.
template <typename T>
void write(const T* x, int64 n, bool accumulate, const AnyArray& array, int64 start) {
    for_type(array.type, [=](auto zero) {
        typedef decltype(zero) Out;
        Out* to = static_cast<Out*>(array.data) + start;
        typedef std::conditional_t<std::is_same_v<Out, T>, T, double> Sum;
        if (accumulate) {
            INDEPENDENT
            for (int64 i = 0; i < n; ++i) to[i] = converted<Out>(Sum(to[i]) + Sum(x[i]));
        } else if constexpr (std::is_same_v<Out, T>) {
            std::memcpy(to, x, std::size_t(n) * sizeof(T));
        } else {
            INDEPENDENT
            for (int64 i = 0; i < n; ++i) to[i] = converted<Out>(x[i]);
        }
    });
}

}  // namespace
