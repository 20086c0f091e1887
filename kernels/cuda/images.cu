// Images, (samples, height, width, channels): windows on them, for convolution and pooling, and
// their layout. A thread computes one element of the result, and reads its inputs.
#include "../formulas/math.cuh"
#include "windows.cuh"

// out (samples windows, cells channels) = the pixels under each window, 0 beside the image
template <typename T>
ELEMENT_PART void patches(ThreadGroup threads, ROW_SLICED const T* x,
                          COMPILE_TIME const int32* geometry, int64 samples, int32 channels,
                          ROW_SLICED T* out) {
    const Windows w(geometry);
    const int32 width = w.cells() * channels;
    const int64 n = samples * w.windows() * width;
    for (int64 i : threads.elements(n)) {
        const Place at(i, w.rows, w.columns, width);
        const int32 cell = at.channel / channels, channel = at.channel % channels;
        const int32 pixel_y = w.y(at.y, cell / w.cell_columns);
        const int32 pixel_x = w.x(at.x, cell % w.cell_columns);
        const int64 pixel = at.sample * w.pixels() + int64(pixel_y) * w.width + pixel_x;
        out[i] = w.inside(pixel_y, pixel_x) ? x[pixel * channels + channel] : T(0);
    }
}

// out (samples, height, width, channels) (+)= the sum of dpatches for the same pixel
template <typename T>
ELEMENT_PART void patches_gradient(ThreadGroup threads, ROW_SLICED const T* dpatches,
                                   COMPILE_TIME const int32* geometry, int64 samples,
                                   int32 channels, bool accumulate, ROW_SLICED T* out) {
    const Windows w(geometry);
    const int64 n = samples * w.pixels() * channels;
    for (int64 i : threads.elements(n)) {
        const Place at(i, w.height, w.width, channels);
        T sum = T(0);
        for (int32 r = 0; r < w.cell_rows; ++r) {
            const int32 row = w.row(at.y, r);
            if (row < 0) continue;
            for (int32 s = 0; s < w.cell_columns; ++s) {
                const int32 column = w.column(at.x, s);
                if (column < 0) continue;
                const int64 window = at.sample * w.windows() + int64(row) * w.columns + column;
                const int64 cell = window * w.cells() + r * w.cell_columns + s;
                sum += dpatches[cell * channels + at.channel];
            }
        }
        out[i] = accumulate ? out[i] + sum : sum;
    }
}

// out (samples, windows, channels) = the largest pixel under each window
template <typename T>
ELEMENT_PART void max_pooling(ThreadGroup threads, ROW_SLICED const T* x,
                              COMPILE_TIME const int32* geometry, int64 samples, int32 channels,
                              ROW_SLICED T* out) {
    const Windows w(geometry);
    const int64 n = samples * w.windows() * channels;
    for (int64 i : threads.elements(n)) {
        const Place at(i, w.rows, w.columns, channels);
        T largest = math::minus_infinity<T>();
        for (int32 r = 0; r < w.cell_rows; ++r)
            for (int32 s = 0; s < w.cell_columns; ++s) {
                const int32 y = w.y(at.y, r), column = w.x(at.x, s);
                if (!w.inside(y, column)) continue;
                const int64 pixel = at.sample * w.pixels() + int64(y) * w.width + column;
                const T value = x[pixel * channels + at.channel];
                if (value > largest || value != value) largest = value;  // NaN stays NaN
            }
        out[i] = largest;
    }
}

// out (samples, height, width, channels) (+)= the sum of dy over the windows in which this pixel is
// the first maximum, row by row
template <typename T>
ELEMENT_PART void max_pooling_gradient(ThreadGroup threads, ROW_SLICED const T* x,
                                       COMPILE_TIME const int32* geometry, int64 samples,
                                       int32 channels, ROW_SLICED const T* y,
                                       ROW_SLICED const T* dy, bool accumulate,
                                       ROW_SLICED T* out) {
    const Windows w(geometry);
    const int64 n = samples * w.pixels() * channels;
    for (int64 i : threads.elements(n)) {
        const Place at(i, w.height, w.width, channels);
        const T value = x[i];
        const T* image = x + at.sample * w.pixels() * channels + at.channel;
        T sum = T(0);
        for (int32 r = 0; r < w.cell_rows; ++r) {
            const int32 row = w.row(at.y, r);
            if (row < 0) continue;
            for (int32 s = 0; s < w.cell_columns; ++s) {
                const int32 column = w.column(at.x, s);
                if (column < 0) continue;
                const int64 window = at.sample * w.windows() + int64(row) * w.columns + column;
                bool first = value == y[window * channels + at.channel];
                for (int32 cell = 0; first && cell < r * w.cell_columns + s; ++cell) {
                    const int32 before_y = w.y(row, cell / w.cell_columns);
                    const int32 before_x = w.x(column, cell % w.cell_columns);
                    if (w.inside(before_y, before_x))
                        first = image[(int64(before_y) * w.width + before_x) * channels] != value;
                }
                if (first) sum += dy[window * channels + at.channel];
            }
        }
        out[i] = accumulate ? out[i] + sum : sum;
    }
}

