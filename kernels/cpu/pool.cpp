#include "pool.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#ifndef _WIN32
#include <pthread.h>
#endif

namespace {

thread_local int wanted = 1;  // threads requested for this thread's work

struct Pool {
    std::mutex busy;  // held by the thread whose work the pool is doing
    std::mutex lock;  // of everything below except `next`
    std::condition_variable wake, left;
    int started = 0;  // workers that exist
    int places = 0;   // workers that may still join: none when there is no work
    int joined = 0;   // workers that have joined and not yet left
    int64 pieces = 0;
    PieceOfWork run = nullptr;
    void* work = nullptr;
    std::atomic<int64> next{0};

    void do_pieces() {
        for (int64 piece; (piece = next.fetch_add(1)) < pieces;) run(work, piece);
    }
};

// Never deleted: at the end of the process the workers still sleep on it. A forked child creates a
// new one, since none of the workers exist in the child.
Pool* pool = nullptr;

thread_local bool inside = false;  // a piece of parallel()

void serve(Pool& pool) {
    inside = true;
    std::unique_lock<std::mutex> hold(pool.lock);
    for (;;) {
        pool.wake.wait(hold, [&] { return pool.places > 0; });
        --pool.places;
        ++pool.joined;
        hold.unlock();
        pool.do_pieces();
        hold.lock();
        if (--pool.joined == 0) pool.left.notify_one();
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

// Starts workers when they are first needed. If one cannot be started, the others do its work.
void start_workers(Pool& pool, int count) {
    while (pool.started < count) {
        try {
            std::thread(serve, std::ref(pool)).detach();
        } catch (...) {
            return;
        }
        ++pool.started;
    }
}

}  // namespace

int threads() { return wanted; }

void set_threads(int count) { wanted = count < 1 ? 1 : count; }

void share_pieces(int64 pieces, PieceOfWork run, void* work) {
    Pool& pool = the_pool();
    std::unique_lock<std::mutex> mine(pool.busy, std::defer_lock);
    if (inside || !mine.try_lock()) {
        for (int64 piece = 0; piece < pieces; ++piece) run(work, piece);
        return;
    }
    inside = true;
    const int helpers = int(pieces < threads() ? pieces : threads()) - 1;
    {
        std::lock_guard<std::mutex> hold(pool.lock);
        start_workers(pool, helpers);
        pool.run = run;
        pool.work = work;
        pool.pieces = pieces;
        pool.next = 0;
        pool.places = helpers;
    }
    for (int helper = 0; helper < helpers; ++helper) pool.wake.notify_one();
    pool.do_pieces();
    {
        // A worker that has not joined by now finds no work left, and is not waited for.
        std::unique_lock<std::mutex> hold(pool.lock);
        pool.places = 0;
        pool.left.wait(hold, [&] { return pool.joined == 0; });
    }
    inside = false;
}
