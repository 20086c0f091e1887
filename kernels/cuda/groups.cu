// Convolution of groups of channels: each group's filters see its own channels only, such as one
// channel each of a depthwise convolution. There are few terms to a sum, so a thread computes one
// element of the result, and reads its terms where they are.
#include "windows.cuh"

// The channels and filters of a group. The kernel is (cells, channels of a group, filters).
struct Groups {
    int32 channels, filters;  // of all groups
    int32 deep, wide;         // of one

    __device__ Groups(int32 channels, int32 deep, int32 filters)
        : channels(channels), filters(filters), deep(deep), wide(filters / (channels / deep)) {}
    __device__ int32 first_channel(int32 filter) const { return filter / wide * deep; }
    __device__ int32 first_filter(int32 channel) const { return channel / deep * wide; }
};

// out (samples, windows, filters) = the sum over the pixels under each window of x times kernel
template <typename T>
ELEMENT_PART void grouped_convolution(ThreadGroup threads, ROW_SLICED const T* x, const T* kernel,
                                      COMPILE_TIME const int32* geometry, int64 samples,
                                      int32 channels, int32 group_channels, int32 filters,
                                      ROW_SLICED T* out) {
    const Windows w(geometry);
    const Groups groups(channels, group_channels, filters);
    const int64 n = samples * w.windows() * filters;
    for (int64 i : threads.elements(n)) {
        const Place at(i, w.rows, w.columns, filters);
        const int32 first = groups.first_channel(at.channel);
        T sum = T(0);
        for (int32 r = 0; r < w.cell_rows; ++r)
            for (int32 s = 0; s < w.cell_columns; ++s) {
                const int32 y = w.y(at.y, r), column = w.x(at.x, s);
                if (!w.inside(y, column)) continue;
                const int64 pixel = at.sample * w.pixels() + int64(y) * w.width + column;
                const int64 cell = int64(r * w.cell_columns + s) * group_channels;
                const T* own = x + pixel * channels + first;
                for (int32 c = 0; c < group_channels; ++c)
                    sum += own[c] * kernel[(cell + c) * filters + at.channel];
            }
        out[i] = sum;
    }
}

// out (samples, height, width, channels) (+)= the sum over the windows on a pixel of dz times kernel
template <typename T>
ELEMENT_PART void grouped_image_gradient(ThreadGroup threads, ROW_SLICED const T* dz,
                                         const T* kernel, COMPILE_TIME const int32* geometry,
                                         int64 samples, int32 channels, int32 group_channels,
                                         int32 filters, bool accumulate, ROW_SLICED T* out) {
    const Windows w(geometry);
    const Groups groups(channels, group_channels, filters);
    const int64 n = samples * w.pixels() * channels;
    for (int64 i : threads.elements(n)) {
        const Place at(i, w.height, w.width, channels);
        const int32 first = groups.first_filter(at.channel), own = at.channel % group_channels;
        T sum = T(0);
        for (int32 r = 0; r < w.cell_rows; ++r) {
            const int32 row = w.row(at.y, r);
            if (row < 0) continue;
            for (int32 s = 0; s < w.cell_columns; ++s) {
                const int32 column = w.column(at.x, s);
                if (column < 0) continue;
                const int64 window = at.sample * w.windows() + int64(row) * w.columns + column;
                const int64 term = int64(r * w.cell_columns + s) * group_channels + own;
                for (int32 f = first; f < first + groups.wide; ++f)
                    sum += dz[window * filters + f] * kernel[term * filters + f];
            }
        }
        out[i] = accumulate ? out[i] + sum : sum;
    }
}

// partial (pieces, cells, channels of a group, filters) = the sum of x times dz over the windows of
// a piece: some image rows of windows of all samples
template <typename T>
ELEMENT_PART void grouped_kernel_gradient(ThreadGroup threads, const T* x, const T* dz,
                                          COMPILE_TIME const int32* geometry, int64 samples,
                                          int32 channels, int32 group_channels, int32 filters,
                                          int32 pieces, T* partial) {
    const Windows w(geometry);
    const Groups groups(channels, group_channels, filters);
    const int64 size = int64(w.cells()) * group_channels * filters, lines = samples * w.rows;
    for (int64 i : threads.elements(size * pieces)) {
        const int64 piece = i / size;
        const int32 rest = int32(i % size), filter = rest % filters, term = rest / filters;
        const int32 channel = groups.first_channel(filter) + term % group_channels;
        const int32 r = term / group_channels / w.cell_columns;
        const int32 s = term / group_channels % w.cell_columns;
        T sum = T(0);
        for (int64 line = lines * piece / pieces; line < lines * (piece + 1) / pieces; ++line) {
            const int32 row = int32(line % w.rows), y = w.y(row, r);
            const int64 sample = line / w.rows;
            for (int32 column = 0; column < w.columns; ++column) {
                const int32 at = w.x(column, s);
                if (!w.inside(y, at)) continue;
                const int64 pixel = sample * w.pixels() + int64(y) * w.width + at;
                sum += x[pixel * channels + channel] *
                       dz[(line * w.columns + column) * filters + filter];
            }
        }
        partial[i] = sum;
    }
}