// out (samples, height, width, channels) = dy at the places of the largest pixels, else 0, of windows
// that do not overlap; see `pooled_convolution`
template <typename T>
ELEMENT_PART void unpooling(ThreadGroup threads, ROW_SLICED const T* dy,
                            ROW_SLICED const uint8* places, COMPILE_TIME const int32* geometry,
                            int64 samples, int32 channels, ROW_SLICED T* out) {
    const Windows w(geometry);
    const int64 n = samples * w.pixels() * channels;
    for (int64 i : threads.elements(n)) {
        const Place at(i, w.height, w.width, channels);
        const int32 row = at.y / w.cell_rows, column = at.x / w.cell_columns;
        const int32 cell = at.y % w.cell_rows * w.cell_columns + at.x % w.cell_columns;
        T value = T(0);
        if (row < w.rows && column < w.columns) {
            const int64 window = at.sample * w.windows() + int64(row) * w.columns + column;
            const int64 place = window * channels + at.channel;
            if (places[place] == cell) value = dy[place];
        }
        out[i] = value;
    }
}

// The number of pixels under a window.
__device__ inline int32 pixels_under(const Windows& w, int32 row, int32 column) {
    int32 down = 0, across = 0;
    for (int32 r = 0; r < w.cell_rows; ++r) down += w.inside(w.y(row, r), 0);
    for (int32 s = 0; s < w.cell_columns; ++s) across += w.inside(0, w.x(column, s));
    return down * across;
}

// out (samples, windows, channels) = the mean of the pixels under each window
template <typename T>
ELEMENT_PART void average_pooling(ThreadGroup threads, ROW_SLICED const T* x,
                                  COMPILE_TIME const int32* geometry, int64 samples,
                                  int32 channels, ROW_SLICED T* out) {
    const Windows w(geometry);
    const int64 n = samples * w.windows() * channels;
    for (int64 i : threads.elements(n)) {
        const Place at(i, w.rows, w.columns, channels);
        T sum = T(0);
        for (int32 r = 0; r < w.cell_rows; ++r)
            for (int32 s = 0; s < w.cell_columns; ++s) {
                const int32 y = w.y(at.y, r), column = w.x(at.x, s);
                if (!w.inside(y, column)) continue;
                const int64 pixel = at.sample * w.pixels() + int64(y) * w.width + column;
                sum += x[pixel * channels + at.channel];
            }
        out[i] = sum / T(pixels_under(w, at.y, at.x));
    }
}

// out (samples, height, width, channels) (+)= the sum of dy / pixels over the windows on this pixel
template <typename T>
ELEMENT_PART void average_pooling_gradient(ThreadGroup threads, ROW_SLICED const T* dy,
                                           COMPILE_TIME const int32* geometry, int64 samples,
                                           int32 channels, bool accumulate, ROW_SLICED T* out) {
    const Windows w(geometry);
    const int64 n = samples * w.pixels() * channels;
    for (int64 i : threads.elements(n)) {
        const Place at(i, w.height, w.width, channels);
        T sum = T(0);
        for (int32 r = 0; r < w.cell_rows; ++r) {
            const int32 row = w.row(at.y, r);
            if (row < 0) continue;
            for (int32 s = 0; s < w.cell_columns; ++s) {
                const int32 column = w.column(at.x, s);
                if (column < 0) continue;
                const int64 window = at.sample * w.windows() + int64(row) * w.columns + column;
                sum += dy[window * channels + at.channel] / T(pixels_under(w, row, column));
            }
        }
        out[i] = accumulate ? out[i] + sum : sum;
    }
}

// out[:, y, x] (+)= x[:, y + top, x + left], 0 where there is no such pixel
template <typename T>
ELEMENT_PART void crop_or_pad(ThreadGroup threads, ROW_SLICED const T* x, int64 samples,
                              int32 height, int32 width, int32 channels, int32 top, int32 left,
                              int32 rows, int32 columns, bool accumulate, ROW_SLICED T* out) {
    const int64 n = samples * rows * columns * channels;
    for (int64 i : threads.elements(n)) {
        const Place at(i, rows, columns, channels);
        const int32 y = at.y + top, column = at.x + left;
        const bool inside = y >= 0 && y < height && column >= 0 && column < width;
        const int64 pixel = (at.sample * height + y) * width + column;
        const T value = inside ? x[pixel * channels + at.channel] : T(0);
        out[i] = accumulate ? out[i] + value : value;
    }
}

// out (samples, b, a) (+)= x (samples, a, b)
template <typename T>
ELEMENT_PART void swap_axes(ThreadGroup threads, ROW_SLICED const T* x, int64 samples, int32 a,
                            int32 b, bool accumulate, ROW_SLICED T* out) {
    const int64 n = samples * a * b;
    for (int64 i : threads.elements(n)) {
        const Place at(i, b, a, 1);
        const T value = x[(at.sample * a + at.x) * b + at.y];
        out[i] = accumulate ? out[i] + value : value;
    }
}
