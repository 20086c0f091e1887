// Subnormal numbers: below 1.2e-38 for float, 2.2e-308 for double.
#pragma once
#include "../formulas/types.cuh"

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace {

// During its lifetime, subnormal inputs and results count as zero in this thread. Without it, the
// running mean of a gradient that stays zero, such as that of a pixel that is never inked, becomes
// subnormal and remains so, because such numbers round to themselves. Instructions with them take a
// hundred cycles on many CPUs. JAX and TensorFlow also do this in all of their operations.
class SubnormalsAreZero {
  public:
#if defined(__SSE2__) || defined(_M_X64)
    SubnormalsAreZero() : before(_mm_getcsr()) { _mm_setcsr(before | 0x8040u); }
    ~SubnormalsAreZero() { _mm_setcsr(before); }

  private:
    const uint32 before;
#elif defined(__aarch64__) && defined(__GNUC__)
    SubnormalsAreZero() {
        asm volatile("mrs %0, fpcr" : "=r"(before));
        asm volatile("msr fpcr, %0" : : "r"(before | uint64(1) << 24));
    }
    ~SubnormalsAreZero() { asm volatile("msr fpcr, %0" : : "r"(before)); }

  private:
    uint64 before;
#else
    SubnormalsAreZero() {}  // not supported: subnormals are kept
#endif
    SubnormalsAreZero(const SubnormalsAreZero&);  // not to be copied
};

}  // namespace
