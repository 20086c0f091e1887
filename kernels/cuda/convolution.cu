// Convolution as a product of patches that are never written: a block reads the pixels of its tile
// of the result where they are (an implicit GEMM). The terms of a sum and their order depend on the
// sizes alone. Arrays have fewer than 2^30 elements: places are 32-bit numbers.
#include "../formulas/elements.cuh"
#include "windows.cuh"

constexpr int DEPTH = 8;              // terms of the sums that a block reads at a time
constexpr int DOWN = 6, ACROSS = 4;   // rows and columns that a thread computes of a tile
constexpr int NARROW = 8, WIDE = 16;  // threads along a row of a tile, for few and many columns
constexpr int FEW = 32;               // rows of a kernel's gradient that a thread adds up itself
constexpr int PASSES = 4;             // in which the rows of a tile are pooled
constexpr int PAD = 4;                // lanes that write the terms of a column meet other banks
constexpr int32 OUTSIDE = -(1 << 30);  // of every image, also when a position is added to it

// Adjacent elements, which a thread reads at once.
template <typename T, int N> struct alignas(N * sizeof(T)) Adjacent {
    T values[N];
};

// The first pixel of a window, or a cell and channel of a window relative to that.
struct Position {
    int32 place;
    int32 y, x;
};

// The rows of a product, or its terms: the windows on some images, the cells of a window.
template <typename T> struct Patches {
    const T* images;
    Windows w;
    int32 channels;
    int32 windows;  // of all images
    int32 width;    // elements of a patch

    __device__ Patches(const T* images, const int32* geometry, int64 samples, int32 channels)
        : images(images), w(geometry), channels(channels), windows(int32(samples * w.windows())),
          width(w.cells() * channels) {}

    __device__ Position window(int32 number) const {
        if (number >= windows) return {0, OUTSIDE, OUTSIDE};
        const Place at(number, w.rows, w.columns, 1);
        const int32 y = w.y(at.y, 0), x = w.x(at.x, 0);
        return {((int32(at.sample) * w.height + y) * w.width + x) * channels, y, x};
    }
    __device__ Position element(int32 number) const {
        if (number >= width) return {0, OUTSIDE, OUTSIDE};
        const int32 cell = number / channels, channel = number % channels;
        const int32 y = cell / w.cell_columns * w.dilation_y;
        const int32 x = cell % w.cell_columns * w.dilation_x;
        return {(y * w.width + x) * channels + channel, y, x};
    }
    __device__ T at(Position a, Position b) const {
        return w.inside(a.y + b.y, a.x + b.x) ? images[a.place + b.place] : T(0);
    }
};

// The factors of a tile: DEPTH terms of its rows, and of its columns.
template <typename T> struct Tile {
    static constexpr int ROWS = BLOCK / NARROW * DOWN, COLUMNS = WIDE * ACROSS;
    Adjacent<T, 2> rows[DEPTH * (ROWS + PAD) / 2];
    Adjacent<T, 4> columns[DEPTH * (COLUMNS + PAD) / 4];
    Position positions[ROWS];
};

// What all threads do after each pass over a tile's rows: nothing.
struct Nothing {
    __device__ void operator()(int32, int32) const {}
};

// A product of `rows` x `columns`: calls store(row, column, piece, sum) for each element of it, with
// the sum of each of the `pieces` of its `terms`. The left factor is the value of the patches at
// row_at(row) and term_at(term), the right one weight(term, column). Adjacent lanes read what is
// adjacent in memory: terms or, for `rows_adjacent` and `columns_adjacent`, rows and columns.
//
// The rows of a tile are stored in `passes`. After each, all threads call stored(row, column) with
// the pass's first row and the tile's first column; then the tile's memory is free.
template <int LANES, bool rows_adjacent, int passes = 1, typename T, typename RowAt,
          typename TermAt, typename Weight, typename Store, typename Stored = Nothing>
