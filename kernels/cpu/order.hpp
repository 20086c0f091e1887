// The shuffled order of rows, as in `order_row`. Each thread has some of it computed beforehand.
#pragma once
#include "../formulas/types.cuh"

// The row at index `place` (below `rows`) of a pass.
uint32 row_in_order(uint32 place, uint32 rows, uint64 seed, uint64 pass);
