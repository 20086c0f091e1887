// Indices in the control block, as in gpunn/backends/contract/control.py.
#pragma once
#include "types.cuh"

enum Counter { UPDATES, BATCHES, PASS, POSITION, BAD_BATCH };
constexpr int COUNTERS = 8;  // in the array
enum Rate { LEARNING_RATE };
