// The beginning of a step: the rows of the next batch, from the data on the GPU.
#include "../formulas/control.cuh"
#include "../formulas/random.cuh"
#include "threads.cuh"

// out[i] = source[row at index position + first + i of the pass] scale + offset, converted to type
// Out. A row has `width` elements.
template <typename Source, typename Out>
ROW_PART void gather(ThreadGroup threads, const Source* source, RUN_TIME uint32 total, int64 width,
                     RUN_TIME uint64 seed, bool shuffled, BLOCK_COPY const int64* counters,
                     int64 first, int64 rows, Out scale, Out offset, ROW_SLICED Out* out) {
    const OrderKeys keys(seed, uint64(counters[PASS]));
    const int64 position = counters[POSITION] + first;
    const uint32 rank = uint32(threads.rank), size = uint32(threads.size);
    // 2^shift threads share a row, at most the group: each of them has to find its place.
    static_assert(WARP == 1 << 5 && BLOCK == 1 << 8);
    const bool by_block = width >= BLOCK && size == BLOCK;
    const uint32 shift = by_block ? 8 : width >= WARP ? 5 : width >= 8 ? 3 : 0;
    const uint32 lanes = 1u << shift, lane = rank & (lanes - 1);
    for (int64 i = threads.begin(rows) + (rank >> shift); i < threads.end(rows);
         i += size >> shift) {
        if (uint64(position + i) >= total) continue;  // there is no such row
        const uint32 place = uint32(position + i);
        const int64 row = shuffled ? order_row(place, total, keys) : place;
        for (int64 c = lane; c < width; c += lanes)
            out[i * width + c] = Converted<Out>::of(source[row * width + c]) * scale + offset;
    }
}
