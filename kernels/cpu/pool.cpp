#include "pool.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#ifndef _WIN32
#include <pthread.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#elif defined(__aarch64__) && defined(__GNUC__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() std::this_thread::yield()
#endif

namespace {

using clock = std::chrono::steady_clock;

// To wake a thread takes about ten microseconds, and a waiting one sees a change within one. So
// during a run a thread waits this long before it sleeps.
constexpr std::chrono::microseconds PATIENCE(50);
constexpr int BETWEEN_LOOKS = 32;  // pauses between two readings of the clock

// Between two readings a thread that waits actively has lost its core for at least this long: other
// processes need the cores. A sleeping thread is given one sooner than one that has used its time
// waiting, so all sleep for a while.
constexpr std::chrono::microseconds LOST(200);
constexpr std::chrono::milliseconds WHILE(20);

constexpr int MOST_THREADS = 256;
constexpr int64 MOST_PIECES = int64(1) << 31;

thread_local int wanted = 1;       // threads requested for this thread's work
thread_local bool inside = false;  // a piece of parallel()

// A number that one thread waits for and others change. The lowest bit of the word says that the
// thread sleeps. It is set and read by the same atomic operations that change the number, so a
// change either comes before the bit, and the thread sees it, or after, and wakes the thread.
class Awaited {
    std::atomic<uint64> word{0};
    std::mutex lock;  // held by the thread from before it sets the bit until it sleeps
    std::condition_variable changed;
    static constexpr uint64 ASLEEP = 1;

  public:
    uint64 number() const { return word.load(std::memory_order_acquire) / 2; }

    // What this thread wrote before is visible to the one that then sees the number (release), and
    // a number below shows what those wrote who changed it before (acquire).
    void add(uint64 change) {
        if (word.fetch_add(2 * change, std::memory_order_acq_rel) & ASLEEP) {
            { std::lock_guard<std::mutex> hold(lock); }
            changed.notify_one();
        }
    }

    // Returns when is_right(number()), and before it sleeps waits actively while the pool lets it.
    template <typename Right, typename Pool> void wait(Right is_right, Pool& pool) {
        if (is_right(number())) return;
        const clock::time_point start = clock::now();
        for (clock::time_point now = start; now - start < PATIENCE && pool.may_spin(now);) {
            for (int i = 0; i < BETWEEN_LOOKS; ++i) {
                if (is_right(number())) return;
                PAUSE();
            }
            std::this_thread::yield();  // the thread that is waited for may be on this core
            const clock::time_point before = now;
            now = clock::now();
            if (now - before > LOST) pool.sleep_until(now + WHILE);
        }
        std::unique_lock<std::mutex> hold(lock);
        word.fetch_or(ASLEEP, std::memory_order_relaxed);
        changed.wait(hold, [&] { return is_right(number()); });
        word.fetch_and(~ASLEEP, std::memory_order_relaxed);
    }
};

// The pieces of a job are divided into consecutive shares, one for each thread. A thread takes the
// pieces of its own share first, which the caches of its core know from the previous operations,
// and then those that others have not taken. So a thread that has lost its core to another process
// delays the job by the piece that it has begun at most.
struct Pool {
    struct alignas(64) Member {
        Awaited posted;                             // a job's number, and how many threads share it
        alignas(64) std::atomic<uint64> unclaimed;  // a job's number, and pieces left of the share

        // Takes a piece of a job: returns how many were left with it, 0 if there was none.
        uint64 claim(uint64 job) {
            uint64 seen = unclaimed.load(std::memory_order_relaxed);
            while (seen >> 32 == job && seen << 32)
                if (unclaimed.compare_exchange_weak(seen, seen - 1, std::memory_order_relaxed))
                    return seen & 0xffffffff;
            return 0;
        }
    };

    std::mutex busy;                // held by the thread whose work the pool is doing
    std::atomic<int> runs{0};       // programs that are running
    std::atomic<bool> fits{false};  // whether there is a core for each thread
    std::atomic<clock::rep> asleep_until{0};
    int workers = 0;
    uint64 job = 0;  // of 32 bits
    int64 pieces = 0;
    PieceOfWork run = nullptr;
    void* work = nullptr;
    Awaited undone;  // pieces of the job
    Member members[MOST_THREADS];

    // Where threads share cores, or there is a second run, a waiting thread would take the core of
    // one that computes.
    bool may_spin(clock::time_point now) const {
        return runs.load(std::memory_order_relaxed) == 1 && fits.load(std::memory_order_relaxed) &&
               now.time_since_epoch().count() > asleep_until.load(std::memory_order_relaxed);
    }

