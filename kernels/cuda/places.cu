// Rows gathered from indices, and scattered to indices: arrays (outer, n, inner), with indices
// along the middle axis as (sets, count). There is one set for all of `outer`, or one for each.
#include "../formulas/places.cuh"
#include "threads.cuh"

// out (outer, count, inner) = x at the indices, 0 where an index is out of range
template <typename Held>
ELEMENT_PART void take_rows(ThreadGroup threads, const Held* x, const int32* places, int64 sets,
                            int64 outer, int64 n, int64 count, int64 inner, bool wraps,
                            ROW_SLICED Held* out) {
    for (int64 i : threads.elements(outer * count * inner)) {
        const int64 row = i / inner, o = row / count;
        const int64 place = place_among(places[sets == 1 ? row - o * count : row], n, wraps);
        out[i] = place < 0 ? Held(0) : x[(o * n + place - row) * inner + i];
    }
}

// into (outer, n, inner), at the indices, is merged by the formula with the rows (outer, count,
// inner), one after the other in order. Each thread handles one column of one index of `outer`: for
// many columns, or few rows.
template <typename Out, template <typename> class Merging>
ELEMENT_PART void scatter_columns(ThreadGroup threads, const Out* rows, const int32* places,
                                  int64 sets, int64 outer, int64 count, int64 n, int64 inner,
                                  bool wraps, Out* into) {
    for (int64 i : threads.elements(outer * inner)) {
        const int64 o = i / inner, c = i - o * inner;
        for (int64 k = 0; k < count; ++k) {
            const int64 place = place_among(places[sets == 1 ? k : o * count + k], n, wraps);
            if (place < 0) continue;
            Out* target = into + (o * n + place) * inner + c;
            *target = Merging<Out>::of(*target, rows[(o * count + k) * inner + c]);
        }
    }
}

// The same. The indices are divided into groups by their remainder; a block handles one group of
// one index of `outer`. It scans the list of indices and notes those of its group, in order; then
// each of its threads handles its own columns and indices.
template <typename Out, template <typename> class Merging>
BLOCK_PART void scatter_rows(ThreadGroup threads, const Out* rows, const int32* places,
                             int64 sets, int64 outer, int64 count, int64 n, int64 inner,
                             int64 groups, bool wraps, Out* into) {
    __shared__ int32 noted_row[BLOCK];  // of a part of the list
    __shared__ int64 noted_place[BLOCK];
    __shared__ int32 noted_by[BLOCK / WARP];                // how many, by each warp
    const int rank = int(threads.rank), lane = rank % WARP, warp = rank / WARP;
    int across = 1;
    while (across < inner && across < BLOCK) across *= 2;
    const int column = rank % across, own = rank / across, owners = BLOCK / across;
    for (int64 unit : threads.units(outer * groups)) {
        const int64 o = unit / groups, group = unit - o * groups;
        const int32* named = places + (sets == 1 ? 0 : o * count);
        for (int64 first = 0; first < count; first += BLOCK) {
            const int64 k = first + rank;
            const int64 place = k < count ? place_among(named[k], n, wraps) : -1;
            const bool noted = place >= 0 && place % groups == group;
            const unsigned by_warp = __ballot_sync(ALL_LANES, noted);
            if (lane == 0) noted_by[warp] = __popc(by_warp);
            __syncthreads();  // the previous part is done, too
            int at = __popc(by_warp & ((1u << lane) - 1)), total = 0;
            for (int w = 0; w < BLOCK / WARP; ++w) {
                if (w < warp) at += noted_by[w];
                total += noted_by[w];
            }
            if (noted) {
                noted_row[at] = rank;
                noted_place[at] = place;
            }
            __syncthreads();
            for (int64 c = column; c < inner; c += across) {
                Out* target = nullptr;
                Out value = Out(0);  // of the target: an index may be repeated in succession
                for (int j = 0; j < total; ++j) {
                    const int64 next = noted_place[j];
                    if (next / groups % owners != own) continue;
                    Out* its = into + (o * n + next) * inner + c;
                    if (its != target) {
                        if (target) *target = value;
                        target = its;
                        value = *its;
                    }
                    value = Merging<Out>::of(
                        value, rows[(o * count + first + noted_row[j]) * inner + c]);
                }
                if (target) *target = value;
            }
        }
    }
}

// found += the number of values of x outside low to high; then the least and the largest of these,
// as `rank_of` encodes them.
template <typename Out>
ELEMENT_PART void check_range(ThreadGroup threads, ROW_SLICED const Out* x, int64 n, double low,
                              double high, int64* found) {
    for (int64 i : threads.elements(n)) {
        const double value = double(x[i]);
        if (value >= low && value <= high) continue;
        atomicAdd(reinterpret_cast<uint64*>(found), uint64(1));
        atomicMin(&found[1], rank_of(value));
        atomicMax(&found[2], rank_of(value));
    }
}
