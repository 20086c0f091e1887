// Products with a matrix of which most elements are zero, as pictures and one-hot columns are:
// multiplications by zero are left out. Where a factor is infinite or NaN they are not, since their
// result is NaN then. All others add zero, so the bits are those of the other ways.
#pragma once
#include "tiles.hpp"

namespace {

typedef unsigned char byte;

inline int bit_count(unsigned bits) {
#if defined(__GNUC__)
    return __builtin_popcount(bits);
#else
    int count = 0;
    for (; bits; bits &= bits - 1) ++count;
    return count;
#endif
}

// Up to this share of elements that are not zero, leaving out the others is faster.
constexpr double FEW = 0.4;

// From this many rows and vectors of columns on, looking for zeros costs little of a product.
constexpr int64 ROWS_WORTH_LOOKING = 8, VECTORS_WORTH_LOOKING = 4;

// Vectors of a row of the result in registers, and rows of b that then fit in the L1 cache.
constexpr int ROW_VECTORS = 8;
template <typename T>
constexpr int64 ROWS_IN_L1 = 24576 / (ROW_VECTORS * sizeof(typename Vector<T>::type));

// Whether a product of a (m, k) with n columns is faster without the zeros of a, as some of the rows
// of a say.
template <typename T> bool has_few(const T* a, int64 m, int64 n, int64 k, int64 lda) {
#ifdef FOR_BROWSERS
    return false;  // pages are to stay small
#endif
    if (m < ROWS_WORTH_LOOKING || n < VECTORS_WORTH_LOOKING * Vector<T>::lanes) return false;
    const int64 step = m / ROWS_WORTH_LOOKING;
    int64 found = 0;
    for (int64 i = 0; i < ROWS_WORTH_LOOKING; ++i) {
        const T* row = a + i * step * lda;
        int32 here = 0;
        for (int64 p = 0; p < k; ++p) here += row[p] != T(0);
        found += here;
    }
    return double(found) < FEW * double(ROWS_WORTH_LOOKING * k);
}

// Whether all of x (rows, n) are finite.
template <typename T> bool all_finite(const T* x, int64 rows, int64 n, int64 ld) {
    typedef Vector<T> V;
    typename V::type none[4] = {V::zero(), V::zero(), V::zero(), V::zero()};  // NaN if one is not
    const typename V::Part part = V::part(n % V::lanes);
    for (int64 i = 0; i < rows; ++i, x += ld) {
        int64 j = 0;
        for (; j + 4 * V::lanes <= n; j += 4 * V::lanes) {
            UNROLLED
            for (int l = 0; l < 4; ++l)
                none[l] = V::fma(V::load(x + j + l * V::lanes), V::zero(), none[l]);
        }
        for (; j + V::lanes <= n; j += V::lanes)
            none[0] = V::fma(V::load(x + j), V::zero(), none[0]);
        if (j < n) none[0] = V::fma(V::load(x + j, part), V::zero(), none[0]);
    }
    T lanes[V::lanes];
    V::store(lanes, none[0] + none[1] + (none[2] + none[3]));
    for (T lane : lanes)
        if (lane != T(0)) return false;
    return true;
}

// The bits of a byte that are set, one byte each, from the lowest on.
struct SetBits {
    uint64 of[256];
    constexpr SetBits() : of() {
        for (int byte = 0; byte < 256; ++byte) {
            int found = 0;
            for (int bit = 0; bit < 8; ++bit)
                if (byte >> bit & 1) of[byte] |= uint64(bit) << (8 * found++);
        }
    }
};
inline constexpr SetBits set_bits;

// Lists the bits of a byte that are set as numbers from `first` on: below 256. Writes 8 bytes;
// returns behind the last one that counts.
inline byte* list_bits(unsigned bits, int64 first, byte* to) {
    const uint64 numbers = set_bits.of[bits] + uint64(first) * 0x0101010101010101u;
    std::memcpy(to, &numbers, 8);
    return to + bit_count(bits);
}

// Lists which of the elements of x (n) are not zero; returns how many. Writes up to n + 8 bytes.
template <typename T> int64 list_row(const T* x, int64 n, byte* to) {
    typedef Vector<T> V;
    byte* end = to;
    for (int64 p = 0; p < n; p += V::lanes) {
        const bool whole = p + V::lanes <= n;
        unsigned bits = V::nonzeros(whole ? V::load(x + p) : V::load(x + p, V::part(n - p)));
        for (int at = 0; at < V::lanes; at += 8, bits >>= 8)
            end = list_bits(bits & 255, p + at, end);
    }
    return end - to;
}

// The same for each of up to 8 columns of x (n, columns), whose lists are `apart` bytes apart.
template <typename T>
void list_columns(const T* x, int64 n, int64 columns, int64 ld, byte* to, int64 apart,
                  int64* counts) {
    typedef Vector<T> V;
    byte* ends[8];
    for (int64 i = 0; i < columns; ++i) ends[i] = to + i * apart;
    for (int64 p = 0; p < n; p += 8) {
        uint64 square = 0;  // a byte for each row, a bit for each column
        for (int64 row = 0; row < 8 && p + row < n; ++row) {
            const T* from = x + (p + row) * ld;
            unsigned bits = 0;
            for (int at = 0; at < columns; at += V::lanes) {
                const int64 left = columns - at;
                bits |= V::nonzeros(left < V::lanes ? V::load(from + at, V::part(left))
                                                    : V::load(from + at)) << at;
            }
            square |= uint64(bits) << (8 * row);
        }
        // Transposed: blocks of 1, 2 and 4 bits beside the diagonal are swapped.
        uint64 swap = (square ^ (square >> 7)) & 0x00aa00aa00aa00aau;
        square ^= swap ^ (swap << 7);
        swap = (square ^ (square >> 14)) & 0x0000cccc0000ccccu;
        square ^= swap ^ (swap << 14);
        swap = (square ^ (square >> 28)) & 0x00000000f0f0f0f0u;
        square ^= swap ^ (swap << 28);
        for (int64 i = 0; i < columns; ++i)
            ends[i] = list_bits(unsigned(square >> (8 * i)) & 255, p, ends[i]);
    }
    for (int64 i = 0; i < columns; ++i) counts[i] = ends[i] - (to + i * apart);
}

// The sum of x[p] times row p of b, in `vectors` vectors of columns: for the `count` p of a list or,
// without one, for p from 0 to count - 1. It begins with `start`, if there is one, and is stored in
// out or, with `add`, added to it. Elements of x are `apart` elements apart.
template <typename T, int vectors, bool listed>
void row_sum(const T* x, int64 apart, const byte* list, int64 count, const T* b, int64 ldb,
             int64 tail, const T* start, bool add, T* out) {
    typedef Vector<T> V;
    constexpr int last = vectors - 1;
    const typename V::Part part = V::part(tail);
    typename V::type sum[vectors];
    UNROLLED
    for (int j = 0; j < last; ++j) sum[j] = start ? V::load(start + j * V::lanes) : V::zero();
    sum[last] = start ? V::load(start + last * V::lanes, part) : V::zero();
    for (int64 k = 0; k < count; ++k) {
        const int64 p = listed ? list[k] : k;
        const typename V::type factor = V::all(x[p * apart]);
        const T* row = b + p * ldb;
        UNROLLED
        for (int j = 0; j < last; ++j)
            sum[j] = V::fma(factor, V::load(row + j * V::lanes), sum[j]);
        const T* at = row + last * V::lanes;
        sum[last] = V::fma(factor, V::masks ? V::load(at, part) : V::load(at), sum[last]);
    }
    UNROLLED
    for (int j = 0; j < last; ++j) {
        T* to = out + j * V::lanes;
        V::store(to, add ? V::load(to) + sum[j] : sum[j]);
    }
    T* to = out + last * V::lanes;
    if (add) sum[last] = V::load(to, part) + sum[last];
    if (tail == V::lanes)
        V::store(to, sum[last]);
    else
        V::store(to, sum[last], part);
}

template <typename T>
using RowSum = void (*)(const T*, int64, const byte*, int64, const T*, int64, int64, const T*,
                        bool, T*);

template <typename T, bool listed, int... before>
RowSum<T> row_sum_of(int64 vectors, std::integer_sequence<int, before...>) {
    static constexpr RowSum<T> all[] = {row_sum<T, before + 1, listed>...};
    return all[vectors - 1];
}
template <typename T, bool listed> RowSum<T> row_sum_of(int64 vectors) {
    return row_sum_of<T, listed>(vectors, std::make_integer_sequence<int, ROW_VECTORS>{});
}

// out (m, n) (+)= a (m, k) @ b (k, n), without multiplications by the zeros of a. What is read of b
// for all rows of a fits in the L1 cache.
template <typename T>
void product_without_zeros(const T* a, const T* b, T* out, int64 m, int64 n, int64 k, int64 lda,
                           int64 ldb, int64 ldo, bool add) {
    typedef Vector<T> V;
    constexpr int64 wide = ROW_VECTORS * V::lanes;
    const int64 depth = block_of(k, ROWS_IN_L1<T>, 1), blocks = (k + depth - 1) / depth;
    const int64 length = depth + 8;
    thread_local Room<byte> listed;
    thread_local Room<int64> counted;
    thread_local Room<T> room;
    byte* lists = listed.of(m * blocks * length);
    int64* counts = counted.of(m * blocks);
    T* lines = room.of(depth * wide + m * wide);
    for (int64 i = 0; i < m; ++i)
        for (int64 block = 0; block < blocks; ++block) {
            const int64 p = block * depth, at = i * blocks + block;
            counts[at] = list_row(a + i * lda + p, std::min(depth, k - p), lists + at * length);
        }
    const bool copies = collides<T>(ldb) || (!V::masks && n % V::lanes);
    for (int64 c = 0; c < n; c += wide) {
        const int64 columns = std::min(wide, n - c), vectors = in_vectors<T>(columns) / V::lanes;
        const int64 tail = columns - (vectors - 1) * V::lanes;
        T* sums = add ? lines + depth * wide : out + c;
        const int64 ld_of_sums = add ? wide : ldo;
        for (int64 block = 0; block < blocks; ++block) {
            const int64 p = block * depth, deep = std::min(depth, k - p);
            const Matrix<T> from{b + p * ldb + c, ldb, false};
            if (copies) copy_panels(from, deep, columns, wide, lines);
            const T* rows = copies ? lines : from.numbers;
            const int64 ld = copies ? in_vectors<T>(columns) : ldb;
            const bool finite = all_finite(rows, deep, columns, ld);
            const RowSum<T> run = finite ? row_sum_of<T, true>(vectors)
                                         : row_sum_of<T, false>(vectors);
            for (int64 i = 0; i < m; ++i) {
                const int64 at = i * blocks + block;
                T* sum = sums + i * ld_of_sums;
                run(a + i * lda + p, 1, lists + at * length, finite ? counts[at] : deep, rows, ld,
                    tail, block ? sum : nullptr, false, sum);
            }
        }
        for (int64 i = 0; add && i < m; ++i)
            for (int64 j = 0; j < columns; ++j) out[i * ldo + c + j] += sums[i * wide + j];
    }
}

}  // namespace
