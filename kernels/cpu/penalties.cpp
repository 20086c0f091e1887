// Penalties on weights, and constraints that are applied to weights after an update.
#include "../formulas/generated_weights.cuh"
#include "operation.hpp"
#include "pieces.hpp"

namespace {

// The penalty of n weights. Its derivatives are added to g, unless it is null.
template <template <typename> class Penalty, typename T>
double penalize(const T* w, T* g, int64 n, const double* parameters) {
    const Penalty<double> exact(parameters);
    const double sum = sum_of(n, [=](int64 i) { return exact.term(double(w[i])); });
    if (g) {
        const Penalty<T> penalty(parameters);
        INDEPENDENT
        for (int64 i = 0; i < n; ++i) g[i] += penalty.slope(w[i]);
    }
    return sum;
}

// totals[0] += rows times the sum of the penalties of all weights in all pieces, with the values in
// row k of `factors`: so the mean loss of each batch includes the penalties once. If gradients are
// given, the derivatives are added.
template <typename T>
void penalties(const T* weights, T* gradients, const int64* table, const double* factors,
               int64 count, double* sums, int64 rows, double* totals) {
    const Piece* pieces = reinterpret_cast<const Piece*>(table);
    each_piece(pieces, count, [=](int64 k) {
        const int64 n = pieces[k].stop - pieces[k].start;
        const T* w = weights + pieces[k].start;
        T* g = gradients ? gradients + pieces[k].start : nullptr;
        const double *l1 = factors + 2 * k, *l2 = l1 + 1;
        sums[k] = *l1 == 0 ? penalize<SquarePenalty>(w, g, n, l2)
                           : penalize<BothPenalties>(w, g, n, l1);
    });
    double sum = 0;
    for (int64 k = 0; k < count; ++k) sum += sums[k];
    totals[0] += double(rows) * sum;
}

// Weights (outer, n, inner): each line of n, one for each outer and inner index, is scaled
// according to its norm.
template <typename T>
void constrain_norms(T* weights, int64 outer, int64 n, int64 inner, const double* parameters) {
    constexpr int64 LINES = 64;  // neighbouring lines, processed together
    const auto factor = [=](double squares) {
        return T(NormLimits::value(parameters, math::sqrt(squares)));
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

template <typename T> void add_penalties() {
    const char* type = name_of<T>();
    add<&penalties<T>>("penalties", {type, "BothPenalties", "SquarePenalty"});
    add<&constrain_norms<T>>("constrain_norms", {type, "NormLimits"});
}

const Registration registration([] {
    EACH_FLOAT(add_penalties)
});

}  // namespace
