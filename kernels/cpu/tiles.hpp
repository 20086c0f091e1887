// Tiles of matrix products in registers, and copies of matrices in panels. Whatever the tile and the
// thread that computes it, an element is summed along k in one order, by multiply-adds.
#pragma once
#include "pieces.hpp"
#include "vectors.hpp"

#include <algorithm>
#include <new>

namespace {

// Block sizes: a panel of b, DEPTH x 2 vectors, stays in the L1 cache while a block of a, of TALL x
// DEPTH, streams from the L2 cache. WIDE bounds the memory for packed panels.
constexpr int64 TALL = 192, WIDE = 512;

// How many rows of this many vectors of sums fit in the registers, beside their operands.
constexpr int MOST_VECTORS = 4;
constexpr int most_rows(int vectors, [[maybe_unused]] bool by_row) {
#if defined(__AVX512F__)
    // Twelve rows a power of two apart still fit in one set of the L1 cache, sixteen do not.
    return vectors == 1 ? (by_row ? 12 : 16) : 24 / vectors;  // of 32 registers
#else
    return vectors == 1 ? 8 : vectors == 4 ? 2 : 12 / vectors;  // of 16 registers
#endif
}

// One tile: out (rows, columns) (+)= a (rows, k) @ b (k, columns), whose columns fill `vectors`
// vectors. In the last vector only the first `tail` lanes count. by_row: elements of a are
// contiguous along k, otherwise along the rows.
template <typename T, int rows, int vectors, bool by_row>
void tile(const T* a, int64 lda, const T* b, int64 ldb, int64 k, int64 tail, bool add, T* out,
          int64 ldo) {
    typedef Vector<T> V;
    constexpr int last = vectors - 1;
    const typename V::Part part = V::part(tail);
    typename V::type sum[rows][vectors];
    UNROLLED
    for (int i = 0; i < rows; ++i) {
        UNROLLED
        for (int j = 0; j < vectors; ++j) sum[i][j] = V::zero();
    }
    // A pointer for each three rows: an address has a factor of one or two elements, and no other.
    constexpr int pointers = by_row ? (rows + 2) / 3 : 1;
    const T* from[pointers];
    UNROLLED
    for (int g = 0; g < pointers; ++g) from[g] = a + 3 * g * lda;
    for (int64 p = 0; p < k; ++p) {
        typename V::type line[vectors];
        UNROLLED
        for (int j = 0; j < last; ++j) line[j] = V::load(b + j * V::lanes);
        line[last] = V::masks ? V::load(b + last * V::lanes, part) : V::load(b + last * V::lanes);
        UNROLLED
        for (int i = 0; i < rows; ++i) {
            const typename V::type x = V::all(by_row ? from[i / 3][(i % 3) * lda] : from[0][i]);
            UNROLLED
            for (int j = 0; j < vectors; ++j) sum[i][j] = V::fma(x, line[j], sum[i][j]);
        }
        if (!by_row) PREFETCH(from[0] + 64 / sizeof(T));  // the first data of the next tile
        UNROLLED
        for (int g = 0; g < pointers; ++g) {
            from[g] += by_row ? 1 : lda;
            UNRELATED(from[g]);
        }
        b += ldb;
    }
    UNROLLED
    for (int i = 0; i < rows; ++i, out += ldo) {
        UNROLLED
        for (int j = 0; j < last; ++j) {
            T* to = out + j * V::lanes;
            V::store(to, add ? V::load(to) + sum[i][j] : sum[i][j]);
        }
        T* to = out + last * V::lanes;
        if (tail == V::lanes)
            V::store(to, add ? V::load(to) + sum[i][last] : sum[i][last]);
        else
            V::store(to, add ? V::load(to, part) + sum[i][last] : sum[i][last], part);
    }
}

template <typename T>
using Tile = void (*)(const T*, int64, const T*, int64, int64, int64, bool, T*, int64);

template <typename T, int vectors, bool by_row, int... before>
Tile<T> tile_of(int rows, std::integer_sequence<int, before...>) {
    static constexpr Tile<T> all[] = {tile<T, before + 1, vectors, by_row>...};
    return all[rows - 1];
}
template <typename T, int vectors> Tile<T> tile_of(int rows, bool by_row) {
    constexpr std::make_integer_sequence<int, most_rows(vectors, true)> along{};
    constexpr std::make_integer_sequence<int, most_rows(vectors, false)> across{};
    return by_row ? tile_of<T, vectors, true>(rows, along)
                  : tile_of<T, vectors, false>(rows, across);
}
template <typename T> Tile<T> tile_of(int rows, int vectors, bool by_row) {
    switch (vectors) {
        case 1: return tile_of<T, 1>(rows, by_row);
        case 2: return tile_of<T, 2>(rows, by_row);
        case 3: return tile_of<T, 3>(rows, by_row);
        default: return tile_of<T, MOST_VECTORS>(rows, by_row);
    }
}

// A matrix as stored, or viewed as its transpose.
template <typename T> struct Matrix {
    const T* numbers;
    int64 ld;         // leading dimension: elements between rows in memory
    bool transposed;  // those rows are columns

    const T* at(int64 row, int64 column) const {
        return transposed ? numbers + column * ld + row : numbers + row * ld + column;
    }
    Matrix from(int64 row, int64 column) const { return {at(row, column), ld, transposed}; }
};

// All rows of one panel: out (m, columns) (+)= a (m, k) @ b (k, columns), in tiles of like height.
template <typename T>
void panel(Matrix<T> a, const T* b, int64 ldb, int64 m, int64 columns, int64 k, bool add, T* out,
           int64 ldo) {
    constexpr int lanes = Vector<T>::lanes;
    const int vectors = (int(columns) + lanes - 1) / lanes;
    const int most = most_rows(vectors, !a.transposed);
    const int64 tail = columns - (vectors - 1) * lanes;
    const int tiles = m <= most ? 1 : (int(m) + most - 1) / most;
    const int height = tiles == 1 ? int(m) : int(m) / tiles;
    const int higher = int(m) - height * tiles;  // this many tiles have one more row
    int64 i = 0;
    const auto until = [&](int64 end, int rows) {
        if (i == end) return;
        const Tile<T> run = tile_of<T>(rows, vectors, !a.transposed);
        for (; i < end; i += rows)
            run(a.at(i, 0), a.ld, b, ldb, k, tail, add, out + i * ldo, ldo);
    };
    until(higher * (height + 1), height + 1);
    until(m, height);
}

// A thread's memory for packed matrices. It grows to the largest size needed and is reused.
template <typename T> struct Room {
    T* numbers = nullptr;
    int64 size = 0;

    T* of(int64 wanted) {
        if (wanted > size) {
            const std::align_val_t line{64};
            ::operator delete(numbers, line);
            numbers = static_cast<T*>(::operator new(std::size_t(wanted) * sizeof(T), line));
            size = wanted;
        }
        return numbers;
    }
    ~Room() { ::operator delete(numbers, std::align_val_t{64}); }
};

template <typename T> int64 in_vectors(int64 columns) {
    return (columns + Vector<T>::lanes - 1) / Vector<T>::lanes * Vector<T>::lanes;
}

// Packs b (k, columns) into contiguous panels (k, width). The last one may be narrower, and is
// zero-padded to whole vectors. The rows of b, which may lie a page apart, are read row by row.
template <typename T>
void copy_panels(Matrix<T> b, int64 k, int64 columns, int64 panel_width, T* to) {
    typedef Vector<T> V;
    const typename V::Part part = V::part(columns % V::lanes);
    for (int64 p = 0; p < k; ++p) {
        const T* line = b.at(p, 0);
        for (int64 first = 0; first < columns; first += panel_width) {
            const int64 width = std::min(panel_width, in_vectors<T>(columns - first));
            T* into = to + first * k + p * width;
            for (int64 j = 0; j < width; j += V::lanes) {
                const T* from = line + first + j;
                const bool whole = first + j + V::lanes <= columns;
                V::store(into + j, whole ? V::load(from) : V::load(from, part));
            }
        }
    }
}

// The same for a transposed b.
template <typename T>
void transpose_panels(Matrix<T> b, int64 k, int64 columns, int64 panel_width, T* to) {
    typedef Vector<T> V;
    constexpr int lanes = V::lanes;
    for (int64 j = 0; j < columns; j += lanes) {
        const int64 first = j / panel_width * panel_width;
        const int64 width = std::min(panel_width, in_vectors<T>(columns - first));
        T* into = to + first * k + j - first;
        for (int64 p = 0; p < k; p += lanes) {
            const int64 here = columns - j, deep = k - p;
            const T* from = b.at(p, j);
            typename V::type x[lanes];
            if (here >= lanes && deep >= lanes) {
                UNROLLED
                for (int i = 0; i < lanes; ++i) x[i] = V::load(from + i * b.ld);
            } else {
                const typename V::Part part = V::part(std::min<int64>(deep, lanes));
                UNROLLED
                for (int i = 0; i < lanes; ++i)
                    x[i] = i < here ? V::load(from + i * b.ld, part) : V::zero();
            }
            transpose<T>(x);
            UNROLLED
            for (int i = 0; i < lanes; ++i)
                if (i < deep) V::store(into + (p + i) * width, x[i]);
        }
    }
}

// Whether rows this far apart fall into few sets of a cache.
template <typename T> bool collides(int64 ld) { return ld * int64(sizeof(T)) % 1024 == 0; }

// A copy of a (m, k) with its rows an odd number of cache lines apart.
template <typename T> Matrix<T> spread(Matrix<T> a, int64 m, int64 k) {
    thread_local Room<T> room;
    constexpr int64 line = 64 / sizeof(T);
    const int64 rows = a.transposed ? k : m, length = a.transposed ? m : k;
    const int64 ld = ((length + line - 1) / line | 1) * line;
    T* to = room.of(rows * ld);
    for (int64 i = 0; i < rows; ++i)
        std::memcpy(to + i * ld, a.numbers + i * a.ld, std::size_t(length) * sizeof(T));
    return {to, ld, a.transposed};
}

}  // namespace
