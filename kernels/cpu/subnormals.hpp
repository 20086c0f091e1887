// Numbers so small that they are not normal: below 1.2e-38 for float, 2.2e-308 for double.
#pragma once
#include "../formulas/types.cuh"

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace {

// While it lives, subnormal numbers count as zero in this thread, read or computed. Without it the
// running mean of a gradient that is zero from now on, as that of a pixel which is never inked, ends
// in such numbers and stays there, as they round to themselves; and with them an instruction takes
// many CPUs a hundred cycles. JAX and TensorFlow let all of their operations do this.
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
    SubnormalsAreZero() {}  // not known how: they are computed with
#endif
    SubnormalsAreZero(const SubnormalsAreZero&);  // not to be copied
};

}  // namespace
