// How the threads of a launch share out the work, and how they sum in a fixed order: what is
// summed by whom depends on the sizes alone, so that the same data gives the same bits.
#include "types.cuh"

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xFFFFFFFFu;

__device__ inline int64 thread_number() { return int64(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64 thread_count() { return int64(gridDim.x) * blockDim.x; }

// The sum over a warp's lanes, in every lane.
template <typename T> __device__ inline T warp_sum(T x) {
    for (int distance = WARP / 2; distance > 0; distance /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    return x;
}

template <typename T> struct Largest {
    T value;
    int64 place;
};

// The largest of the lanes' values with its place, the first place on ties, in every lane.
template <typename T> __device__ inline Largest<T> warp_largest(Largest<T> mine) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        const T value = __shfl_xor_sync(ALL_LANES, mine.value, distance);
        const int64 place = __shfl_xor_sync(ALL_LANES, mine.place, distance);
        if (value > mine.value || (value == mine.value && place < mine.place))
            mine = Largest<T>{value, place};
    }
    return mine;
}

// The largest of one row's n numbers, found by one warp.
template <typename T> __device__ inline Largest<T> row_largest(const T* row, int64 n, int lane) {
    Largest<T> mine = {lane < n ? row[lane] : row[0], lane < n ? lane : 0};
    for (int64 c = lane + WARP; c < n; c += WARP)
        if (row[c] > mine.value) mine = Largest<T>{row[c], c};
    return warp_largest(mine);
}

// The sum over a block's threads (a whole number of warps, at most 1024), in thread 0.
__device__ inline double block_sum(double x) {
    __shared__ double partial[WARP];
    const int lane = threadIdx.x % WARP;
    x = warp_sum(x);
    __syncthreads();  // `partial` may still be read from the sum before
    if (lane == 0) partial[threadIdx.x / WARP] = x;
    __syncthreads();
    if (threadIdx.x < WARP) x = warp_sum(lane < int(blockDim.x) / WARP ? partial[lane] : 0.0);
    return x;
}

// Whether this block is the last one to come here: then all that the others wrote before is there
// to read (through a volatile pointer), and one launch can both compute and sum up.
// `arrivals` is zero before the launch and after it.
__device__ inline bool last_block(uint32* arrivals) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(arrivals, 1u) == gridDim.x - 1;
        if (last) *arrivals = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
}
