// Common definitions for the parts of kernels: the threads that execute a part, how they divide the
// work, and sums over them. A kernel is composed of parts (see ../README.md); each part is a
// function that all threads of a group call. The order of sums depends on the sizes of arrays
// alone, so that the same data gives the same bits.
#pragma once
#include "../formulas/types.cuh"

constexpr int WARP = 32;
constexpr int BLOCK = 256;  // threads of a block, in every launch
constexpr unsigned ALL_LANES = 0xFFFFFFFFu;

// The mark of a part tells which threads must execute it together. kernel_source.py reads it here.
#define ELEMENT_PART __device__ inline  // each thread on its own: it needs no other thread
#define ROW_PART __device__ inline      // the lanes of a warp, one row at a time
#define BLOCK_PART __device__ inline    // the threads of a block
#define LAST_PART __device__ inline     // a single block, after all other blocks have ended

// The mark of an array parameter tells how the threads divide the array, and so when another part
// that uses it may follow in the same launch. An array without a mark may be read or written
// anywhere by any thread: the next part must wait for the whole grid.
#define ROW_SLICED    // a group accesses only the rows of its own slices
#define GRID_STRIDED  // a thread accesses only its own elements, as `strided` assigns them
#define BLOCK_COPY    // a block of a persistent kernel has its own copy; all do what writes it

// The kernels of a step have its sizes and flags as constants. These marks name the exceptions.
#define RUN_TIME      // a number that differs between trainings of one network, or GPUs
#define COMPILE_TIME  // an array that is never written: its elements are constants too

__device__ inline int64 thread_number() { return int64(blockIdx.x) * BLOCK + threadIdx.x; }
__device__ inline int64 thread_count() { return int64(gridDim.x) * BLOCK; }

// Every `step`-th number from `first` to before `stop`: for (int64 i : range).
struct Range {
    int64 first, stop, step;

    struct Iterator {
        int64 at, step;
        __device__ int64 operator*() const { return at; }
        __device__ void operator++() { at += step; }
        __device__ bool operator!=(const Iterator& end) const { return at < end.at; }
    };
    __device__ Iterator begin() const { return {first, step}; }
    __device__ Iterator end() const { return {stop, step}; }
};

// The threads that execute a part together, and their share of the work. The work is divided into
// slices of equal size (some rows of the batch each); a group processes neighbouring slices.
struct ThreadGroup {
    int64 slice, slice_end, slices;  // from `slice` to before `slice_end`, of `slices` in total
    int64 rank, size;                // of this thread in the group; threads in the group

    // Where the group's slices of n elements (or rows) begin and end; `slices` divides n.
    __device__ int64 begin(int64 n) const { return n / slices * slice; }
    __device__ int64 end(int64 n) const { return n / slices * slice_end; }

    // This thread's elements in the group's slices of n elements.
    __device__ Range elements(int64 n) const { return {begin(n) + rank, end(n), size}; }
    // This warp's rows in the group's slices of n rows.
    __device__ Range rows(int64 n) const { return {begin(n) + warp(), end(n), warps()}; }
    // This thread's indices from `first` to before `stop`, which the group shares.
    __device__ Range across(int64 first, int64 stop) const { return {first + rank, stop, size}; }
    // This group's units out of n units of work, if each slice belongs to one group.
    __device__ Range units(int64 n) const { return {slice, n, slices}; }
    // The first elements of this group's tiles of n elements, if a group takes a tile at a time.
    __device__ Range tiles(int64 n, int64 tile) const { return {slice * tile, n, slices * tile}; }
    // This warp's units out of n units of work, if a warp processes one at a time.
    __device__ Range warp_units(int64 n) const {
        return {slice * warps() + warp(), n, slices * warps()};
    }

    // If each slice belongs to one group: this thread's rank in the grid, and the grid's size.
    __device__ int64 grid_rank() const { return slice * size + rank; }
    __device__ int64 grid_size() const { return slices * size; }

    // This thread's elements from `first` to before `stop`: element i belongs to the thread whose
    // grid rank is i modulo the grid's size, in whatever array.
    __device__ Range strided(int64 first, int64 stop) const {
        // A division of 32 bits is several times faster.
        const uint32 whole = uint32(grid_size());
        const uint32 owner = first >> 32 ? uint32(first % whole) : uint32(first) % whole;
        const int64 ahead = grid_rank() - owner;
        return {first + (ahead < 0 ? ahead + whole : ahead), stop, whole};
    }

    __device__ int64 warp() const { return rank / WARP; }
    __device__ int64 warps() const { return size / WARP; }

    // Waits for all threads of the group, a warp or a block: then what they wrote can be read.
    __device__ void sync() const {
        if (size > WARP) {
            __syncthreads();
        } else {
            __syncwarp();
        }
    }
};

// All threads of the grid as one group.
__device__ inline ThreadGroup grid_group() { return {0, 1, 1, thread_number(), thread_count()}; }

// Each block as a group.
__device__ inline ThreadGroup block_group() {
    return {blockIdx.x, blockIdx.x + 1, gridDim.x, threadIdx.x, BLOCK};
}

// This block as the only group.
__device__ inline ThreadGroup only_group() { return {0, 1, 1, threadIdx.x, BLOCK}; }

