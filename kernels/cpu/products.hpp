// Matrix products: tiles of the result in registers, as large as registers allow. Whatever the tile
// and the thread that computes it, an element is summed along k in one order. The sum is divided
// into blocks of a length that depends on k alone. Each block uses multiply-adds from the first to
// the last, and the blocks are added one after the other.
#pragma once
#include "pieces.hpp"
#include "vectors.hpp"

#include <algorithm>
#include <new>

namespace {

// Block sizes: a panel of b, DEPTH x 2 vectors, stays in the L1 cache while a block of a, of TALL x
// DEPTH, streams from the L2 cache. WIDE bounds the memory for packed panels.
constexpr int64 TALL = 192, WIDE = 512;

// From this many multiplications on, threads share a product. With half as many, two threads are
// as fast as one: what one has computed, the other one reads from the first one's cache.
constexpr int64 WORTH_CUTTING = 3 << 22;

// Elements of the blocks of a sum that threads share: they stay in the L2 cache.
constexpr int64 MOST_SUMS = 1 << 17;

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
    for (int64 p = 0; p < k; ++p) {
        typename V::type line[vectors];
        UNROLLED
        for (int j = 0; j < last; ++j) line[j] = V::load(b + j * V::lanes);
        line[last] = V::masks ? V::load(b + last * V::lanes, part) : V::load(b + last * V::lanes);
        UNROLLED
        for (int i = 0; i < rows; ++i) {
            const typename V::type x = V::all(by_row ? a[i * lda] : a[i]);
            UNROLLED
            for (int j = 0; j < vectors; ++j) sum[i][j] = V::fma(x, line[j], sum[i][j]);
        }
        if (!by_row) PREFETCH(a + 64 / sizeof(T));  // the first data of the next tile
        a += by_row ? 1 : lda;
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

template <typename T>
void in_blocks(Matrix<T> a, Matrix<T> b, T* out, int64 m, int64 n, int64 k, int64 ldo, bool add) {
    typedef Vector<T> V;
    const int64 panel_width = (m <= 2 ? MOST_VECTORS : 2) * V::lanes;
    const int64 depth = block_of(k, DEPTH, 8), tall = block_of(m, TALL, 1);
    const int64 wide = block_of(n, WIDE, panel_width);
    const bool new_a = m >= 32 && n >= 512 && collides<T>(a.ld);
    const bool new_b = b.transposed || (m >= 64 && n >= 256) || (!V::masks && n % V::lanes);
    thread_local Room<T> room;
    T* panels = new_b ? room.of(depth * in_vectors<T>(wide)) : nullptr;
    for (int64 p = 0; p < k; p += depth, add = true) {
        const int64 deep = std::min(depth, k - p);
        for (int64 c = 0; c < n; c += wide) {
            const int64 end = std::min(c + wide, n);
            if (new_b)
                (b.transposed ? transpose_panels<T> : copy_panels<T>)(
                    b.from(p, c), deep, end - c, panel_width, panels
                );
            for (int64 r = 0; r < m; r += tall) {
                const int64 high = std::min(tall, m - r);
                Matrix<T> rows = a.from(r, p);
                if (new_a) rows = spread(rows, high, deep);
                for (int64 j = c; j < end; j += panel_width) {
                    const int64 columns = std::min(panel_width, end - j);
                    const T* lines = new_b ? panels + (j - c) * deep : b.at(p, j);
                    panel(rows, lines, new_b ? in_vectors<T>(columns) : b.ld, high, columns, deep,
                          add, out + r * ldo + j, ldo);
                }
            }
        }
    }
}

// The same, with the blocks of the sum as pieces. A thread then reads those rows of b whose gradient
// and update it computes too, if b is the weights of a layer: they stay in the cache of its core.
template <typename T>
void by_depth(Matrix<T> a, Matrix<T> b, T* out, int64 m, int64 n, int64 k, int64 ldo, bool adds) {
    const int64 depth = block_of(k, DEPTH, 8), blocks = (k + depth - 1) / depth;
    thread_local Room<T> room;
    T* sums = room.of(blocks * m * n);  // (blocks, m, n)
    parallel(blocks, [&](int64 block) {
        const int64 p = block * depth;
        in_blocks(a.from(0, p), b.from(p, 0), sums + block * m * n, m, n, std::min(depth, k - p),
                  n, false);
    });
    for (int64 i = 0; i < m; ++i) {
        T* to = out + i * ldo;
        for (int64 block = 0; block < blocks; ++block) {
            const T* sum = sums + (block * m + i) * n;
            if (adds || block > 0)
                for (int64 j = 0; j < n; ++j) to[j] += sum[j];
            else
                std::memcpy(to, sum, std::size_t(n) * sizeof(T));
        }
    }
}

// `count` elements of a row of out, from rows of a and b that are contiguous along k: one sum for
// each lane, and the lanes are then added.
template <typename T, int count>
void dots(const T* a, const T* b, int64 ldb, int64 k, bool add, T* out) {
    typedef Vector<T> V;
    typename V::type sum[count];
    UNROLLED
    for (int j = 0; j < count; ++j) sum[j] = V::zero();
    int64 p = 0;
    for (; p + V::lanes <= k; p += V::lanes) {
        const typename V::type x = V::load(a + p);
        UNROLLED
        for (int j = 0; j < count; ++j) sum[j] = V::fma(x, V::load(b + j * ldb + p), sum[j]);
    }
    if (p < k) {
        const typename V::Part part = V::part(k - p);
        const typename V::type x = V::load(a + p, part);
        UNROLLED
        for (int j = 0; j < count; ++j)
            sum[j] = V::fma(x, V::load(b + j * ldb + p, part), sum[j]);
    }
    for (int j = 0; j < count; ++j) {
        T lane[V::lanes];
        V::store(lane, sum[j]);
        for (int half = V::lanes / 2; half > 0; half /= 2)
            for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
        out[j] = add ? out[j] + lane[0] : lane[0];
    }
}

template <typename T>
void by_dots(Matrix<T> a, Matrix<T> b, T* out, int64 m, int64 n, int64 k, int64 ldo, bool add) {
    for (int64 i = 0; i < m; ++i, out += ldo) {
        int64 j = 0;
        for (; j + 8 <= n; j += 8) dots<T, 8>(a.at(i, 0), b.at(0, j), b.ld, k, add, out + j);
        for (; j < n; ++j) dots<T, 1>(a.at(i, 0), b.at(0, j), b.ld, k, add, out + j);
    }
}

// For very small products, where any other method costs more.
template <typename T>
void one_by_one(const T* a, const T* b, T* out, int64 m, int64 n, int64 k, int64 down_a,
                int64 along_a, int64 down_b, int64 along_b, int64 ldo, bool add) {
    for (int64 i = 0; i < m; ++i)
        for (int64 j = 0; j < n; ++j) {
            T sum = 0;
            for (int64 p = 0; p < k; ++p)
                sum += a[i * down_a + p * along_a] * b[p * down_b + j * along_b];
            out[i * ldo + j] = add ? out[i * ldo + j] + sum : sum;
        }
}

// out (m, n) (+)= a' (m, k) @ b' (k, n): a' and b' are a and b, or their transposes. Rows are lda,
// ldb and ldo elements apart.
template <typename T>
void matmul(const T* a_numbers, const T* b_numbers, T* out, int64 m, int64 n, int64 k, int64 lda,
            int64 ldb, int64 ldo, bool transpose_a, bool transpose_b, bool accumulate) {
    if (m * n * k <= (transpose_b ? 64 : 16)) {
        one_by_one(a_numbers, b_numbers, out, m, n, k, transpose_a ? 1 : lda,
                   transpose_a ? lda : 1, transpose_b ? 1 : ldb, transpose_b ? ldb : 1, ldo,
                   accumulate);
        return;
    }
    Matrix<T> a{a_numbers, lda, transpose_a}, b{b_numbers, ldb, transpose_b};
    if (n == 1 && ldo == 1) {  // a contiguous column: the same as a row
        std::swap(a, b);
        std::swap(m, n);
        a.transposed = !a.transposed;
        b.transposed = !b.transposed;
    }
    if (m == 1 && a.ld == 1) a.transposed = false;
    if (k == 1 && b.ld == 1) b.transposed = false;
    if (!b.transposed && n <= 2 * Vector<T>::lanes && m <= TALL && k <= DEPTH &&
        (Vector<T>::masks || n % Vector<T>::lanes == 0)) {  // one block, without packing
        panel(a, b.numbers, b.ld, m, n, k, accumulate, out, ldo);
        return;
    }
    const bool along = m <= 2 && k >= 4 * Vector<T>::lanes && b.transposed && !a.transposed;
    const auto part = [&](int64 row, int64 column, int64 rows, int64 columns) {
        (along ? by_dots<T> : in_blocks<T>)(
            a.from(row, 0), b.from(0, column), out + row * ldo + column, rows, columns, k, ldo,
            accumulate
        );
    };
    const int64 pieces = m * n * k < WORTH_CUTTING ? 1 : threads();
    if (pieces == 1) {
        part(0, 0, m, n);
        return;
    }
    const int64 blocks = (k + DEPTH - 1) / DEPTH;
    if (!along && k > std::max(m, n) && blocks >= pieces && blocks * m * n <= MOST_SUMS) {
        by_depth(a, b, out, m, n, k, ldo, accumulate);
        return;
    }
    const int64 rows = m > n ? (m + pieces - 1) / pieces : m;
    const int64 columns = m > n ? n : block_of(n, (n + pieces - 1) / pieces, 32);
    parallel(pieces, [&](int64 piece) {
        const int64 row = m > n ? piece * rows : 0, column = m > n ? 0 : piece * columns;
        if (row < m && column < n)
            part(row, column, std::min(rows, m - row), std::min(columns, n - column));
    });
}

}  // namespace
