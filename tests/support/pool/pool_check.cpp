// Properties of the thread pool of the compiled kernels: `pool_check PROPERTY`. It ends with status
// 1 and a line that says what was wrong, and does not end at all if threads wait for each other.
#include "pool.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

void check(bool right, const char* what) {
    if (right) return;
    std::printf("not true: %s\n", what);
    std::fflush(stdout);
    std::_Exit(1);
}

// Every piece writes its part of an array that only this call uses. The array is not atomic: a
// sanitizer sees whether what a piece wrote is visible to the caller.
void every_piece_once(int64 pieces) {
    std::vector<int64> done(std::size_t(pieces), 0);
    parallel(pieces, [&](int64 piece) { done[std::size_t(piece)] += piece + 1; });
    for (int64 piece = 0; piece < pieces; ++piece)
        check(done[std::size_t(piece)] == piece + 1, "each piece is done once");
}

// Other numbers of threads, with and without a run around the operation.
void any_number_of_threads() {
    for (int round = 0; round < 300; ++round) {
        set_threads(1 + round % 5);
        for (int64 pieces : {0, 1, 2, 3, 7, 64}) {
            every_piece_once(pieces);
            const Run run;
            every_piece_once(pieces);
            every_piece_once(pieces);
        }
    }
}

// Each of the threads has a piece in progress: it is its own one, so the caller's is the first.
void own_piece_first() {
    set_threads(3);
    const Run run;
    for (int round = 0; round < 100; ++round) {
        std::atomic<int> begun{0};
        std::thread::id who[3];
        parallel(3, [&](int64 piece) {
            ++begun;
            while (begun < 3) std::this_thread::yield();
            who[piece] = std::this_thread::get_id();  // not atomic: the caller sees it nevertheless
        });
        check(who[0] == std::this_thread::get_id(), "the caller does the first piece");
        check(who[1] != who[0] && who[2] != who[0] && who[1] != who[2], "each thread has a piece");
    }
}

// A piece that does not end: the rest is done meanwhile, whichever thread has that piece.
void the_others_go_on() {
    constexpr int64 PIECES = 12;
    for (int threads : {2, 3}) {
        set_threads(threads);
        for (int64 slow = 0; slow < PIECES; ++slow) {
            const Run run;
            std::atomic<int64> done{0};
            parallel(PIECES, [&](int64 piece) {
                while (piece == slow && done < PIECES - 1) std::this_thread::yield();
                ++done;
            });
            check(done == PIECES, "all pieces are done at the end");
        }
    }
}

// A caller that finds the pool busy works alone, and does not wait.
void callers_beside_each_other() {
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 3; ++caller)
        callers.emplace_back([] {
            set_threads(3);
            const Run run;
            for (int round = 0; round < 500; ++round) every_piece_once(1 + round % 9);
        });
    for (std::thread& caller : callers) caller.join();
}

void pieces_within_pieces() {
    set_threads(3);
    const Run run;
    for (int round = 0; round < 100; ++round) {
        std::atomic<int> wrong{0};
        parallel(4, [&](int64) {
            const std::thread::id me = std::this_thread::get_id();
            parallel(5, [&](int64) { wrong += std::this_thread::get_id() != me; });
            every_piece_once(6);
        });
        check(wrong == 0, "inside a piece, all pieces are the same thread's");
    }
}

const std::map<std::string, std::function<void()>> properties = {
    {"any_number_of_threads", any_number_of_threads},
    {"own_piece_first", own_piece_first},
    {"the_others_go_on", the_others_go_on},
    {"callers_beside_each_other", callers_beside_each_other},
    {"pieces_within_pieces", pieces_within_pieces},
};

}  // namespace

int main(int count, char** arguments) {
    check(count == 2 && properties.count(arguments[1]), "one argument, the name of a property");
    properties.at(arguments[1])();
    std::_Exit(0);  // the workers still wait
}
