// The beginning of a step: the rows of the next batch, out of the data on the card.
#include "control.cuh"
#include "random.cuh"
#include "threads.cuh"

// out[i] = source[row at place position + i of the pass] scale + offset, converted to type Out.
// threadIdx.x runs along a row of `width` numbers, threadIdx.y over the rows of the batch.
template <typename Source, typename Out>
__global__ void gather(const Source* source, uint32 rows, int64 width, uint64 seed, bool shuffled,
                       const int64* counters, int64 batch, Out scale, Out offset, Out* out) {
    __shared__ uint32 keys[ORDER_ROUNDS];
    if (threadIdx.y == 0 && threadIdx.x == 0)
        for (int i = 0; i < ORDER_ROUNDS; ++i)
            keys[i] = order_key(seed, uint64(counters[PASS]), i);
    __syncthreads();
    const int64 position = counters[POSITION];
    for (int64 i = int64(blockIdx.x) * blockDim.y + threadIdx.y; i < batch;
         i += int64(gridDim.x) * blockDim.y) {
        if (position + i >= rows) continue;  // past the end there is no row to walk to
        const uint32 place = uint32(position + i);
        const int64 row = shuffled ? order_row(place, rows, keys) : place;
        for (int64 c = threadIdx.x; c < width; c += blockDim.x)
            out[i * width + c] = Out(source[row * width + c]) * scale + offset;
    }
}
