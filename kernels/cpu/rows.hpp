// Rows in chunks of 16 elements on every instruction set, so that sums over a row have the same
// order everywhere. For 16 short rows at a time, a chunk is a column, and its lanes are rows
// (`ShortRows`). For a long row, a chunk is a piece of the row, and its lanes are neighbouring
// elements (`LongRow`). In code for both, loops marked EACH_LANE become vector instructions.
#pragma once
#include "../formulas/math.cuh"
#include "pieces.hpp"
#include "vectors.hpp"

namespace {

constexpr int LANES = 16;

// Placed before a loop over the lanes of chunks, which should become vector instructions. If the
// compiler unrolled it first, it would not be vectorised.
#if defined(__clang__)
#define EACH_LANE _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define EACH_LANE _Pragma("GCC unroll 1") _Pragma("GCC ivdep")
#else
#define EACH_LANE __pragma(loop(ivdep))
#endif

template <typename T> struct Chunk {
    alignas(64) T at[LANES];

#ifndef FOR_BROWSERS  // whose vectors are as short as compilers copy
    // Copies are made in whole vectors: a processor waits if it loads a vector that was stored in
    // two halves, as compilers store a copy of an array.
    Chunk() = default;
    Chunk(const Chunk& other) { *this = other; }
    Chunk& operator=(const Chunk& other) {
        typedef typename Vector<std::conditional_t<sizeof(T) == 8, double, float>>::type Whole;
        constexpr std::size_t size = sizeof at < sizeof(Whole) ? sizeof at : sizeof(Whole);
        UNROLLED
        for (std::size_t byte = 0; byte < sizeof at; byte += size) {
            Whole whole;
            std::memcpy(&whole, reinterpret_cast<const char*>(other.at) + byte, size);
            std::memcpy(reinterpret_cast<char*>(at) + byte, &whole, size);
        }
        return *this;
    }
#endif

    T& operator[](int lane) { return at[lane]; }
    const T& operator[](int lane) const { return at[lane]; }
};

// The lane indices, in memory: a comparison with them makes a mask, whereas one with a loop counter
// would split the loop in two.
alignas(64) constexpr int32 LANE[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// Whether a partial vector is loaded and stored as fast as a whole one.
#if defined(__AVX512F__)
constexpr bool MASKS = true;
#else
constexpr bool MASKS = false;
#endif

// How many of `count` elements are in the vector that begins at element `first`.
template <typename T> inline int64 within(int first, int count) {
    const int left = count - first < 0 ? 0 : count - first;
    return left < Vector<T>::lanes ? left : Vector<T>::lanes;
}

// The first `count` elements starting at `from`, padded with 0.
template <typename T> inline Chunk<T> chunk_of(const T* from, int count) {
    typedef Vector<T> V;
    Chunk<T> chunk;
    UNROLLED
    for (int l = 0; l < LANES; l += V::lanes) {
        const typename V::Part part = V::part(within<T>(l, count));
        const bool whole = !MASKS && count == LANES;
        V::store(chunk.at + l, whole ? V::load(from + l) : V::load(from + l, part));
    }
    return chunk;
}

// Writes the first `count` elements of a chunk.
template <typename T> inline void write(const Chunk<T>& chunk, int count, T* to) {
    typedef Vector<T> V;
    UNROLLED
    for (int l = 0; l < LANES; l += V::lanes) {
        const typename V::type x = V::load(chunk.at + l);
        if (!MASKS && count == LANES) V::store(to + l, x);
        else V::store(to + l, x, V::part(within<T>(l, count)));
    }
}

template <typename T> inline Chunk<T> all(T x) {
    Chunk<T> chunk;
    EACH_LANE
    for (int l = 0; l < LANES; ++l) chunk[l] = x;
    return chunk;
}

#if defined(__GNUC__)

// Moves lane l to lane l + distance, wrapping around.
template <int distance, typename V, std::size_t... lane>
inline V turned(V x, std::index_sequence<lane...>) {
#if defined(__clang__)
    return __builtin_shufflevector(x, x, ((lane + distance) % sizeof...(lane))...);
#else
    typedef decltype(x < x) Places;
    return __builtin_shuffle(x, Places{((lane + distance) % sizeof...(lane))...});
#endif
}

template <typename V, int distance, typename F>
inline typename V::type lanes_together(typename V::type x, F f) {
    if constexpr (distance > 0) {
        x = f(x, turned<distance>(x, std::make_index_sequence<V::lanes>{}));
        return lanes_together<V, distance / 2>(x, f);
    }
    return x;
}

// The lanes combined by f: halves, then halves of these, and so on.
template <typename T, typename F> inline T together(const Chunk<T>& chunk, F f) {
    typedef Vector<T> V;
    constexpr int vectors = LANES / V::lanes;
    typename V::type x[vectors];
    UNROLLED
    for (int v = 0; v < vectors; ++v) x[v] = V::load(chunk.at + v * V::lanes);
    UNROLLED
    for (int half = vectors / 2; half > 0; half /= 2) {
        UNROLLED
        for (int v = 0; v < half; ++v) x[v] = f(x[v], x[v + half]);
    }
    return lanes_together<V, V::lanes / 2>(x[0], f)[0];
}

template <typename V> inline auto sum_of_lanes(typename V::type x) {
    return lanes_together<V, V::lanes / 2>(x, [](auto a, auto b) { return a + b; })[0];
}

#else

// Vectors of one lane.
template <typename V> inline typename V::type sum_of_lanes(typename V::type x) { return x; }

template <typename T, typename F> inline T together(Chunk<T> x, F f) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) x[l] = f(x[l], x[l + half]);
    return x[0];
}

