// Gradients of weights, a few rows at a time: what reads them finds them in the L1 cache.
#pragma once
#include "operation.hpp"

// A function of a part of a gradient, see each_part_of_gradient. It is called by its address: what
// computes the parts would take a tenth of the module if each optimizer had a copy.
template <typename T> class UseOfPart {
  public:
    template <typename Use>
    explicit UseOfPart(const Use& use)
        : use(&use), call([](const void* use, int64 row, int64 rows, int64 column, int64 columns,
                             const T* part) {
              (*static_cast<const Use*>(use))(row, rows, column, columns, part);
          }) {}
    void operator()(int64 row, int64 rows, int64 column, int64 columns, const T* part) const {
        call(use, row, rows, column, columns, part);
    }

  private:
    const void* use;
    void (*call)(const void* use, int64 row, int64 rows, int64 column, int64 columns,
                 const T* part);
};

// Computes a' b from a (k, m) and b (k, n), some rows at a time, and calls use(first row, rows,
// first column, columns, numbers) with each such part (rows, columns). Its bits are those of
// matmul(). As a product with the weights is divided into blocks of their rows, so are the rows
// here: a thread finds the weights that it has read in the cache of its core.
template <typename T>
void each_part_of_gradient(const T* a, const T* b, int64 m, int64 n, int64 k, int64 lda, int64 ldb,
                           const UseOfPart<T>& use);