    void sleep_until(clock::time_point end) {
        asleep_until.store(end.time_since_epoch().count(), std::memory_order_relaxed);
    }

    int64 start_of(uint64 member, uint64 sharers) const {
        return pieces * int64(member) / int64(sharers);
    }

    // Does pieces of a job until none is left that nobody has begun.
    //
    // A worker may arrive late, when the pool is doing the next job. Then it finds no piece, for
    // each claim names the job. Where it has claimed a piece, the thread that posted the job waits
    // for that piece, and changes the attributes above only after the worker's last `add`. They
    // were written before the post that the worker has seen. So no claim needs an order itself.
    void do_pieces(uint64 me, uint64 post) {
        const uint64 sharers = post % (2 * MOST_THREADS), its_job = post / (2 * MOST_THREADS);
        for (uint64 k = 0; k < sharers; ++k) {
            const uint64 owner = (me + k) % sharers;
            while (const uint64 left = members[owner].claim(its_job)) {
                run(work, start_of(owner + 1, sharers) - int64(left));
                undone.add(uint64(-1));
            }
        }
    }
};

// Never deleted: at the end of the process the workers still sleep on it. A forked child creates a
// new one, since none of the workers exist in the child.
Pool* pool = nullptr;

void serve(Pool& pool, int number) {
    inside = true;
    Awaited& posted = pool.members[number].posted;
    for (uint64 seen = 0;;) {
        posted.wait([&](uint64 post) { return post != seen; }, pool);
        seen = posted.number();
        pool.do_pieces(uint64(number), seen);
    }
}

Pool& the_pool() {
    static const bool made = [] {
        pool = new Pool;
#ifndef _WIN32
        pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
#endif
        return true;
    }();
    (void)made;
    return *pool;
}

// The cores that this process may use, which are fewer than the machine has in many containers.
int usable_cores() {
    int cores = int(std::thread::hardware_concurrency());
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) cores = CPU_COUNT(&allowed);
    if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
        double quota, period;
        if (std::fscanf(file, "%lf %lf", &quota, &period) == 2 && quota < cores * period)
            cores = int(quota / period);
        std::fclose(file);
    }
#endif
    return cores;
}

// Starts workers when they are first needed. If one cannot be started, the others do its work.
void start_workers(Pool& pool, int count) {
    if (pool.workers >= count) return;
    while (pool.workers < count && pool.workers < MOST_THREADS - 1) {
        try {
            std::thread(serve, std::ref(pool), pool.workers + 1).detach();
        } catch (...) {
            break;
        }
        ++pool.workers;
    }
    pool.fits.store(pool.workers < usable_cores(), std::memory_order_relaxed);
}

}  // namespace

int threads() { return wanted; }

void set_threads(int count) { wanted = count < 1 ? 1 : count; }

Run::Run() { the_pool().runs.fetch_add(1, std::memory_order_relaxed); }
Run::~Run() { the_pool().runs.fetch_sub(1, std::memory_order_relaxed); }

void share_pieces(int64 pieces, PieceOfWork run, void* work) {
    Pool& pool = the_pool();
    std::unique_lock<std::mutex> mine(pool.busy, std::defer_lock);
    if (inside || pieces > MOST_PIECES || !mine.try_lock()) {
        for (int64 piece = 0; piece < pieces; ++piece) run(work, piece);
        return;
    }
    inside = true;
    const int helpers = int(pieces < threads() ? pieces : threads()) - 1;
    start_workers(pool, helpers);
    const uint64 sharers = uint64(helpers < pool.workers ? helpers : pool.workers) + 1;
    pool.job = (pool.job + 1) & 0xffffffff;
    pool.pieces = pieces;
    pool.run = run;
    pool.work = work;
    pool.undone.add(uint64(pieces));
    for (uint64 k = 0; k < sharers; ++k) {
        const int64 share = pool.start_of(k + 1, sharers) - pool.start_of(k, sharers);
        pool.members[k].unclaimed.store(pool.job << 32 | uint64(share), std::memory_order_relaxed);
    }
    const uint64 post = pool.job * 2 * MOST_THREADS + sharers;
    for (uint64 k = 1; k < sharers; ++k) {
        Awaited& posted = pool.members[k].posted;
        posted.add(post - posted.number());
    }
    pool.do_pieces(0, post);
    pool.undone.wait([](uint64 left) { return left == 0; }, pool);
    inside = false;
}