#endif

// Up to LANES short rows: chunk k holds element k of each. They are one after the other in memory, or
// in lanes: the first elements of LANES rows, then their second ones, and so on.
template <typename T> class ShortRows {
    typedef Vector<T> V;

  public:
    static constexpr int64 LONGEST = 2 * LANES;

    // With only one or two rows, vectors would be mostly empty.
    static bool suit(int64 rows, int64 features) {
        return features == 1 || (features <= LONGEST && rows > 2);
    }

    ShortRows(int64 rows, int64 features) : rows(int(rows)), features(int(features)) {}
    static ShortRows in_lanes(int64 features) { return {LANES, features, true}; }

    template <typename Work> void each(Work work) const {
        for (int k = 0; k < features; ++k) work(k);
    }
    int32 number(int64 k, int) const { return int32(k); }
    bool inside(int64, int) const { return true; }

    // x (rows, features) as chunks.
    struct Input {
        Chunk<T> chunks[LONGEST];
        const Chunk<T>& operator()(int64 k) const { return chunks[k]; }
    };
    // With `padded`, a vector load may read beyond the last element.
    template <bool padded = false> ONCE void read(const T* x, Input& input) const {
        if (features == 1 || are_in_lanes) {
            for (int k = 0; k < features; ++k) input.chunks[k] = chunk_of(x + k * LANES, rows);
            return;
        }
        for (int c = 0; c < features; c += V::lanes) {
            const typename V::Part part = V::part(within<T>(c, features));
            for (int r = 0; r < LANES; r += V::lanes) {
                typename V::type square[V::lanes];
                UNROLLED
                for (int i = 0; i < V::lanes; ++i)
                    square[i] = r + i >= rows ? V::zero()
                              : padded        ? V::load(x + (r + i) * features + c)
                                              : V::load(x + (r + i) * features + c, part);
                transpose<T>(square);
                UNROLLED
                for (int i = 0; i < V::lanes; ++i)
                    V::store(input.chunks[c + i].at + r, square[i]);
            }
        }
    }

    // Chunks that are written to out (rows, features) when all are done.
    struct Output {
        Chunk<T> chunks[LONGEST];
        void operator()(int64 k, const Chunk<T>& chunk) { chunks[k] = chunk; }
    };
    Output output(T*) const {
        Output output;  // uninitialized
        return output;
    }
    ONCE void finish(const Output& output, T* out) const {
        if (features == 1 || are_in_lanes) {
            for (int k = 0; k < features; ++k) write(output.chunks[k], rows, out + k * LANES);
            return;
        }
        for (int c = 0; c < features; c += V::lanes) {
            const typename V::Part part = V::part(within<T>(c, features));
            for (int r = 0; r < rows; r += V::lanes) {
                typename V::type square[V::lanes];
                UNROLLED
                for (int i = 0; i < V::lanes; ++i)
                    square[i] = c + i < features ? V::load(output.chunks[c + i].at + r)
                                                 : V::zero();
                transpose<T>(square);
                UNROLLED
                for (int i = 0; i < V::lanes; ++i)
                    if (r + i < rows) V::store(out + (r + i) * features + c, square[i], part);
            }
        }
    }

    // A value for each row.
    template <typename U> Chunk<U> of_rows(const U* x) const {
        Chunk<U> chunk;
        if (rows == LANES) std::memcpy(chunk.at, x, sizeof chunk.at);
        else for (int l = 0; l < LANES; ++l) chunk[l] = l < rows ? x[l] : U(0);
        return chunk;
    }
    template <typename U> void to_rows(const Chunk<U>& chunk, U* x) const {
        if (rows == LANES) std::memcpy(x, chunk.at, sizeof chunk.at);
        else for (int l = 0; l < rows; ++l) x[l] = chunk[l];
    }

    // A value for each column.
    Chunk<T> of_column(const T* x, int64 k) const { return all(x[k]); }

    // What the lanes hold for each row, reduced from what they hold for its elements.
    static Chunk<T> sums(const Chunk<T>& x) { return x; }
    static Chunk<T> largest(const Chunk<T>& x) { return x; }
    static Chunk<int32> first(const Chunk<T>&, const Chunk<int32>& places) { return places; }

    const int rows;

  private:
    const int features;
    const bool are_in_lanes = false;

    ShortRows(int rows, int64 features, bool are_in_lanes)
        : rows(rows), features(int(features)), are_in_lanes(are_in_lanes) {}
};