__device__ inline void tiles_of_product(ThreadGroup threads, Tile<T>& tile,
                                        const Patches<T>& patches, int32 rows, int32 columns,
                                        int32 terms, int32 pieces, bool columns_adjacent,
                                        RowAt row_at, TermAt term_at, Weight weight, Store store,
                                        Stored stored = {}) {
    constexpr int HEIGHT = BLOCK / LANES * DOWN, WIDTH = LANES * ACROSS;
    constexpr int TALL = HEIGHT + PAD, BROAD = WIDTH + PAD, READ = BLOCK / DEPTH;
    const int rank = int(threads.rank), first_term = rank % DEPTH, first = rank / DEPTH;
    const int row_term = rows_adjacent ? rank / WARP : first_term;
    const int first_row = rows_adjacent ? rank % WARP : first;
    const int column_term = columns_adjacent ? rank / WARP : first_term;
    const int first_column = columns_adjacent ? rank % WARP : first;
    const int down = rank / LANES * DOWN, across = rank % LANES * ACROSS;
    T* const row_factors = tile.rows[0].values;
    T* const column_factors = tile.columns[0].values;
    const int32 tall = (rows + HEIGHT - 1) / HEIGHT, broad = (columns + WIDTH - 1) / WIDTH;
    for (int64 unit : threads.units(int64(tall) * broad * pieces)) {
        const int32 row = int32(unit % tall) * HEIGHT, rest = int32(unit / tall);
        const int32 piece = rest / broad, column = rest % broad * WIDTH;
        const int32 start = int32(int64(terms) * piece / pieces);
        const int32 stop = int32(int64(terms) * (piece + 1) / pieces);
        for (int i = rank; i < HEIGHT; i += BLOCK) tile.positions[i] = row_at(row + i);
        __syncthreads();
        T next_rows[HEIGHT / READ], next_columns[WIDTH / READ], sums[DOWN][ACROSS] = {};
        auto read = [&](int32 term) {
            const bool has_row = term + row_term < stop, has_column = term + column_term < stop;
            const Position at = term_at(term + row_term);
            for (int i = 0; i < HEIGHT / READ; ++i)
                next_rows[i] =
                    has_row ? patches.at(tile.positions[first_row + i * READ], at) : T(0);
            for (int i = 0; i < WIDTH / READ; ++i) {
                const int32 c = column + first_column + i * READ;
                next_columns[i] =
                    has_column && c < columns ? weight(term + column_term, c) : T(0);
            }
        };
        read(start);
        for (int32 term = start; term < stop; term += DEPTH) {
            for (int i = 0; i < HEIGHT / READ; ++i)
                row_factors[row_term * TALL + first_row + i * READ] = next_rows[i];
            for (int i = 0; i < WIDTH / READ; ++i)
                column_factors[column_term * BROAD + first_column + i * READ] = next_columns[i];
            __syncthreads();
            if (term + DEPTH < stop) read(term + DEPTH);  // while the sums are computed
#pragma unroll 4
            for (int k = 0; k < DEPTH; ++k) {
                Adjacent<T, 2> left[DOWN / 2];
                for (int i = 0; i < DOWN / 2; ++i) left[i] = tile.rows[(k * TALL + down) / 2 + i];
                const Adjacent<T, 4> right = tile.columns[(k * BROAD + across) / 4];
                for (int i = 0; i < DOWN; ++i)
                    for (int j = 0; j < ACROSS; ++j)
                        sums[i][j] += left[i / 2].values[i % 2] * right.values[j];
            }
            __syncthreads();  // the factors are replaced
        }
        for (int pass = 0; pass < passes; ++pass) {
            for (int i = 0; i < DOWN && (passes == 1 || down / (HEIGHT / passes) == pass); ++i)
                for (int j = 0; j < ACROSS; ++j)
                    if (row + down + i < rows && column + across + j < columns)
                        store(row + down + i, column + across + j, piece, sums[i][j]);
            stored(row + HEIGHT / passes * pass, column);
        }
    }
}

// out (windows, filters) (+)= patches of x in the windows times kernel (cells, channels, filters),
// then + bias and max(., 0) for `relu`. With `turned`, the kernel is (cells, filters, channels)
// and its cells are in reverse order: so the gradient of x is a convolution of dz.
template <typename T>
BLOCK_PART void convolution(ThreadGroup threads, const T* x, COMPILE_TIME const int32* geometry,
                            int64 samples, int32 channels, const T* kernel, int32 filters,
                            bool turned, const T* bias, bool relu, bool accumulate, T* out) {
    __shared__ Tile<T> tile;
    const Patches<T> patches(x, geometry, samples, channels);
    auto row_at = [&](int32 row) { return patches.window(row); };
    auto term_at = [&](int32 term) { return patches.element(term); };
    auto weight = [&](int32 term, int32 filter) {
        if (!turned) return kernel[term * filters + filter];
        const int32 cell = patches.w.cells() - 1 - term / channels;
        return kernel[(cell * filters + filter) * channels + term % channels];
    };
    auto store = [&](int32 row, int32 filter, int32, T sum) {
        T& y = out[row * filters + filter];
        if (bias) sum += bias[filter];
        if (relu) sum = elements::relu(sum);
        y = accumulate ? y + sum : sum;
    };
    if (filters <= NARROW * ACROSS) {
        tiles_of_product<NARROW, false>(threads, tile, patches, patches.windows, filters,
                                        patches.width, 1, !turned, row_at, term_at, weight, store);
    } else {
        tiles_of_product<WIDE, false>(threads, tile, patches, patches.windows, filters,
                                      patches.width, 1, !turned, row_at, term_at, weight, store);
    }
}

