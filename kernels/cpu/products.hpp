// Matrix products: tiles of the result in registers, as large as registers allow. Whatever the tile
// and the thread that computes it, an element is summed along k in one order. The sum is divided
// into blocks of a length that depends on k alone. Each block uses multiply-adds from the first to
// the last, and the blocks are added one after the other.
#pragma once
#include "zeros.hpp"

namespace {

// From this many multiplications on, threads share a product, or a gradient and its update.
constexpr int64 WORTH_CUTTING = 1 << 20;

// Elements of a row of the result from which rows of b are read as a whole, and how many are added up
// at a time: they stay in the L1 cache.
constexpr int64 WORTH_WHOLE_ROWS = 256, MOST_ROW = 2048;

// Elements of the blocks of a sum that threads share: they stay in the L2 cache.
constexpr int64 MOST_SUMS = 1 << 17;

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
        if (!a.transposed && !b.transposed && has_few(a.at(0, p), m, n, deep, a.ld)) {
            for (int64 r = 0; r < m; r += tall)
                product_without_zeros(a.at(r, p), b.at(p, 0), out + r * ldo, std::min(tall, m - r),
                                      n, deep, a.ld, b.ld, ldo, add);
            continue;
        }
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

// sums (columns) (+)= x (count) @ the rows of b, which are read from the first to the last.
template <typename T, int count>
void add_rows(const T* x, const T* b, int64 ldb, int64 columns, bool first, T* sums) {
    typedef Vector<T> V;
    typename V::type factor[count];
    UNROLLED
    for (int i = 0; i < count; ++i) factor[i] = V::all(x[i]);
    for (int64 j = 0; j < columns; j += V::lanes) {
        const bool whole = j + V::lanes <= columns;
        const typename V::Part part = V::part(whole ? 0 : columns - j);
        typename V::type sum = V::zero();
        if (!first) sum = whole ? V::load(sums + j) : V::load(sums + j, part);
        UNROLLED
        for (int i = 0; i < count; ++i) {
            const T* from = b + i * ldb + j;
            sum = V::fma(factor[i], whole ? V::load(from) : V::load(from, part), sum);
        }
        if (whole)
            V::store(sums + j, sum);
        else
            V::store(sums + j, sum, part);
    }
}

// For a row of a and wide rows of b: memory is read fastest along whole rows.
template <typename T>
void by_rows(Matrix<T> a, Matrix<T> b, T* out, int64 m, int64 n, int64 k, int64 ldo, bool add) {
    constexpr int together = 4;
    alignas(64) T sums[MOST_ROW];
    const int64 depth = block_of(k, DEPTH, 8);
    for (int64 i = 0; i < m; ++i)
        for (int64 c = 0; c < n; c += MOST_ROW) {
            const int64 columns = std::min(MOST_ROW, n - c);
            T* to = out + i * ldo + c;
            for (int64 p = 0; p < k; p += depth) {
                const int64 end = std::min(k, p + depth);
                const bool adds = add || p > 0;
                T* here = adds ? sums : to;
                int64 q = p;
                for (; q + together <= end; q += together)
                    add_rows<T, together>(a.at(i, q), b.at(q, c), b.ld, columns, q == p, here);
                for (; q < end; ++q)
                    add_rows<T, 1>(a.at(i, q), b.at(q, c), b.ld, columns, q == p, here);
                for (int64 j = 0; adds && j < columns; ++j) to[j] += sums[j];
            }
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
                sum = multiply_add(a[i * down_a + p * along_a], b[p * down_b + j * along_b], sum);
            out[i * ldo + j] = add ? out[i * ldo + j] + sum : sum;
        }
}

}  // namespace
