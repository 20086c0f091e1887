// The end of the forward pass and the beginning of the backward pass: the loss of each row, its
// gradient and whether the prediction is correct; then the sums over the rows.
#include "../formulas/generated_losses.cuh"
#include "generated_formulas.hpp"
#include "operation.hpp"
#include "rows.hpp"

namespace {

// gradient = scale w dl/dy (skipped if null), for rows with weights w (1 if null);
// row_losses = w l; row_matches = whether the prediction is correct (skipped if null).
// The target of a row is a row of `targets` or, if that is null, one-hot at the class in `labels`.
template <typename T, template <typename> class Formula, typename Rows>
void loss_rows(const Rows& rows, const Formula<T>& loss, const T* y, const T* targets,
               const int32* labels, const T* weights, T scale, int64 classes, T* gradient,
               T* row_losses, bool* row_matches) {
    typename Rows::Input predictions, given;
    rows.read(y, predictions);
    if (targets) rows.read(targets, given);
    const Chunk<int32> label = targets ? all(int32(0)) : rows.of_rows(labels);
    const Chunk<T> weight = weights ? rows.of_rows(weights) : all(T(1));
    auto target = [&](int64 k) {
        Chunk<T> t;
        if (targets) {
            t = given(k);
        } else {
            EACH_LANE
            for (int l = 0; l < LANES; ++l) t[l] = rows.number(k, l) == label[l] ? T(1) : T(0);
        }
        EACH_LANE
        for (int l = 0; l < LANES; ++l) t[l] = loss.target(t[l], T(classes));
        return t;
    };

    Chunk<T> maximum = all(T(0)), total = maximum, whole = maximum, mass = maximum;
    const T share = T(1) / T(classes);
    auto row = [&](int l) {
        return Row<T>{T(classes), share, maximum[l], total[l], whole[l], mass[l]};
    };
    // For each row, the sum of term(t, y, row).
    auto sum_over = [&](auto term) {
        Chunk<T> sums = all(T(0));
        rows.each([&](int64 k) {
            const Chunk<T> y = predictions(k), t = target(k);
            EACH_LANE
            for (int l = 0; l < LANES; ++l) {
                const T x = term(t[l], y[l], row(l));
                sums[l] += rows.inside(k, l) ? x : T(0);
            }
        });
        return Rows::sums(sums);
    };
    auto largest_over = [&](auto score) {
        Chunk<T> most = all(math::minus_infinity<T>());
        rows.each([&](int64 k) {
            const Chunk<T> y = predictions(k), t = target(k);
            EACH_LANE
            for (int l = 0; l < LANES; ++l) {
                const T x = score(t[l], y[l]);
                most[l] = rows.inside(k, l) && x > most[l] ? x : most[l];
            }
        });
        return Rows::largest(most);
    };

    typedef Formula<T> F;
    typedef const Row<T>& R;
    if constexpr (F::whole_row) maximum = largest_over([](T, T y) { return y; });
    if constexpr (F::compares) maximum = largest_over([&](T t, T y) { return loss.score(t, y); });
    if constexpr (F::sums > 0) total = sum_over([&](T t, T y, R row) { return loss.term(t, y, row); });
    if constexpr (F::sums > 1)
        whole = sum_over([&](T t, T y, R row) { return loss.weight(t, y, row); });
    if constexpr (F::has_mass) mass = sum_over([&](T t, T y, R row) { return loss.mass(t, y, row); });
    typename Rows::Output slopes = rows.output(gradient);
    Chunk<T> values = all(T(0));
    if constexpr (F::of_row) {
        EACH_LANE
        for (int l = 0; l < LANES; ++l) values[l] = loss.whole(row(l));
    }
    rows.each([&](int64 k) {
        const Chunk<T> y = predictions(k), t = target(k);
        if constexpr (!F::of_row) {
            EACH_LANE
            for (int l = 0; l < LANES; ++l) {
                const T value = loss.value(t[l], y[l], row(l));
                values[l] += rows.inside(k, l) ? value : T(0);
            }
        }
        if (!gradient) return;
        Chunk<T> slope;
        EACH_LANE
        for (int l = 0; l < LANES; ++l)
            slope[l] = scale * weight[l] * loss.slope(t[l], y[l], row(l));
        slopes(k, slope);
    });
    if (gradient) rows.finish(slopes, gradient);
    if constexpr (!F::of_row) values = Rows::sums(values);
    EACH_LANE
    for (int l = 0; l < LANES; ++l) values[l] *= weight[l];
    rows.to_rows(values, row_losses);
    if (row_matches) {
        const Chunk<int32> answer = places_of_largest<T>(rows, predictions);
        const Chunk<int32> truth = targets ? places_of_largest<T>(rows, given) : label;
        Chunk<bool> match;
        EACH_LANE
        for (int l = 0; l < LANES; ++l) match[l] = answer[l] == truth[l];
        rows.to_rows(match, row_matches);
    }
}

// Whether the loss of a row is the sum of losses of its elements, which need only that element.
template <template <typename> class Formula>
constexpr bool ADDS_ELEMENTS = !Formula<float>::whole_row && !Formula<float>::compares &&
                               !Formula<float>::sums && !Formula<float>::has_mass &&
                               !Formula<float>::of_row;

// Such a loss of one row that fits in a vector of type V; the arguments as in `loss_rows`.
template <typename V, typename T, template <typename> class Formula>
void short_row(const Formula<T>& loss, const T* y, const T* targets, const int32* label,
               const T* weight, T scale, int64 classes, T* gradient, T* row_loss) {
    struct alignas(sizeof(typename V::type)) Lanes {
        T at[V::lanes];
    };
    const typename V::Part part = V::part(classes);
    const int32 count = int32(classes), one = targets ? 0 : *label;
    const T factor = weight ? *weight : T(1), slopes_factor = scale * factor;
    const Row<T> row{T(classes), T(1) / T(classes), T(0), T(0), T(0), T(0)};
    Lanes predictions, wanted, values, slopes;
    V::store(predictions.at, V::load(y, part));
    if (targets) {
        V::store(wanted.at, V::load(targets, part));
    } else {
        EACH_LANE
        for (int l = 0; l < V::lanes; ++l) wanted.at[l] = LANE[l] == one ? T(1) : T(0);
    }
    EACH_LANE
    for (int l = 0; l < V::lanes; ++l) {
        const T t = loss.target(wanted.at[l], T(classes));
        const T value = loss.value(t, predictions.at[l], row);
        values.at[l] = LANE[l] < count ? value : T(0);
        slopes.at[l] = slopes_factor * loss.slope(t, predictions.at[l], row);
    }
    if (gradient) V::store(gradient, V::load(slopes.at), part);
    *row_loss = sum_of_lanes<V>(V::load(values.at)) * factor;
}

// Computes the losses of all rows.
template <typename T, template <typename> class Formula>
ONCE void all_losses(const T* predictions, const T* targets, const int32* labels,
                     const T* weights, const double* parameters, double scale, int64 rows,
                     int64 classes, T* gradient, T* row_losses, bool* row_matches,
                     bool in_lanes = false) {
    const Formula<T> formula(parameters);
    const auto perform = [&](const auto& group, int64 r) {
        const int64 start = r * classes;
        loss_rows<T, Formula>(
            group, formula, predictions + start, targets ? targets + start : nullptr,
            labels ? labels + r : nullptr, weights ? weights + r : nullptr, T(scale), classes,
            gradient ? gradient + start : nullptr, row_losses + r,
            row_matches ? row_matches + r : nullptr);
    };
    if (in_lanes) {
        for (int64 r = 0; r < rows; ++r)
            perform(ShortRows<T>::in_lanes(classes), r * LANES);
        return;
    }
    if constexpr (ADDS_ELEMENTS<Formula>) {
        if (rows == 1 && classes <= Vector<T>::lanes && !row_matches) {
            const auto in = [&](auto vector) {
                short_row<decltype(vector)>(formula, predictions, targets, labels, weights,
                                            T(scale), classes, gradient, row_losses);
            };
            classes <= ShortVector<T>::lanes ? in(ShortVector<T>{}) : in(Vector<T>{});
            return;
        }
    }
    each_rows<T>(rows, classes, perform);
}

// Also totals += (unit sum(w l), rows) and, with row_matches, the correct predictions. Of several
// processes, `unit` is the scale times the rows of all of them.
template <typename T, template <typename> class Formula>
void loss(const T* predictions, const T* targets, const int32* labels, const T* weights,
          const double* parameters, double scale, double unit, int64 rows, int64 classes,
          T* gradient, T* row_losses, bool* row_matches, double* totals) {
    all_losses<T, Formula>(predictions, targets, labels, weights, parameters, scale, rows, classes,
                           gradient, row_losses, row_matches);
    const double sum = sum_of(rows, [=](int64 r) { return double(row_losses[r]); });
    totals[0] += unit * sum;
    totals[1] += double(rows);
    if (!row_matches) return;
    int64 right = 0;
    for (int64 r = 0; r < rows; ++r) right += row_matches[r];
    totals[2] += double(right);
}

// For networks in lanes, without the totals.
template <typename T, template <typename> class Formula>
void loss_in_lanes(const T* predictions, const T* targets, const int32* labels, const T* weights,
                   const double* parameters, double scale, double, int64 rows, int64 classes,
                   T* gradient, T* row_losses, bool* row_matches, double*) {
    all_losses<T, Formula>(predictions, targets, labels, weights, parameters, scale, rows, classes,
                           gradient, row_losses, row_matches, true);
}

// Losses as a metric: state += (sum(w l), sum(w)) over the rows with weights w (1 if null).
template <typename T, template <typename> class Formula>
void metric_of_losses(const T* predictions, const T* targets, const int32* labels,
                      const T* weights, const double* parameters, int64 rows, int64 classes,
                      T* row_losses, double* state) {
    all_losses<T, Formula>(predictions, targets, labels, nullptr, parameters, 1.0, rows, classes,
                           nullptr, row_losses, nullptr);
    add_to_mean(row_losses, weights, rows, state);
}

template <typename T, template <typename> class Formula> void add_loss(const char* formula) {
    [[maybe_unused]] Operation& added = add<&loss<T, Formula>>("loss", {name_of<T>(), formula});
#ifndef FOR_BROWSERS
    added.perform_in_lanes = &Unpacked<&loss_in_lanes<T, Formula>>::perform;
#endif
    add<&metric_of_losses<T, Formula>>("metric_of_losses", {name_of<T>(), formula});
}

template <typename T> void add_losses() {
#define ADD(Formula) add_loss<T, Formula>(#Formula);
    EACH_LOSS(ADD)
#undef ADD
}

const Registration registration([] {
    EACH_FLOAT(add_losses)
});

}  // namespace
