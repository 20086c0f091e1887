// Flat arrays in pieces that threads share, and sums that do not depend on the number of threads.
#pragma once
#include "../formulas/math.cuh"
#include "pool.hpp"

// Elements of a pass over several arrays from which threads share them, and how many are a piece.
// What one thread has written comes from another core's cache for the next pass, so fewer elements
// are not faster. With an update they are: most threads move the weights whose gradients they have
// computed.
constexpr int64 WORTH_THREADS = 1 << 20, WEIGHTS_WORTH_THREADS = 1 << 17, PIECE = 1 << 14;

// Block size of the inner dimension of products.
constexpr int64 DEPTH = 256;

// The block size for dividing `total` into as few blocks as `most` allows, as equal as multiples of
// `step` can be.
inline int64 block_of(int64 total, int64 most, int64 step) {
    if (total <= most) return total;
    const int64 blocks = (total + most - 1) / most;
    return (total + blocks * step - 1) / (blocks * step) * step;
}

// work(first, last) for pieces that make up start to stop, for element-wise work.
template <typename Work>
void in_pieces(int64 start, int64 stop, Work work, int64 worth = WORTH_THREADS) {
    if (stop - start < worth) {
        if (start < stop) work(start, stop);
        return;
    }
    parallel((stop - start + PIECE - 1) / PIECE, [=](int64 k) {
        const int64 first = start + k * PIECE;
        work(first, stop - first < PIECE ? stop : first + PIECE);
    });
}

// A piece of the flat arrays that belongs to one parameter, with the indices of the first and the
// last (exclusive) of the pieces that it shares a norm with.
struct Piece {
    int64 start, stop, first, last;
};

// work(k) for each of the pieces.
template <typename Work> void each_piece(const Piece* pieces, int64 count, Work work) {
    int64 numbers = 0;
    for (int64 k = 0; k < count; ++k) numbers += pieces[k].stop - pieces[k].start;
    if (numbers >= WORTH_THREADS) {
        parallel(count, work);
    } else {
        for (int64 k = 0; k < count; ++k) work(k);
    }
}

// The sum of term(0) to term(n - 1) in double precision, in the same order on each machine: LANES
// parallel sums, which a compiler may vectorise.
template <typename Term> inline double sum_of(int64 n, Term term) {
    constexpr int LANES = 16;
    if (n == 1) return term(0);
    double sums[LANES] = {};
    int64 i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int lane = 0; lane < LANES; ++lane) sums[lane] += term(i + lane);
    for (int lane = 0; i + lane < n; ++lane) sums[lane] += term(i + lane);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    return sums[0];
}

template <typename T> inline double square_sum(const T* x, int64 n) {
    return sum_of(n, [=](int64 i) { return double(x[i]) * double(x[i]); });
}

// The norm of all pieces that share it with this one, from the sums of squares of all pieces.
inline double norm(const Piece& piece, const double* sums) {
    double all = 0;
    for (int64 k = piece.first; k < piece.last; ++k) all += sums[k];
    return math::sqrt(all);
}
