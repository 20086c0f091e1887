// Training steps of narrow networks: dense layers of so few units that a vector holds a row of each
// array, trained on one row per step. There an operation takes less time than its call, and than
// passing its result to the next one through memory.
#pragma once
#include "operation.hpp"

#include <memory>

struct Call {
    const Operation* operation;
    const Word* words;
};

// The calls of such a step as one function, with the same results.
class NarrowStep {
  public:
    virtual ~NarrowStep() = default;
    // Between begin() and end(), the step keeps weights and the like in memory of its own.
    virtual void begin() = 0;
    virtual void perform() = 0;
    virtual void end() = 0;
};

// Null if the calls are anything else.
std::unique_ptr<NarrowStep> narrow_step(const std::vector<Call>& calls);
