// Penalties on weights, and what weights are brought back to after an update.
#include "../formulas/math.cuh"
#include "operation.hpp"
#include "pieces.hpp"

#include <cmath>

namespace {

// totals[0] += rows times the sum of l1 sum(|w|) + l2 sum(w^2) over all pieces, with l1 and l2 from
// row k of `factors`: each batch's mean loss has them once. Where gradients are given,
// l1 sign(w) + 2 l2 w is added.
template <typename T>
void penalties(const T* weights, T* gradients, const int64* table, const double* factors,
               int64 count, double* sums, int64 rows, double* totals) {
    const Piece* pieces = reinterpret_cast<const Piece*>(table);
    each_piece(pieces, count, [=](int64 k) {
        const int64 n = pieces[k].stop - pieces[k].start;
        const T* w = weights + pieces[k].start;
        const double l1 = factors[2 * k], l2 = factors[2 * k + 1];
        sums[k] = l1 == 0 ? l2 * square_sum(w, n) : sum_of(n, [=](int64 i) {
            const double x = double(w[i]);
            return l1 * std::fabs(x) + l2 * (x * x);
        });
        if (!gradients) return;
        T* g = gradients + pieces[k].start;
        const T one = T(l1), two = T(2 * l2);
        if (l1 == 0) {
            INDEPENDENT
            for (int64 i = 0; i < n; ++i) g[i] += two * w[i];
        } else {
            INDEPENDENT
            for (int64 i = 0; i < n; ++i) g[i] += one * math::sign(w[i]) + two * w[i];
        }
    });
    double sum = 0;
    for (int64 k = 0; k < count; ++k) sum += sums[k];
    totals[0] += double(rows) * sum;
}

// Weights (outer, n, inner): each line of n, one for each outer and inner place, is scaled so that
// its norm goes `rate` of the way to where it lies between low and high.
template <typename T>
void constrain_norms(T* weights, int64 outer, int64 n, int64 inner, double low, double high,
                     double rate, double epsilon) {
    constexpr int64 LINES = 64;  // neighbours, taken at a time
    const auto factor = [=](double squares) {
        const double norm = math::sqrt(squares);
        const double wanted = rate * math::clip(norm, low, high) + (1 - rate) * norm;
        return T(wanted / (norm + epsilon));
    };
    if (inner == 1) {
        for (int64 line = 0; line < outer; ++line, weights += n) {
            const T scale = factor(square_sum(weights, n));
            for (int64 i = 0; i < n; ++i) weights[i] *= scale;
        }
        return;
    }
    for (int64 block = 0; block < outer; ++block, weights += n * inner)
        for (int64 first = 0; first < inner; first += LINES) {
            const int64 lines = inner - first < LINES ? inner - first : LINES;
            double squares[LINES] = {};
            T scale[LINES];
            for (int64 i = 0; i < n; ++i) {
                const T* row = weights + i * inner + first;
                for (int64 c = 0; c < lines; ++c) squares[c] += double(row[c]) * double(row[c]);
            }
            for (int64 c = 0; c < lines; ++c) scale[c] = factor(squares[c]);
            for (int64 i = 0; i < n; ++i) {
                T* row = weights + i * inner + first;
                INDEPENDENT
                for (int64 c = 0; c < lines; ++c) row[c] *= scale[c];
            }
        }
}

// max(w, 0)
template <typename T> void keep_above_zero(T* weights, int64 n) {
    INDEPENDENT
    for (int64 i = 0; i < n; ++i) weights[i] = weights[i] < T(0) ? T(0) : weights[i];
}

template <typename T> void add_penalties() {
    const char* type = name_of<T>();
    add<&penalties<T>>("penalties", {type});
    add<&constrain_norms<T>>("constrain_norms", {type});
    add<&keep_above_zero<T>>("keep_above_zero", {type});
}

const Registration registration([] {
    EACH_FLOAT(add_penalties)
});

}  // namespace
