// Windows on images, (samples, height, width, channels), and places on them.
#pragma once
#include "threads.cuh"

// The positions of windows on an image: `Geometry` in geometry.py, with its values in order.
struct Windows {
    int32 height, width, rows, columns, cell_rows, cell_columns;
    int32 stride_y, stride_x, top, left, dilation_y, dilation_x;

    __device__ explicit Windows(const int32* n)
        : height(n[0]), width(n[1]), rows(n[2]), columns(n[3]), cell_rows(n[4]),
          cell_columns(n[5]), stride_y(n[6]), stride_x(n[7]), top(n[8]), left(n[9]),
          dilation_y(n[10]), dilation_x(n[11]) {}

    __device__ int64 pixels() const { return int64(height) * width; }
    __device__ int64 windows() const { return int64(rows) * columns; }
    __device__ int32 cells() const { return cell_rows * cell_columns; }

    // The pixel row and column under a cell of a window; there may be none.
    __device__ int32 y(int32 row, int32 cell) const {
        return row * stride_y - top + cell * dilation_y;
    }
    __device__ int32 x(int32 column, int32 cell) const {
        return column * stride_x - left + cell * dilation_x;
    }
    __device__ bool inside(int32 y, int32 x) const {
        return y >= 0 && y < height && x >= 0 && x < width;
    }

    // The row and column of the window that has its cell on this pixel; -1 if there is none.
    __device__ int32 row(int32 y, int32 cell) const {
        return window(y + top - cell * dilation_y, stride_y, rows);
    }
    __device__ int32 column(int32 x, int32 cell) const {
        return window(x + left - cell * dilation_x, stride_x, columns);
    }

  private:
    __device__ static int32 window(int32 start, int32 stride, int32 count) {
        return start >= 0 && start % stride == 0 && start / stride < count ? start / stride : -1;
    }
};

constexpr uint8 NOWHERE = 255;  // the place of the largest pixel of a window that passes no gradient

// Element i of images of this size.
struct Place {
    int64 sample;
    int32 y, x, channel;

    __device__ Place(int64 i, int32 height, int32 width, int32 channels) {
        const int64 size = int64(height) * width * channels;
        sample = i / size;
        uint32 rest = uint32(i - sample * size);  // an image has fewer than 2^32 elements
        channel = int32(rest % uint32(channels));
        rest /= uint32(channels);
        x = int32(rest % uint32(width));
        y = int32(rest / uint32(width));
    }
};