// The windows of a pooling on those of a convolution: they neither overlap nor leave the image.
struct Pools {
    Windows w;
    int32 cells;    // of a window
    int32 windows;  // of all images

    __device__ Pools(const int32* geometry, int64 samples)
        : w(geometry), cells(w.cells()), windows(int32(samples * w.windows())) {}

    // The number of the convolution's window under a cell.
    __device__ int32 under(int32 window, int32 cell) const {
        const Place at(window, w.rows, w.columns, 1);
        const int32 y = w.y(at.y, cell / w.cell_columns), x = w.x(at.x, cell % w.cell_columns);
        return (int32(at.sample) * w.height + y) * w.width + x;
    }
};

// out (samples, windows of the pooling, filters) = the largest result of a `convolution` with bias
// and `relu` in each of them, whose cells are then adjacent rows of the product. Of a larger result
// nothing is written. places = the first cell with the largest, where a gradient goes; NOWHERE for
// NaN, and where relu is 0. A pass over a tile's rows has all cells of its windows.
template <typename T>
BLOCK_PART void pooled_convolution(ThreadGroup threads, const T* x,
                                   COMPILE_TIME const int32* geometry,
                                   COMPILE_TIME const int32* pooling, int64 samples,
                                   int32 channels, const T* kernel, int32 filters, const T* bias,
                                   bool relu, uint8* places, T* out) {
    __shared__ Tile<T> tile;
    T* const results = tile.rows[0].values;  // of a pass
    const Patches<T> patches(x, geometry, samples, channels);
    const Pools pools(pooling, samples);
    const bool narrow = filters <= NARROW * ACROSS;
    const int32 tall = BLOCK / (narrow ? NARROW : WIDE) * DOWN / PASSES;
    const int32 broad = (narrow ? NARROW : WIDE) * ACROSS, rows = pools.windows * pools.cells;
    auto row_at = [&](int32 row) {
        return patches.window(row < rows ? pools.under(row / pools.cells, row % pools.cells)
                                         : patches.windows);
    };
    auto term_at = [&](int32 term) { return patches.element(term); };
    auto weight = [&](int32 term, int32 filter) { return kernel[term * filters + filter]; };
    auto store = [&](int32 row, int32 filter, int32, T sum) {
        if (bias) sum += bias[filter];
        results[row % tall * broad + filter % broad] = relu ? elements::relu(sum) : sum;
    };
    auto pool = [&](int32 row, int32 column) {
        __syncthreads();
        for (int i = int(threads.rank); i < tall / pools.cells * broad; i += BLOCK) {
            const int32 window = row / pools.cells + i / broad, filter = column + i % broad;
            if (window >= pools.windows || filter >= filters) continue;
            const T* cells = results + i / broad * pools.cells * broad + i % broad;
            T largest = cells[0];
            int32 place = 0;
            for (int32 cell = 1; cell < pools.cells; ++cell) {
                const T value = cells[cell * broad];
                if (value > largest || value != value) largest = value, place = cell;
            }
            out[window * filters + filter] = largest;
            const bool passes = relu ? largest > T(0) : largest == largest;
            if (places) places[window * filters + filter] = passes ? uint8(place) : NOWHERE;
        }
        __syncthreads();  // `results` is written again
    };
    if (narrow) {
        tiles_of_product<NARROW, false, PASSES>(threads, tile, patches, rows, filters,
                                                patches.width, 1, true, row_at, term_at, weight,
                                                store, pool);
    } else {
        tiles_of_product<WIDE, false, PASSES>(threads, tile, patches, rows, filters,
                                              patches.width, 1, true, row_at, term_at, weight,
                                              store, pool);
    }
}

