// Metrics: the value of each row and the sums over the rows, or counts by bin.
#include "../formulas/metrics.cuh"
#include "generated_formulas.hpp"
#include "operation.hpp"
#include "rows.hpp"

namespace {

// row_values = v, the metric of each row; state += (sum(w v), sum(w)), with weights w (1 if null).
// The target of a row is a row of `targets` or, if that is null, one-hot at the class in `labels`.
template <typename T, template <typename> class Formula>
void metric(const T* predictions, const T* targets, const int32* labels, const T* weights,
            const double* parameters, int64 rows, int64 classes, T* row_values, double* state) {
    typedef Formula<T> Metric;
    const Metric metric(parameters);
    each_rows<T>(rows, classes, [&](const auto& group, int64 r) {
        typedef std::decay_t<decltype(group)> Rows;
        const T* y = predictions + r * classes;
        typename Rows::Input answers, given;
        group.read(y, answers);
        if (targets) group.read(targets + r * classes, given);
        const Chunk<int32> label = targets ? all(int32(0)) : group.of_rows(labels + r);
        Chunk<T> values = all(T(0));
        if constexpr (Metric::by_place || Metric::by_rank) {
            const Chunk<int32> truth = targets ? places_of_largest<T>(group, given) : label;
            if constexpr (Metric::by_place) {
                const Chunk<int32> answer = places_of_largest<T>(group, answers);
                EACH_LANE
                for (int l = 0; l < LANES; ++l) values[l] = answer[l] == truth[l] ? T(1) : T(0);
            } else {
                for (int l = 0; l < group.rows; ++l, y += classes) {
                    int64 count = 0;
                    const bool known = metric.knows(truth[l], classes);
                    for (int64 c = 0; known && c < classes; ++c)
                        count += metric.counts(y[c], c, y, truth[l]);
                    values[l] = T(known && metric.hit(count));
                }
            }
        } else {
            group.each([&](int64 k) {
                const Chunk<T> y = answers(k);
                Chunk<T> t;
                if (targets) {
                    t = given(k);
                } else {
                    EACH_LANE
                    for (int l = 0; l < LANES; ++l)
                        t[l] = group.number(k, l) == label[l] ? T(1) : T(0);
                }
                EACH_LANE
                for (int l = 0; l < LANES; ++l) {
                    const T value = metric.value(t[l], y[l]);
                    values[l] += group.inside(k, l) ? value : T(0);
                }
            });
            values = Rows::sums(values);
            EACH_LANE
            for (int l = 0; l < LANES; ++l) values[l] /= T(classes);
        }
        group.to_rows(values, row_values + r);
    });
    add_to_mean(row_values, weights, rows, state);
}

template <typename T> T largest_of(const T* row, int64 n) {
    const LongRow<T> one(n);
    typename LongRow<T>::Input numbers;
    one.read(row, numbers);
    Chunk<T> most = all(math::minus_infinity<T>());
    one.each([&](int64 k) {
        const Chunk<T> x = numbers(k);
        EACH_LANE
        for (int l = 0; l < LANES; ++l)
            most[l] = one.inside(k, l) && exceeds(x[l], most[l]) ? x[l] : most[l];
    });
    return LongRow<T>::largest(most)[0];
}

template <typename T> int64 place_of_largest(const T* row, int64 n) {
    int64 place = 0;
    for (int64 c = 1; c < n; ++c)
        if (exceeds(row[c], row[place])) place = c;
    return place;
}

// state[b] += the sum of the rows' weights (1 if null) over the predictions in bin b. Each row has
// `width` predictions.
template <typename T, template <typename> class Formula>
void bins(const T* predictions, const T* targets, const int32* labels, const T* weights,
          const double* parameters, int64 rows, int64 classes, int64 width, int64 size,
          double* state) {
    const Formula<T> formula(parameters);
    for (int64 r = 0; r < rows; ++r) {
        const T* y = predictions + r * classes;
        const T* t = targets ? targets + r * classes : nullptr;
        BinnedRow<T> row = {y, classes, t, t ? -1 : labels[r], {y[0], 0}, {}};
        if constexpr (Formula<T>::by_place) {
            row.largest.place = place_of_largest(y, classes);
            if (t) row.truth = place_of_largest(t, classes);
        } else if (classes > 1) {
            row.largest.value = largest_of(y, classes);
        }
        row.last = last_of_top<T>(formula.top, classes, [&](Placed<T> last) {
            return next_behind(last, y, classes, 0, 1);
        });
        const double weight = weights ? double(weights[r]) : 1.0;
        for (int64 c = 0; c < width; ++c) {
            const int64 bin = formula.bin(row, c);
            if (bin >= 0 && bin < size) state[bin] += weight;
        }
    }
}

// For each column: state += (sum(w t), sum(w t^2), sum(w (t - y)^2), sum(w)), (4, columns). After
// these, the number of rows with nonzero weight.
template <typename T>
void target_sums(const T* predictions, const T* targets, const T* weights, int64 rows,
                 int64 columns, double* state) {
    auto w = [=](int64 r) { return weights ? double(weights[r]) : 1.0; };
    for (int64 c = 0; c < columns; ++c) {
        auto y = [=](int64 r) { return double(predictions[r * columns + c]); };
        auto t = [=](int64 r) { return double(targets[r * columns + c]); };
        auto error = [=](int64 r) { return t(r) - y(r); };
        double* sums = state + c;
        sums[0] += sum_of(rows, [=](int64 r) { return w(r) * t(r); });
        sums[columns] += sum_of(rows, [=](int64 r) { return w(r) * t(r) * t(r); });
        sums[2 * columns] += sum_of(rows, [=](int64 r) { return w(r) * error(r) * error(r); });
        sums[3 * columns] += sum_of(rows, w);
    }
    int64 weighted = 0;
    for (int64 r = 0; r < rows; ++r) weighted += w(r) != 0;
    state[4 * columns] += double(weighted);
}

template <typename T> void add_metrics() {
#define ADD(Formula) add<&metric<T, Formula>>("metric", {name_of<T>(), #Formula});
    EACH_METRIC(ADD)
#undef ADD
#define ADD(Formula) add<&bins<T, Formula>>("bins", {name_of<T>(), #Formula});
    EACH_BINS(ADD)
#undef ADD
    add<&target_sums<T>>("target_sums", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_metrics)
});

}  // namespace
