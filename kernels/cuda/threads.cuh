// What kernels are made of, and how their threads share out the work. A kernel is a composition
// of parts, each a function that does its share of one piece of work. Parts sum in an order that
// depends on the sizes alone, so that the same data gives the same bits.
#pragma once
#include "../formulas/types.cuh"

constexpr int WARP = 32;
constexpr int BLOCK = 256;  // threads of a block, in every launch
constexpr unsigned ALL_LANES = 0xFFFFFFFFu;

// The marks of parts: which threads must come together in one.
#define ELEMENT_PART __device__ inline  // none: each thread goes its own way
#define ROW_PART __device__ inline      // the lanes of a warp, which takes a row
#define BLOCK_PART __device__ inline    // the threads of a block
#define LAST_PART __device__ inline     // one block only, after all others
// The mark of an array of which a share touches its own piece alone: parts that cut it into the
// same pieces can follow each other in one launch.
#define PIECE
// The mark of an array that is dealt out to the threads element by element, by their places: parts
// in which an element has the same place can follow each other without waiting.
#define DEALT

__device__ inline int64 thread_number() { return int64(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64 thread_count() { return int64(gridDim.x) * blockDim.x; }

// A part's work is cut into equal pieces, and a team of threads does some neighbouring ones.
struct Share {
    int64 piece, end, pieces;  // from `piece` to before `end`
    int64 rank, size;          // this thread among those of its team

    // Where these pieces of n elements (or rows) begin and end; `pieces` divides n.
    __device__ int64 first(int64 n) const { return n / pieces * piece; }
    __device__ int64 stop(int64 n) const { return n / pieces * end; }

    // Threads of all teams together (of one piece each), for what is dealt out to them one by one.
    __device__ int64 number() const { return piece * size + rank; }
    __device__ int64 count() const { return pieces * size; }

    // The first place from `place` on whose element is this thread's.
    __device__ int64 dealt(int64 place) const {
        const int64 ahead = (number() - place) % count();
        return place + (ahead < 0 ? ahead + count() : ahead);
    }

    __device__ int64 warp() const { return rank / WARP; }
    __device__ int64 warps() const { return size / WARP; }

    // The team, a warp or a block, comes together: what it wrote before can be read by all of it.
    __device__ void meet() const {
        if (size > WARP) {
            __syncthreads();
        } else {
            __syncwarp();
        }
    }
};

// All threads as one team.
__device__ inline Share whole_grid() { return {0, 1, 1, thread_number(), thread_count()}; }

// Each block a team.
__device__ inline Share by_block() {
    return {blockIdx.x, blockIdx.x + 1, gridDim.x, threadIdx.x, blockDim.x};
}

// One block as the only team.
__device__ inline Share one_block() { return {0, 1, 1, threadIdx.x, blockDim.x}; }

// Teams of `size` threads, a warp or a block; each takes `some` pieces at a time until none is left.
__device__ inline Share share_from(int64 piece, int64 some, int64 pieces, int64 size) {
    return {piece, piece + some < pieces ? piece + some : pieces, pieces, threadIdx.x % size, size};
}
__device__ inline Share first_share(int64 pieces, int64 some, int64 size) {
    return share_from(thread_number() / size * some, some, pieces, size);
}
__device__ inline Share next_share(Share share, int64 some) {
    const int64 teams = thread_count() / share.size;
    return share_from(share.piece + teams * some, some, share.pieces, share.size);
}

// The sum over a warp's lanes, in every lane; with `width` (a power of 2) over each so many.
template <typename T> __device__ inline T warp_sum(T x, int width = WARP) {
    for (int distance = width / 2; distance > 0; distance /= 2)
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

// The largest of f(0) to f(n - 1), found by one warp.
template <typename F> __device__ inline auto largest_of(int64 n, int lane, F f) {
    using T = decltype(f(int64(0)));
    Largest<T> mine = {f(lane < n ? lane : 0), lane < n ? lane : 0};
    for (int64 c = lane + WARP; c < n; c += WARP) {
        const T x = f(c);
        if (x > mine.value) mine = Largest<T>{x, c};
    }
    return warp_largest(mine);
}

// The largest of one row's n numbers.
template <typename T> __device__ inline Largest<T> row_largest(const T* row, int64 n, int lane) {
    return largest_of(n, lane, [&](int64 c) { return row[c]; });
}

// The sum over a block's threads (a whole number of warps), in thread 0.
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

#ifdef __CUDACC__
// While a thread waits for other blocks, it leaves the processor to others.
__device__ inline void spin_wait() {
#if __CUDA_ARCH__ >= 700
    __nanosleep(20);
#endif
}
#endif

// All blocks come together; the last to get there does what `last` says before any goes on. They
// must be on the card at the same time, which a cooperative launch sees to. barrier[0] counts
// arrivals, and is zero before and after; barrier[1], how often the gate has opened, wraps around.
//
// What a block wrote is there for all to read afterwards, by ordinary reads: the fence of its
// thread 0 covers what all its threads wrote before the __syncthreads, and that of a thread 0
// which has seen the gate open makes the multiprocessor forget what its L1 cache held.
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
