// The beginning of a step: the rows of the next batch, from the data on the GPU.
#include "../formulas/control.cuh"
#include "../formulas/random.cuh"
#include "threads.cuh"

// out[i] = source[row at index position + first + i of the pass] scale + offset, converted to type
// Out. A row has `width` elements.
template <typename Source, typename Out>
ROW_PART void gather(ThreadGroup threads, const Source* source, RUN_TIME uint32 total, int64 width,
                     RUN_TIME uint64 seed, bool shuffled, const int64* counters, int64 first,
                     int64 rows, Out scale, Out offset, ROW_SLICED Out* out) {
    const OrderKeys keys(seed, uint64(counters[PASS]));
    const int64 position = counters[POSITION] + first;
    for (int64 i = threads.begin(rows); i < threads.end(rows); ++i) {
        if (uint64(position + i) >= total) continue;  // there is no such row
        const uint32 place = uint32(position + i);
        const int64 row = shuffled ? order_row(place, total, keys) : place;
        for (int64 c : threads.across(0, width))
            out[i * width + c] = Converted<Out>::of(source[row * width + c]) * scale + offset;
    }
}
