// Threads that share the pieces of one operation. They sleep between operations; during a run, in
// which the next operation comes soon, they wait actively for some microseconds first.
#pragma once
#include "../formulas/types.cuh"

#include <type_traits>

// How many threads an operation called from this thread may use, including itself. Initially one.
int threads();
void set_threads(int count);

// A run of operations, one after the other: as long as the object exists.
struct Run {
    Run();
    ~Run();
    Run(const Run&) = delete;
};

typedef void (*PieceOfWork)(void* work, int64 piece);
void share_pieces(int64 pieces, PieceOfWork run, void* work);

// Calls work(piece) for every piece from 0 on, on several threads if available, and returns when
// all are done. Which thread does which piece is unspecified: no piece may depend on that or on
// another piece. Inside a piece, parallel() is a plain loop.
template <typename Work> void parallel(int64 pieces, Work&& work) {
    if (pieces > 1 && threads() > 1) {
        share_pieces(
            pieces,
            [](void* work, int64 piece) {
                (*static_cast<typename std::remove_reference<Work>::type*>(work))(piece);
            },
            &work
        );
        return;
    }
    for (int64 piece = 0; piece < pieces; ++piece) work(piece);
}
