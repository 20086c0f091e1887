// Indices in the control block, as in gpunn/backends/contract/control.py.
#pragma once
#include "types.cuh"

enum Counter { UPDATES, BATCHES, PASS, POSITION, BAD_BATCH };
enum Rate { LEARNING_RATE };
