// Rows gathered from indices, and scattered to indices: arrays (outer, n, inner), with indices
// along the middle axis as (sets, count). There is one set for all of `outer`, or one for each.
#include "../formulas/places.cuh"
#include "generated_formulas.hpp"
#include "operation.hpp"
#include "pieces.hpp"

#include <cstring>

namespace {

// Fewest columns that are worth giving to another thread.
constexpr int64 SOME_COLUMNS = 16;

// out (outer, count, inner) = x at the indices, 0 where an index is out of range
template <typename T>
void take_rows(const T* x, const int32* places, int64 sets, int64 outer, int64 n, int64 count,
               int64 inner, bool wraps, T* out) {
    const std::size_t bytes = std::size_t(inner) * sizeof(T);
    auto row = [&](int64 o, int64 k) {
        const int64 place = place_among(places[sets == 1 ? k : o * count + k], n, wraps);
        T* target = out + (o * count + k) * inner;
        if (place < 0) {
            std::memset(target, 0, bytes);
        } else if (inner == 1) {
            *target = x[o * n + place];
        } else {
            std::memcpy(target, x + (o * n + place) * inner, bytes);
        }
    };
    const int64 rows = outer * count;
    const int64 some = rows * inner < WORTH_THREADS ? rows : 1 + PIECE / (inner ? inner : 1);
    if (rows > 0)
        parallel((rows + some - 1) / some, [&](int64 piece) {
            const int64 last = rows - piece * some < some ? rows : (piece + 1) * some;
            int64 o = piece * some / count, k = piece * some % count;
            for (int64 r = piece * some; r < last; ++r) {
                row(o, k);
                if (++k == count) k = 0, ++o;
            }
        });
}

// out (outer, n, inner), at the indices, is merged by the formula with the rows (outer, count,
// inner), one after the other in order. A single thread handles all updates of one element of
// `out`, so the number of threads does not change the result.
template <typename T, template <typename> class Merging>
void scatter_rows(const T* rows, const int32* places, int64 sets, int64 outer, int64 count,
                  int64 n, int64 inner, bool wraps, T* out) {
    // For one index of `outer`, some columns, at the indices from `low` to before `high`.
    auto merge = [&](int64 o, int64 first, int64 last, int64 low, int64 high) {
        const int32* own = places + (sets == 1 ? 0 : o * count);
        for (int64 k = 0; k < count; ++k) {
            const int64 place = place_among(own[k], n, wraps);
            if (place < low || place >= high) continue;
            const T* row = rows + (o * count + k) * inner;
            T* target = out + (o * n + place) * inner;
            INDEPENDENT
            for (int64 c = first; c < last; ++c) target[c] = Merging<T>::of(target[c], row[c]);
        }
    };
    const int64 parts = outer * count * inner < WORTH_THREADS ? 1 : threads();
    if (parts == 1) {
        for (int64 o = 0; o < outer; ++o) merge(o, 0, inner, 0, n);
    } else if (outer >= parts) {
        const int64 some = (outer + 4 * parts - 1) / (4 * parts);
        parallel((outer + some - 1) / some, [&](int64 piece) {
            const int64 last = outer - piece * some < some ? outer : (piece + 1) * some;
            for (int64 o = piece * some; o < last; ++o) merge(o, 0, inner, 0, n);
        });
    } else {
        const bool by_columns = inner >= parts * SOME_COLUMNS;
        const int64 size = by_columns ? inner : n, some = (size + parts - 1) / parts;
        parallel(outer * parts, [&](int64 piece) {
            const int64 start = piece % parts * some;
            const int64 stop = start + some < size ? start + some : size;
            if (by_columns) {
                merge(piece / parts, start, stop, 0, n);
            } else {
                merge(piece / parts, 0, inner, start, stop);
            }
        });
    }
}

// found += the number of values of x outside low to high; then the least and the largest of these,
// as `rank_of` encodes them.
template <typename T>
void check_range(const T* x, int64 n, double low, double high, int64* found) {
    int64 outside = 0;
    for (int64 i = 0; i < n; ++i) outside += !(double(x[i]) >= low && double(x[i]) <= high);
    if (!outside) return;
    found[0] += outside;
    for (int64 i = 0; i < n; ++i) {
        const double value = double(x[i]);
        if (value >= low && value <= high) continue;
        const int64 rank = rank_of(value);
        if (rank < found[1]) found[1] = rank;
        if (rank > found[2]) found[2] = rank;
    }
}

#ifndef FOR_BROWSERS  // pages must be small, and cannot report an invalid index
template <typename T> void add_takes(const char* type) { add<&take_rows<T>>("take_rows", {type}); }

template <typename T> void add_scatters(const char* type) {
#define ADD(Formula) add<&scatter_rows<T, Formula>>("scatter_rows", {type, #Formula});
    EACH_MERGING(ADD)
#undef ADD
    add<&check_range<T>>("check_range", {type}).stops = true;
}

const Registration registration([] {
    add_takes<bool>("bool");
    add_takes<int32>("int32");
    add_takes<float>("float32");
    add_takes<double>("float64");
    add_scatters<int32>("int32");
    add_scatters<float>("float32");
    add_scatters<double>("float64");
});
#endif

}  // namespace