// Groups of `size` threads, a warp or a block. Each processes `at_once` slices, from
// first_slices(), and then continues with next_slices(), until none is left.
__device__ inline ThreadGroup slices_from(int64 slice, int64 at_once, int64 slices, int64 size) {
    const int64 end = slice + at_once < slices ? slice + at_once : slices;
    return {slice, end, slices, threadIdx.x % size, size};
}
__device__ inline ThreadGroup first_slices(int64 slices, int64 at_once, int64 size) {
    return slices_from(thread_number() / size * at_once, at_once, slices, size);
}
__device__ inline ThreadGroup next_slices(ThreadGroup threads, int64 at_once) {
    const int64 groups = thread_count() / threads.size;
    const int64 slice = threads.slice + groups * at_once;
    return slices_from(slice, at_once, threads.slices, threads.size);
}

// An argument of a turn of a loop, from the turn's row of the kernel's table. The compiler knows of a
// kernel's parameters that they point to global memory, and reads that faster.
template <typename T> __device__ inline void is_global(T) {}
template <typename T> __device__ inline void is_global(T* array) {
    __builtin_assume(__isGlobal(array));
}
template <typename T> __device__ inline T argument(const int64* row, int place) {
    const T value = *reinterpret_cast<const T*>(row + place);
    is_global(value);
    return value;
}

// The sum over a warp's lanes, in every lane; with `width` (a power of 2), over each `width` lanes.
template <typename T> __device__ inline T warp_sum(T x, int width = WARP) {
    for (int distance = width / 2; distance > 0; distance /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, distance);
    return x;
}

// The first of the lanes' elements, as `precedes` orders them, in every lane.
template <typename T> __device__ inline Placed<T> warp_largest(Placed<T> mine) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        const Placed<T> other = {__shfl_xor_sync(ALL_LANES, mine.value, distance),
                                 __shfl_xor_sync(ALL_LANES, mine.place, distance)};
        if (precedes(other, mine)) mine = other;
    }
    return mine;
}

// The largest of f(0) to f(n - 1), found by one warp.
template <typename F> __device__ inline auto largest_of(int64 n, int lane, F f) {
    using T = decltype(f(int64(0)));
    Placed<T> mine = {f(lane < n ? lane : 0), lane < n ? lane : 0};
    for (int64 c = lane + WARP; c < n; c += WARP) {
        const T x = f(c);
        if (exceeds(x, mine.value)) mine = Placed<T>{x, c};
    }
    return warp_largest(mine);
}

// The largest of the n elements of one row.
template <typename T> __device__ inline Placed<T> row_largest(const T* row, int64 n, int lane) {
    return largest_of(n, lane, [&](int64 c) { return row[c]; });
}

// Applies the warp reduction `of_warp` to a block's threads (a whole number of warps); the result
// is in thread 0. Additional zeros must not change it.
template <typename F> __device__ inline double over_block(double x, F of_warp) {
    __shared__ double partial[WARP];
    const int lane = threadIdx.x % WARP;
    x = of_warp(x);
    __syncthreads();  // `partial` may still be read from the previous call
    if (lane == 0) partial[threadIdx.x / WARP] = x;
    __syncthreads();
    if (threadIdx.x < WARP) x = of_warp(lane < BLOCK / WARP ? partial[lane] : 0.0);
    return x;
}
// The sum over a block's threads, in thread 0.
__device__ inline double block_sum(double x) {
    return over_block(x, [](double y) { return warp_sum(y); });
}
// The largest value of a block's threads, in thread 0; 0 if all are below.
__device__ inline double block_largest(double x) {
    return over_block(x, [](double y) { return warp_largest(Placed<double>{y, 0}).value; });
}

// Whether this block is the last one to arrive here: then all that the other blocks wrote before
// can be read (through a volatile pointer), and one launch can both compute and sum up.
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

#ifdef __CUDACC__
// Yields the processor while a thread waits for other blocks.
__device__ inline void spin_wait() {
#if __CUDA_ARCH__ >= 700
    __nanosleep(20);
#endif
}
#endif

// All blocks wait for each other. They must be on the GPU at the same time, which a cooperative
// launch guarantees. What all blocks add to barrier[2] is 2^31: its upper bit changes when the last
// one arrives, and the others are 0 again.
//
// Afterwards, all blocks can read what a block wrote, see below.
__device__ inline void grid_barrier(uint32* barrier) {
    volatile uint32* arrived = barrier + 2;
    __syncthreads();  // this block has done its work
    if (threadIdx.x == 0) {
        __threadfence();
        const uint32 mine = blockIdx.x == 0 ? 0x80000000u - (gridDim.x - 1) : 1u;
        const uint32 before = atomicAdd(barrier + 2, mine);
        while (!((*arrived ^ before) & 0x80000000u)) spin_wait();
        __threadfence();
    }
    __syncthreads();  // the gate is open
}

// The same, but the last to arrive calls `last` before any continues. barrier[0] counts arrivals,
// and is zero before and after; barrier[1] counts how often the gate has opened, and wraps around.
//
// Afterwards, all blocks can read what a block wrote, by ordinary reads: the fence of its thread 0
// covers what all its threads wrote before the __syncthreads. The fence of a thread 0 that has seen
// the gate open makes the multiprocessor discard its L1 cache.
template <typename Last> __device__ inline void grid_barrier(uint32* barrier, Last last) {
    __shared__ bool is_last;
    volatile uint32* opened = barrier + 1;
    uint32 before = 0;
    __syncthreads();  // all of this block's work is done
    if (threadIdx.x == 0) {
        before = *opened;  // it cannot open before this block has arrived
        __threadfence();
        is_last = atomicAdd(barrier, 1u) == gridDim.x - 1;
        while (!is_last && *opened == before) spin_wait();
        __threadfence();
    }
    __syncthreads();
    if (!is_last) return;
    last();
    __syncthreads();  // all of that is done
    if (threadIdx.x == 0) {
        barrier[0] = 0;
        __threadfence();
        *opened = before + 1;
    }
}
