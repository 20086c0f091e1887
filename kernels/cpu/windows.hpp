// The positions of windows on an image: `Geometry` in geometry.py, with its values in order.
#pragma once
#include "pieces.hpp"

namespace {

struct Windows {
    int64 height, width, rows, columns, cell_rows, cell_columns;
    int64 stride_y, stride_x, top, left, dilation_y, dilation_x;

    int64 pixels() const { return height * width; }
    int64 count() const { return rows * columns; }

    // The cells of a window along an axis that lie on a pixel, from `first` on, and the pixel of
    // the first.
    struct Span {
        int64 first, cells, pixel;
        Span(int64 window, int64 stride, int64 before, int64 dilation, int64 cells_, int64 size) {
            const int64 start = window * stride - before;
            first = start < 0 ? (dilation - 1 - start) / dilation : 0;
            pixel = start + first * dilation;
            const int64 inside = pixel < size ? (size - 1 - pixel) / dilation + 1 : 0;
            cells = inside < cells_ - first ? inside : cells_ - first;
            if (cells < 0) cells = 0;
        }
    };
    Span down(int64 row) const { return {row, stride_y, top, dilation_y, cell_rows, height}; }
    Span across(int64 column) const {
        return {column, stride_x, left, dilation_x, cell_columns, width};
    }
    // The windows of a row whose cell of this column lies on a pixel, and how far that is from where
    // the window's place would be without padding.
    struct Reach {
        int64 first, stop, offset;
    };
    Reach reach(int64 cell) const {
        const int64 offset = cell * dilation_x - left;
        const int64 first = offset < 0 ? (stride_x - 1 - offset) / stride_x : 0;
        const int64 stop = offset < width ? (width - 1 - offset) / stride_x + 1 : 0;
        return {first, stop < columns ? stop : columns, offset};
    }
    // Whether each pixel lies in exactly one window.
    bool tiles() const {
        return (stride_y == cell_rows || rows == 1) && (stride_x == cell_columns || columns == 1) &&
               rows * cell_rows == height && columns * cell_columns == width && !top && !left &&
               dilation_y == 1 && dilation_x == 1;
    }
};

inline Windows windows_of(const int64* n) {
    return {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11]};
}

// work(from, to) for all samples of `numbers` elements each, some at a time.
template <typename Work> void over_samples(int64 samples, int64 numbers, Work work) {
    if (samples * numbers < WORTH_THREADS) {
        work(int64(0), samples);
        return;
    }
    const int64 at_once = numbers < PIECE ? PIECE / numbers : 1;
    parallel((samples + at_once - 1) / at_once, [&](int64 piece) {
        const int64 from = piece * at_once;
        work(from, from + at_once < samples ? from + at_once : samples);
    });
}

}  // namespace
