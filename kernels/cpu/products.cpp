// Matrix products as operations, and gradients by their tiles.
#include "gradient_parts.hpp"
#include "matmul.hpp"
#include "operation.hpp"
#include "products.hpp"

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
    const bool wide = m == 1 && n >= WORTH_WHOLE_ROWS && !b.transposed && (!a.transposed || k == 1);
    // What is read of b stays in a cache, and a may come from memory: all blocks of the sum of some
    // rows come before those of the next ones. A copy of b would have to be made for each.
    const int64 together = b.transposed || n >= 256 ? m : TALL;
    const auto part = [&](int64 row, int64 column, int64 rows, int64 columns) {
        for (const int64 end = row + rows; row < end; row += together)
            (along ? by_dots<T> : wide ? by_rows<T> : in_blocks<T>)(
                a.from(row, 0), b.from(0, column), out + row * ldo + column,
                std::min(together, end - row), columns, k, ldo, accumulate
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

template void matmul(const float*, const float*, float*, int64, int64, int64, int64, int64, int64,
                     bool, bool, bool);
#ifndef FOR_BROWSERS
template void matmul(const double*, const double*, double*, int64, int64, int64, int64, int64,
                     int64, bool, bool, bool);
template void each_part_of_gradient(const float*, const float*, int64, int64, int64, int64, int64,
                                    const UseOfPart<float>&);
template void each_part_of_gradient(const double*, const double*, int64, int64, int64, int64, int64,
                                    const UseOfPart<double>&);
#endif

namespace {

template <typename T> void add_products() {
    add<&matmul<T>>("matmul", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_products)
});

}  // namespace
