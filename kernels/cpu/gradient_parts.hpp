// How gradients of weights are computed a few rows at a time, see gradients.hpp.
#pragma once
#include "gradients.hpp"
#include "products.hpp"

namespace {

// Columns of a gradient that are computed before they are used, and rows at a time where zeros are
// left out.
constexpr int64 MOST_COLUMNS = 256, ROWS_OF_LISTS = 8;

// Of a batch of so few rows, whose gradient takes less time than the memory that its use reads,
// longer parts of a row are computed: memory is read fastest in one direction.
constexpr int64 FEW_ROWS = 8, LONG_ROW = 2048;

// A copy of b (k, n) in panels, if that is faster than to read b itself: for each block of the sum,
// panels of `width` columns.
template <typename T> struct Panels {
    typedef Vector<T> V;
    static constexpr int64 width = 2 * V::lanes;
    const T* numbers;
    int64 ld, depth;  // ld: of b; 0 if this is a copy
    int64 whole;      // columns, in vectors

    Panels(const T* b, int64 n, int64 k, int64 ld, int64 depth, bool shared)
        : numbers(b), ld(ld), depth(depth), whole(in_vectors<T>(n)) {
        if (n < 256 && (V::masks || n % V::lanes == 0)) return;
        thread_local Room<T> room;
        T* to = room.of(k * whole);
        this->ld = 0;
        numbers = to;
        const int64 blocks = (k + depth - 1) / depth;
        const int64 columns = MOST_COLUMNS, pieces = (n + columns - 1) / columns;
        auto copy = [&](int64 piece) {
            const int64 p = piece / pieces * depth, c = piece % pieces * columns;
            const int64 deep = std::min(depth, k - p);
            copy_panels(Matrix<T>{b, ld, false}.from(p, c), deep, std::min(columns, n - c), width,
                        to + p * whole + c * deep);
        };
        if (shared)
            parallel(blocks * pieces, copy);
        else
            for (int64 piece = 0; piece < blocks * pieces; ++piece) copy(piece);
    }

    const T* at(int64 p, int64 column, int64 deep) const {
        return ld ? numbers + p * ld + column : numbers + p * whole + column * deep;
    }
    int64 ld_of(int64 columns) const { return ld ? ld : in_vectors<T>(columns); }
};

// The rows from first to last (exclusive) of a' b, without multiplications by the zeros of a.
template <typename T>
void rows_without_zeros(const T* a, const Panels<T>& b, int64 first, int64 last, int64 n, int64 k,
                        int64 lda, T* part, const UseOfPart<T>& use) {
    typedef Vector<T> V;
    constexpr int64 most = ROWS_OF_LISTS, length = DEPTH + 8;
    byte lists[most * length];
    int64 counts[most];
    const int64 fit = ROWS_IN_L1<T> * ROW_VECTORS / std::min(k, b.depth);
    const int64 wide = V::lanes * (b.ld == 0 || fit < 2 ? 2 : std::min<int64>(fit, ROW_VECTORS));
    for (int64 row = first; row < last; row += most) {
        const int64 height = std::min(most, last - row);
        for (int64 c = 0; c < n; c += MOST_COLUMNS) {
            const int64 columns = std::min(MOST_COLUMNS, n - c);
            for (int64 p = 0; p < k; p += b.depth) {
                const int64 deep = std::min(b.depth, k - p);
                const T* left = a + p * lda + row;
                list_columns(left, deep, height, lda, lists, length, counts);
                for (int64 j = 0; j < columns; j += wide) {
                    const int64 here = std::min(wide, columns - j);
                    const int64 vectors = in_vectors<T>(here) / V::lanes;
                    const RowSum<T> run = row_sum_of<T, true>(vectors);
                    for (int64 i = 0; i < height; ++i)
                        run(left + i, lda, lists + i * length, counts[i], b.at(p, c + j, deep),
                            b.ld_of(here), here - (vectors - 1) * V::lanes, nullptr, p > 0,
                            part + i * columns + j);
                }
            }
            use(row, height, c, columns, part);
        }
    }
}

}  // namespace

template <typename T>
void each_part_of_gradient(const T* a, const T* b, int64 m, int64 n, int64 k, int64 lda, int64 ldb,
                           const UseOfPart<T>& use) {
    constexpr int most = most_rows(2, false);
    const bool shared = threads() > 1 && m * n * k >= WORTH_CUTTING;
    const int64 depth = block_of(k, DEPTH, 8);
    const bool copies = collides<T>(lda);
    const bool few = has_few(a, k, n, m, lda) && all_finite(b, k, n, ldb);
    const Panels<T> panels(b, n, k, ldb, depth, shared);
    const int64 wide = k <= FEW_ROWS ? LONG_ROW : MOST_COLUMNS;
    const auto rows = [&](int64 first, int64 last) {
        constexpr int64 room = std::max<int64>(most, ROWS_OF_LISTS) * MOST_COLUMNS;
        static_assert(room >= LONG_ROW);
        alignas(64) T part[room];
        if (n == 1 && ldb == 1) {  // a column: the same as a row, as in matmul()
            for (int64 row = first; row < last; row += LONG_ROW) {
                const int64 height = std::min(LONG_ROW, last - row);
                by_rows(Matrix<T>{b, 1, false}, Matrix<T>{a + row, lda, false}, part, 1, height, k,
                        height, false);
                use(row, height, 0, 1, part);
            }
            return;
        }
        if (few) {
            rows_without_zeros(a, panels, first, last, n, k, lda, part, use);
            return;
        }
        alignas(64) T lines[DEPTH * most];  // of a, for one block of the sum
        for (int64 c = 0; c < n; c += wide) {
            const int64 columns = std::min(wide, n - c);
            const int64 fit = copies ? DEPTH / depth : MOST_COLUMNS;
            const int64 tall = columns > MOST_COLUMNS
                                   ? std::min<int64>(most, room / columns)
                                   : most * std::min(MOST_COLUMNS / columns, fit);
            const int64 strips = (last - first + tall - 1) / tall;
            for (int64 strip = 0; strip < strips; ++strip) {
                const int64 row = first + (last - first) * strip / strips;
                const int64 height = first + (last - first) * (strip + 1) / strips - row;
                for (int64 p = 0; p < k; p += depth) {
                    const int64 deep = std::min(depth, k - p);
                    Matrix<T> left{a + p * lda + row, lda, true};
                    if (copies) {
                        for (int64 i = 0; i < deep; ++i)
                            std::memcpy(lines + i * tall, left.at(0, i), height * sizeof(T));
                        left = {lines, tall, true};
                    }
                    for (int64 j = 0; j < columns; j += panels.width) {
                        const int64 here = std::min(panels.width, columns - j);
                        panel(left, panels.at(p, c + j, deep), panels.ld_of(here), height, here,
                              deep, p > 0, part + j, columns);
                    }
                }
                use(row, height, c, columns, part);
            }
        }
    };
    if (!shared) {
        rows(0, m);
        return;
    }
    const int64 block = block_of(m, DEPTH, 8), each = (block + 1) / 2;
    const int64 blocks = (m + block - 1) / block;
    parallel(2 * blocks, [&](int64 piece) {
        const int64 end = std::min(m, piece / 2 * block + block);
        const int64 first = std::min(end, piece / 2 * block + piece % 2 * each);
        rows(first, piece % 2 ? end : std::min(end, first + each));
    });
}