// partial (pieces, cells channels, filters) = patches^T dz, dz (windows, filters), for each of the
// `pieces` of the windows: the gradient of the kernel is the sum of these.
template <typename T>
BLOCK_PART void kernel_gradient(ThreadGroup threads, const T* x, COMPILE_TIME const int32* geometry,
                                int64 samples, int32 channels, const T* dz, int32 filters,
                                int32 pieces, T* partial) {
    __shared__ Tile<T> tile;
    const Patches<T> patches(x, geometry, samples, channels);
    auto row_at = [&](int32 row) { return patches.element(row); };
    auto term_at = [&](int32 term) { return patches.window(term); };
    auto weight = [&](int32 term, int32 filter) { return dz[term * filters + filter]; };
    auto store = [&](int32 row, int32 filter, int32 piece, T sum) {
        partial[(piece * patches.width + row) * filters + filter] = sum;
    };
    if (filters <= NARROW * ACROSS) {
        tiles_of_product<NARROW, true>(threads, tile, patches, patches.width, filters,
                                       patches.windows, pieces, true, row_at, term_at, weight,
                                       store);
    } else {
        tiles_of_product<WIDE, true>(threads, tile, patches, patches.width, filters,
                                     patches.windows, pieces, true, row_at, term_at, weight, store);
    }
}

// sums += the patch at a window times a factor
template <typename T>
__device__ inline void add_patch(const Patches<T>& patches, Position at, T factor, T (&sums)[FEW]) {
    int32 down = 0, across = 0, channel = 0, cell = 0;  // of each row in turn: no division
#pragma unroll
    for (int32 row = 0; row < FEW; ++row)
        if (row < patches.width) {
            const int32 place = (down * patches.w.width + across) * patches.channels + channel;
            sums[row] += patches.at(at, {place, down, across}) * factor;
            if (++channel < patches.channels) continue;
            channel = 0, across += patches.w.dilation_x;
            if (++cell < patches.w.cell_columns) continue;
            cell = across = 0, down += patches.w.dilation_y;
        }
}

// partial (pieces, cells channels, filters) as in `kernel_gradient`, for patches of at most FEW
// elements. A thread has a filter, and the sums of all elements of a patch in registers: the lanes of
// a warp read neighbouring dz, and the same pixels.
template <typename T>
ELEMENT_PART void few_rows_gradient(ThreadGroup threads, const T* x,
                                    COMPILE_TIME const int32* geometry, int64 samples,
                                    int32 channels, const T* dz, int32 filters, int32 pieces,
                                    T* partial) {
    const Patches<T> patches(x, geometry, samples, channels);
    for (int64 i : threads.elements(int64(pieces) * filters)) {
        const int32 piece = int32(i / filters), filter = int32(i % filters);
        const int32 start = int32(int64(patches.windows) * piece / pieces);
        const int32 stop = int32(int64(patches.windows) * (piece + 1) / pieces);
        T sums[FEW] = {};
        for (int32 window = start; window < stop; ++window)
            add_patch(patches, patches.window(window), dz[window * filters + filter], sums);
#pragma unroll
        for (int32 row = 0; row < FEW; ++row)
            if (row < patches.width)
                partial[(piece * patches.width + row) * filters + filter] = sums[row];
    }
}

// The same from the gradient dy of a `pooled_convolution`: dz is dy at its places, else 0. The sums
// of dz are the gradient of the bias, partial_bias (pieces, filters).
template <typename T>
ELEMENT_PART void pooled_few_rows_gradient(ThreadGroup threads, const T* x,
                                           COMPILE_TIME const int32* geometry,
                                           COMPILE_TIME const int32* pooling, int64 samples,
                                           int32 channels, const T* dy, const uint8* places,
                                           int32 filters, int32 pieces, T* partial,
                                           T* partial_bias) {
    const Patches<T> patches(x, geometry, samples, channels);
    const Pools pools(pooling, samples);
    for (int64 i : threads.elements(int64(pieces) * filters)) {
        const int32 piece = int32(i / filters), filter = int32(i % filters);
        const int32 start = int32(int64(pools.windows) * piece / pieces);
        const int32 stop = int32(int64(pools.windows) * (piece + 1) / pieces);
        T sums[FEW] = {}, whole = T(0);
        for (int32 window = start; window < stop; ++window) {
            const int32 at = window * filters + filter;
            if (places[at] == NOWHERE) continue;
            whole += dy[at];
            add_patch(patches, patches.window(pools.under(window, places[at])), dy[at], sums);
        }
#pragma unroll
        for (int32 row = 0; row < FEW; ++row)
            if (row < patches.width)
                partial[(piece * patches.width + row) * filters + filter] = sums[row];
        partial_bias[i] = whole;
    }
}
