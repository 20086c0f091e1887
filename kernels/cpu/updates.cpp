// The end of a step: gradient clipping, and one optimizer update over the flat arrays.
#include "../formulas/updates.cuh"
#include "generated_formulas.hpp"
#include "gradients.hpp"
#include "operation.hpp"
#include "pieces.hpp"
#include "subnormals.hpp"

namespace {

// The rows of the table of parameter groups.
inline const ParameterGroup* rows_of(const double* group_table) {
    return reinterpret_cast<const ParameterGroup*>(group_table);
}

// The formula is a private copy that cannot change, so its branches are decided before the loop.
template <typename T, template <typename> class Optimizer>
void apply(const Optimizer<T> formula, int64 first, int64 last, T* weights, const T* gradients,
           T* slot_0, T* slot_1, T* slot_2) {
    INDEPENDENT
    for (int64 i = first; i < last; ++i)
        formula.apply(i, gradients[i], weights, slot_0, slot_1, slot_2);
}

template <typename T, template <typename> class Optimizer>
void update(T* weights, const T* gradients, T* slot_0, T* slot_1, T* slot_2,
            const double* group_table, int64 groups, const double* parameters, int64 every,
            const int64* counters, const double* rates) {
    if (!is_due(counters, every)) return;
    const ParameterGroup* group = rows_of(group_table);
    for (int64 k = 0; k < groups; ++k, ++group) {
        Optimizer<T> formula;
        formula.prepare(parameters, rates[LEARNING_RATE] * group->multiplier,
                        updates(counters, every), group->decay != 0);
        in_pieces(int64(group->start), int64(group->stop), [&](int64 first, int64 last) {
            if (slot_0 == nullptr) {  // no running means
                apply(formula, first, last, weights, gradients, slot_0, slot_1, slot_2);
                return;
            }
            const SubnormalsAreZero scope;
            apply(formula, first, last, weights, gradients, slot_0, slot_1, slot_2);
        }, WEIGHTS_WORTH_THREADS);
    }
}

// The gradient a' b of a layer's weights (m, n), and their update, in one pass: the gradient is not
// stored. `group` is a row of the table of groups.
template <typename T, template <typename> class Optimizer>
void matmul_update(const T* a, const T* b, T* weights, int64 m, int64 n, int64 k, int64 lda,
                   int64 ldb, T* slot_0, T* slot_1, T* slot_2, const double* group,
                   const double* parameters, int64 every, const int64* counters,
                   const double* rates) {
    if (!is_due(counters, every)) return;
    Optimizer<T> formula;
    formula.prepare(parameters, rates[LEARNING_RATE] * rows_of(group)->multiplier,
                    updates(counters, every), rows_of(group)->decay != 0);
    const auto from = [](T* slot, int64 at) { return slot ? slot + at : slot; };
    each_part_of_gradient(a, b, m, n, k, lda, ldb, [&](int64 row, int64 rows, int64 column,
                                                       int64 columns, const T* gradients) {
        const int64 lines = columns == n ? 1 : rows, length = columns == n ? rows * n : columns;
        const auto move = [&] {
            for (int64 i = 0; i < lines; ++i) {
                const int64 at = (row + i) * n + column;
                apply(formula, 0, length, weights + at, gradients + i * columns, from(slot_0, at),
                      from(slot_1, at), from(slot_2, at));
            }
        };
        if (slot_0 == nullptr) {
            move();
            return;
        }
        const SubnormalsAreZero scope;
        move();
    });
}

// weights -= rate |weights| / |directions| directions, for each parameter. If one of the norms is
// zero, the ratio is one (You et al., "LAMB", 2020).
template <typename T>
void step_by_norms(T* weights, const T* directions, const int64* table, int64 count,
                   double* weight_sums, double* direction_sums, const double* multipliers,
                   int64 every, const int64* counters, const double* rates) {
    if (!is_due(counters, every)) return;
    const Piece* pieces = reinterpret_cast<const Piece*>(table);
    each_piece(pieces, count, [=](int64 k) {
        const int64 start = pieces[k].start, n = pieces[k].stop - start;
        weight_sums[k] = square_sum(weights + start, n);
        direction_sums[k] = square_sum(directions + start, n);
    });
    each_piece(pieces, count, [=](int64 k) {
        const double size = norm(pieces[k], weight_sums);
        const double length = norm(pieces[k], direction_sums);
        const double ratio = size > 0 && length > 0 ? size / length : 1.0;
        const T step = T(ratio * rates[LEARNING_RATE] * multipliers[k]);
        INDEPENDENT
        for (int64 i = pieces[k].start; i < pieces[k].stop; ++i) weights[i] -= step * directions[i];
    });
}

// Adds up the gradients of steps. When an update is due, they become the mean over `every` steps.
template <typename T>
void accumulate_gradients(T* gradients, T* accumulated, const double* group_table, int64 groups,
                          int64 every, const int64* counters) {
    const bool due = is_due(counters, every);
    const T steps = T(every);
    const ParameterGroup* group = rows_of(group_table);
    for (int64 k = 0; k < groups; ++k, ++group)
        in_pieces(int64(group->start), int64(group->stop), [=](int64 first, int64 last) {
            if (!due) {
                INDEPENDENT
                for (int64 i = first; i < last; ++i) accumulated[i] += gradients[i];
                return;
            }
            INDEPENDENT
            for (int64 i = first; i < last; ++i) {
                gradients[i] = (gradients[i] + accumulated[i]) / steps;
                accumulated[i] = T(0);
            }
        });
}

// The moving average of the weights. It replaces the weights every `overwrite` updates (0: never).
template <typename T>
void average_weights(T* weights, T* averages, const double* group_table, int64 groups,
                     double momentum, int64 overwrite, int64 every, const int64* counters) {
    const int64 done = updates(counters, every);
    const T change = T(done == 0 ? 1.0 : 1.0 - momentum);
    const bool overwrites = overwrite != 0 && (done + 1) % overwrite == 0;
    const ParameterGroup* group = rows_of(group_table);
    for (int64 k = 0; k < groups; ++k, ++group)
        in_pieces(int64(group->start), int64(group->stop), [=](int64 first, int64 last) {
            INDEPENDENT
            for (int64 i = first; i < last; ++i)
                averages[i] += (weights[i] - averages[i]) * change;
            if (!overwrites) return;
            INDEPENDENT
            for (int64 i = first; i < last; ++i) weights[i] = averages[i];
        });
}

// Clips each element to -limit to limit.
template <typename T>
void clip_values(T* gradients, const double* group_table, int64 groups, double limit) {
    const T most = T(limit);
    const ParameterGroup* group = rows_of(group_table);
    for (int64 k = 0; k < groups; ++k, ++group)
        in_pieces(int64(group->start), int64(group->stop), [=](int64 first, int64 last) {
            INDEPENDENT
            for (int64 i = first; i < last; ++i)
                gradients[i] = math::clip(gradients[i], -most, most);
        });
}

// Scales gradients so that the norm of each parameter's, or of all, is at most limit. A norm that
// is NaN makes them all NaN.
template <typename T>
void clip_norms(T* gradients, const int64* table, int64 count, double* sums, double limit) {
    const Piece* pieces = reinterpret_cast<const Piece*>(table);
    each_piece(pieces, count, [=](int64 k) {
        sums[k] = square_sum(gradients + pieces[k].start, pieces[k].stop - pieces[k].start);
    });
    each_piece(pieces, count, [=](int64 k) {
        const double all = norm(pieces[k], sums);
        if (all <= limit) return;
        const T factor = T(limit / all);
        INDEPENDENT
        for (int64 i = pieces[k].start; i < pieces[k].stop; ++i) gradients[i] *= factor;
    });
}

template <typename T> void add_updates() {
    const char* type = name_of<T>();
#define ADD(Formula) add<&update<T, Formula>>("update", {type, #Formula});
    EACH_OPTIMIZER(ADD)
#undef ADD
#ifndef FOR_BROWSERS  // pages are to stay small
#define ADD(Formula) add<&matmul_update<T, Formula>>("matmul_update", {type, #Formula});
    EACH_OPTIMIZER(ADD)
#undef ADD
#endif
    add<&step_by_norms<T>>("step_by_norms", {type});
    add<&accumulate_gradients<T>>("accumulate_gradients", {type});
    add<&average_weights<T>>("average_weights", {type});
    add<&clip_values<T>>("clip_values", {type});
    add<&clip_norms<T>>("clip_norms", {type});
}

const Registration registration([] {
    EACH_FLOAT(add_updates)
});

}  // namespace
