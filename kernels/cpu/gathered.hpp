// Matrix products in which one factor's elements may lie anywhere in memory: its element (i, p) is
// a[from(i) + along(p)]. Patches of images are such a matrix, and need not be copied for it.
#pragma once
#include "turned.hpp"

#include <cstring>

namespace {

// Memory offsets: from a table, or equally spaced.
struct Table {
    const int64* places;
    int64 operator()(int64 i) const { return places[i]; }
    Table from(int64 i) const { return {places + i}; }
};
struct Steps {
    int64 step, first = 0;
    int64 operator()(int64 i) const { return first + i * step; }
    Steps from(int64 i) const { return {step, first + i * step}; }
};

// This many rows of two vectors of sums fit in the registers, beside their operands.
#if defined(__AVX512F__)
constexpr int TILE_ROWS = 12;
#else
constexpr int TILE_ROWS = 6;
#endif
template <typename T> constexpr int64 PANEL_WIDTH = 2 * Vector<T>::lanes;

// The operands of a panel, some columns of a product: out (m, columns) = start + a @ b, or += with
// `add`. Row i of out begins at out[to(i)], row p of b (k, columns) at b[p ldb]. laid_out: b comes
// from lay_out_panels, and is padded to whole vectors.
template <typename T, typename From, typename Along, typename To, bool laid_out> struct Panel {
    static constexpr bool padded = laid_out;
    const T* a;
    From from;
    Along along;
    int64 k;
    const T* b;
    int64 ldb;
    int64 columns;
    const T* start;
    bool add;
    T* out;
    To to;
};

template <typename T, int rows, int vectors, bool whole, typename Its>
void gathered_tile(const Its& p, int64 row) {
    typedef Vector<T> V;
    constexpr int last = vectors - 1;
    const typename V::Part part = V::part(p.columns - last * V::lanes);
    typename V::type sum[rows][vectors];
    UNROLLED
    for (int i = 0; i < rows; ++i) {
        UNROLLED
        for (int j = 0; j < last; ++j)
            sum[i][j] = p.start ? V::load(p.start + j * V::lanes) : V::zero();
        sum[i][last] = p.start ? V::load(p.start + last * V::lanes, part) : V::zero();
    }
    const auto from = p.from.from(row);
    const auto along = p.along;
    const T* a = p.a;
    const T* b = p.b;
    const int64 k = p.k, ldb = p.ldb;
    for (int64 q = 0; q < k; ++q, b += ldb) {
        typename V::type line[vectors];
        UNROLLED
        for (int j = 0; j < last; ++j) line[j] = V::load(b + j * V::lanes);
        const T* end = b + last * V::lanes;
        line[last] = whole ? V::load(end) : V::load(end, part);
        const T* at = a + along(q);
        UNROLLED
        for (int i = 0; i < rows; ++i) {
            const typename V::type x = V::all(at[from(i)]);
            UNROLLED
            for (int j = 0; j < vectors; ++j) sum[i][j] = V::fma(x, line[j], sum[i][j]);
        }
    }
    UNROLLED
    for (int i = 0; i < rows; ++i) {
        T* to = p.out + p.to(row + i);
        UNROLLED
        for (int j = 0; j < last; ++j, to += V::lanes)
            V::store(to, p.add ? V::load(to) + sum[i][j] : sum[i][j]);
        V::store(to, p.add ? V::load(to, part) + sum[i][last] : sum[i][last], part);
    }
}

template <typename T, int vectors, bool whole, typename Its, int... less>
auto gathered_tile_of(int64 rows, std::integer_sequence<int, less...>) {
    constexpr void (*all[])(const Its&, int64) = {
        gathered_tile<T, less + 1, vectors, whole, Its>...};
    return all[rows - 1];
}
template <typename T, int vectors, typename Its> auto gathered_tile_of(int64 rows, bool whole) {
    constexpr auto sizes = std::make_integer_sequence<int, TILE_ROWS>{};
    if constexpr (!Its::padded)
        if (!whole) return gathered_tile_of<T, vectors, false, Its>(rows, sizes);
    return gathered_tile_of<T, vectors, true, Its>(rows, sizes);
}

// All m rows of a panel, in tiles of nearly equal height.
template <typename T, typename Its> void gathered_panel(const Its& panel, int64 m) {
    constexpr int64 lanes = Vector<T>::lanes;
    const bool whole = panel.columns % lanes == 0;
    const auto tile_of = [&](int64 rows) {
        return panel.columns > lanes ? gathered_tile_of<T, 2, Its>(rows, whole)
                                     : gathered_tile_of<T, 1, Its>(rows, whole);
    };
    const int64 tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
    const int64 rows = m / tiles, larger = m - rows * tiles;
    int64 row = 0;
    if (larger) {
        const auto tile = tile_of(rows + 1);
        for (; row < larger * (rows + 1); row += rows + 1) tile(panel, row);
    }
    const auto tile = tile_of(rows);
    for (; row < m; row += rows) tile(panel, row);
}

// Contiguous panels of b (k, columns), or of b (columns, k) transposed. The rows of b are ldb
// elements apart.
template <typename T>
void lay_out_panels(const T* b, int64 ldb, bool transposed, int64 k, int64 columns, T* to) {
    constexpr int64 width = PANEL_WIDTH<T>;
    for (int64 first = 0; first < columns; first += width, to += k * width) {
        const int64 here = columns - first < width ? columns - first : width;
        if (transposed) {
            turn(b + first * ldb, ldb, here, k, to, width, false);
        } else {
            for (int64 p = 0; p < k; ++p)
                std::memcpy(to + p * width, b + p * ldb + first, std::size_t(here) * sizeof(T));
        }
    }
}

}  // namespace
