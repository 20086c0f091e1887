// The end of a step: gradient clipping, and one optimizer update over the flat arrays.
#include "../formulas/places.cuh"
#include "../formulas/updates.cuh"
#include "generated_formulas.hpp"
#include "gradients.hpp"
#include "operation.hpp"
#include "pieces.hpp"
#include "subnormals.hpp"
#include "vectors.hpp"

#include <algorithm>

namespace {

// The rows of the table of parameter groups.
inline const ParameterGroup* rows_of(const double* group_table) {
    return reinterpret_cast<const ParameterGroup*>(group_table);
}

// The formula is a private copy that cannot change, so its branches are decided before the loop. All
// passes that update share the loop: inlined, it would be in a wheel six times for each formula.
template <typename T, template <typename> class Optimizer>
ONCE void apply(const Optimizer<T> formula, int64 first, int64 last, T* weights, const T* gradients,
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
    const auto use = [&](int64 row, int64 rows, int64 column, int64 columns, const T* gradients) {
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
    };
    each_part_of_gradient(a, b, m, n, k, lda, ldb, UseOfPart<T>(use));
}

// Sorts the numbers of rows by their index among n, those of one index in order: `order` has those
// of index i from starts[i] to before starts[i + 1]. Each of `parts` threads places some indices.
inline void sort_rows(const int32* places, int64 count, int64 n, bool wraps, int64 parts,
                      int32* starts, int32* order) {
    starts[0] = 0;
    parallel(parts, [=](int64 part) {
        const int64 low = n * part / parts, high = n * (part + 1) / parts;
        int32 at = 0;  // rows of lower indices
        std::fill(starts + low + 1, starts + high + 1, 0);
        for (int64 k = 0; k < count; ++k) {
            const int64 place = place_among(places[k], n, wraps);
            at += place >= 0 && place < low;
            if (place >= low && place < high) ++starts[place + 1];
        }
        for (int64 i = low; i < high; ++i) {
            const int32 here = starts[i + 1];
            starts[i + 1] = at;  // where those of i begin, and when all are there, end
            at += here;
        }
        for (int64 k = 0; k < count; ++k) {
            const int64 place = place_among(places[k], n, wraps);
            if (place >= low && place < high) order[starts[place + 1]++] = int32(k);
        }
    });
}

// sums (stop - first, columns) of the rows that `sort_rows` found at the indices from `first` on;
// `rows` begins at the first of the columns. Rows lie anywhere in memory: while one is added, a
// following one is prefetched.
template <typename T>
ONCE void sum_sorted(const T* rows, int64 inner, int64 columns, const int32* starts,
                     const int32* order, int64 first, int64 stop, int64 last_row, T* sums) {
    constexpr int64 AHEAD = 8, LINE = 64 / sizeof(T);
    for (int64 i = first; i < stop; ++i, sums += columns) {
        std::fill(sums, sums + columns, T(0));
        for (int64 k = starts[i]; k < starts[i + 1]; ++k) {
            const T* from = rows + order[k] * inner;
            const T* soon = rows + order[std::min(k + AHEAD, last_row)] * inner;
            for (int64 j = 0; j < columns; j += LINE) PREFETCH(soon + j);
            INDEPENDENT
            for (int64 j = 0; j < columns; ++j) sums[j] += from[j];
        }
    }
}

// The gradient of a large table (n, inner), 0 plus the rows (count, inner) at their indices in
// order, and its update, in one pass: the gradient is not stored. `starts` (n + 1) and `order`
// (count) are work arrays.
template <typename T, template <typename> class Optimizer>
void scatter_update(const T* rows, const int32* places, T* weights, int64 count, int64 n,
                    int64 inner, bool wraps, int32* starts, int32* order, T* slot_0, T* slot_1,
                    T* slot_2, const double* group, const double* parameters, int64 every,
                    const int64* counters, const double* rates) {
    if (!is_due(counters, every)) return;
    Optimizer<T> formula;
    formula.prepare(parameters, rates[LEARNING_RATE] * rows_of(group)->multiplier,
                    updates(counters, every), rows_of(group)->decay != 0);
    sort_rows(places, count, n, wraps, threads(), starts, order);
    constexpr int64 room = 2048;
    const int64 wide = std::min(inner, room), tall = std::max<int64>(1, room / wide);
    const int64 last_row = starts[n] - 1;
    const auto move = [=](int64 first, int64 last) {
        alignas(64) T part[room];
        for (int64 row = first; row < last; row += tall)
            for (int64 c = 0; c < inner; c += wide) {
                const int64 columns = std::min(wide, inner - c), end = std::min(last, row + tall);
                sum_sorted(rows + c, inner, columns, starts, order, row, end, last_row, part);
                const int64 at = row * inner + c;
                const auto of = [at](T* slot) { return slot ? slot + at : slot; };
                const auto apply_all = [&] {
                    apply(formula, 0, (end - row) * columns, weights + at, part, of(slot_0),
                          of(slot_1), of(slot_2));
                };
                if (slot_0 == nullptr) {
                    apply_all();
                    continue;
                }
                const SubnormalsAreZero scope;
                apply_all();
            }
    };
    const int64 some = std::max<int64>(1, PIECE / inner);
    parallel((n + some - 1) / some, [&](int64 piece) {
        move(piece * some, std::min(n, (piece + 1) * some));
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
#define ADD(Formula) \
    add<&matmul_update<T, Formula>>("matmul_update", {type, #Formula}); \
    add<&scatter_update<T, Formula>>("scatter_update", {type, #Formula});
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