// One row in chunks of neighbouring elements.
template <typename T> class LongRow {
  public:
    explicit LongRow(int64 features) : features(features) {}
    static constexpr int rows = 1;

    template <typename Work> void each(Work work) const {
        for (int64 k = 0; k * LANES < features; ++k) work(k);
    }
    int32 number(int64 k, int lane) const { return int32(k) * LANES + LANE[lane]; }
    bool inside(int64 k, int lane) const { return LANE[lane] < left(features, k); }

    struct Input {
        const T* x = nullptr;
        int64 features = 0;
        Chunk<T> operator()(int64 k) const { return chunk_of(x + k * LANES, left(features, k)); }
    };
    void read(const T* x, Input& input) const {
        input.x = x;
        input.features = features;
    }

    struct Output {
        T* out;
        int64 features;
        void operator()(int64 k, const Chunk<T>& chunk) {
            write(chunk, left(features, k), out + k * LANES);
        }
    };
    Output output(T* out) const { return {out, features}; }
    void finish(const Output&, T*) const {}

    template <typename U> Chunk<U> of_rows(const U* x) const { return all(*x); }
    template <typename U> void to_rows(const Chunk<U>& chunk, U* x) const { *x = chunk[0]; }
    Chunk<T> of_column(const T* x, int64 k) const {
        return chunk_of(x + k * LANES, left(features, k));
    }

    static Chunk<T> sums(const Chunk<T>& x) {
        return all(together(x, [](auto a, auto b) { return a + b; }));
    }
    static Chunk<T> largest(const Chunk<T>& x) {
        return all(together(x, [](auto a, auto b) { return (a > b) | (a != a) ? a : b; }));
    }
    static Chunk<int32> first(const Chunk<T>& x, const Chunk<int32>& places) {
        const Chunk<T> value = largest(x);
        Chunk<int32> candidates;
        EACH_LANE
        for (int l = 0; l < LANES; ++l)  // if one is NaN, so is the largest
            candidates[l] = (x[l] == value[l]) | (x[l] != x[l]) ? places[l] : NOWHERE;
        int32 first = NOWHERE;
        for (int l = 0; l < LANES; ++l) first = candidates[l] < first ? candidates[l] : first;
        return all(first == NOWHERE ? 0 : first);
    }

  private:
    static constexpr int32 NOWHERE = 0x7FFFFFFF;
    const int64 features;

    static int left(int64 features, int64 k) {
        return int(features - k * LANES < LANES ? features - k * LANES : LANES);
    }
};

// The indices of the largest elements of rows, the first ones on ties; NaN exceeds all numbers.
template <typename T, typename Rows, typename Input>
ONCE Chunk<int32> places_of_largest(const Rows& rows, const Input& input) {
    Chunk<T> value = all(math::minus_infinity<T>());
    Chunk<int32> place = all(int32(0));
    rows.each([&](int64 k) {
        const Chunk<T> x = input(k);
        EACH_LANE
        for (int l = 0; l < LANES; ++l) {
            const bool larger = rows.inside(k, l) && exceeds(x[l], value[l]);
            value[l] = larger ? x[l] : value[l];
            place[l] = larger ? rows.number(k, l) : place[l];
        }
    });
    return rows.first(value, place);
}

// work(rows, first) for all rows (rows, features), as many at a time as are processed together,
// starting at row `first`. Threads share pieces of them if there are enough elements.
template <typename T, typename Work> void each_rows(int64 rows, int64 features, Work work) {
    constexpr int64 worth = 1 << 14, least = 1 << 12;  // elements, including the padding of chunks
    const bool together = ShortRows<T>::suit(rows, features);
    const int64 padded = together ? features : (features + LANES - 1) / LANES * LANES;
    const int64 step = together ? LANES : 1;
    const int64 piece = rows * padded < worth ? rows : (least / padded / step + 1) * step;
    if (rows == 0) return;
    parallel((rows + piece - 1) / piece, [&](int64 k) {
        const int64 first = k * piece, last = rows - first < piece ? rows : first + piece;
        if (together) {
            for (int64 r = first; r < last; r += LANES)
                work(ShortRows<T>(last - r < LANES ? last - r : LANES, features), r);
        } else {
            for (int64 r = first; r < last; ++r) work(LongRow<T>(features), r);
        }
    });
}

// state += (sum(w v), sum(w)) over the rows' values v with weights w (1 if null).
template <typename T>
void add_to_mean(const T* values, const T* weights, int64 rows, double* state) {
    if (weights) {
        state[0] += sum_of(rows, [=](int64 r) { return double(weights[r]) * double(values[r]); });
        state[1] += sum_of(rows, [=](int64 r) { return double(weights[r]); });
    } else {
        state[0] += sum_of(rows, [=](int64 r) { return double(values[r]); });
        state[1] += double(rows);
    }
}

}  // namespace
