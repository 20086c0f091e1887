// Pooling of images, (samples, height, width, channels): a vector of channels at a time or, if
// there are few channels, a row of windows.
#include "operation.hpp"
#include "vectors.hpp"
#include "windows.hpp"

#include <cstring>
#include <limits>

namespace {

// The larger value, or NaN.
template <typename V> V larger(const V& a, const V& b) { return ((a >= b) | (a != a)) ? a : b; }

struct Largest {
    template <typename T> static T start() { return -std::numeric_limits<T>::infinity(); }
    template <typename V> static V join(const V& a, const V& b) { return larger(a, b); }
};
struct Sum {
    template <typename T> static T start() { return T(0); }
    template <typename V> static V join(const V& a, const V& b) { return a + b; }
};

// The pixels under a window, as they lie in memory.
struct Under {
    int64 first, rows, columns, down, across;
};

// f(window, its pixels) for all windows of an image with this number of channels.
template <typename F> void each_window(const Windows& w, int64 channels, F f) {
    const int64 down = w.dilation_y * w.width * channels, across = w.dilation_x * channels;
    for (int64 row = 0, window = 0; row < w.rows; ++row) {
        const Windows::Span y = w.down(row);
        for (int64 column = 0; column < w.columns; ++column, ++window) {
            const Windows::Span x = w.across(column);
            const int64 first = (y.pixel * w.width + x.pixel) * channels;
            f(window, Under{first, y.cells, x.cells, down, across});
        }
    }
}

// out = the largest or the sum of the pixels under each window, times `shares` if given
template <typename T, typename Pool>
void pool_image(const Windows& w, int64 channels, const T* shares, const T* x, T* out) {
    typedef Vector<T> V;
    each_window(w, channels, [&](int64 window, const Under& at) {
        const T* from = x + at.first;
        T* to = out + window * channels;
        const bool square = at.rows == 2 && at.columns == 2;
        each_vector<T>(channels, [&](int64 c, auto load, auto store) {
            const T* pixel = from + c;
            typename V::type value;
            if (square) {
                value = Pool::join(load(pixel), load(pixel + at.across));
                value = Pool::join(value, load(pixel + at.down));
                value = Pool::join(value, load(pixel + at.down + at.across));
            } else {
                value = V::all(Pool::template start<T>());
                for (int64 r = 0; r < at.rows; ++r, pixel += at.down)
                    for (int64 s = 0; s < at.columns; ++s)
                        value = Pool::join(value, load(pixel + s * at.across));
            }
            if (shares) value = value * V::all(shares[window]);
            store(to + c, value);
        });
    });
}

// The first pixel of each window that equals its maximum gets dy.
template <typename T, bool add>
void choose(const Windows& w, int64 channels, const T* x, const T* y, const T* dy, T* dx) {
    typedef Vector<T> V;
    each_window(w, channels, [&](int64 window, const Under& at) {
        const int64 out = window * channels;
        each_vector<T>(channels, [&](int64 c, auto load, auto store) {
            const typename V::type largest = load(y + out + c), none = V::zero();
            typename V::type left = load(dy + out + c);
            const auto pixel = [&](int64 i) {
                const auto hit = load(x + i) == largest;
                const typename V::type worth = hit ? left : none;
                left = hit ? none : left;
                store(dx + i, add ? load(dx + i) + worth : worth);
            };
            const int64 first = at.first + c;
            if (at.rows == 2 && at.columns == 2) {
                pixel(first);
                pixel(first + at.across);
                pixel(first + at.down);
                pixel(first + at.down + at.across);
                return;
            }
            for (int64 r = 0; r < at.rows; ++r)
                for (int64 s = 0; s < at.columns; ++s) pixel(first + r * at.down + s * at.across);
        });
    });
}

// Each pixel under a window gets its share of dy.
template <typename T, bool add>
void spread(const Windows& w, int64 channels, const T* shares, const T* dy, T* dx) {
    typedef Vector<T> V;
    each_window(w, channels, [&](int64 window, const Under& at) {
        each_vector<T>(channels, [&](int64 c, auto load, auto store) {
            const typename V::type worth =
                load(dy + window * channels + c) * V::all(shares[window]);
            T* pixel = dx + at.first + c;
            for (int64 r = 0; r < at.rows; ++r, pixel += at.down)
                for (int64 s = 0; s < at.columns; ++s) {
                    T* to = pixel + s * at.across;
                    store(to, add ? load(to) + worth : worth);
                }
        });
    });
}

// -- for few channels

constexpr int64 ROOM = 512;  // elements of some windows of a row; there are fewer channels

// Whether the cells of neighbouring windows lie close enough to form vectors. The longest vector of
// all instruction sets decides, not that of this one: the order of sums depends on it.
template <typename T> bool few(const Windows& w, int64 channels) {
    constexpr int64 longest = 64 / sizeof(T);
    return channels < longest && (w.stride_x == 1 || channels == 1);
}

// f(row, column, windows) for all windows of an image, some neighbours in a row at a time
template <typename F> void each_row(const Windows& w, int64 channels, F f) {
    const int64 most = ROOM / channels;
    for (int64 row = 0; row < w.rows; ++row)
        for (int64 column = 0; column < w.columns; column += most)
            f(row, column, w.columns - column < most ? w.columns - column : most);
}

// f(index in these windows, index in the image) for all of their cells that lie on a pixel, cell by
// cell: for one cell, no two indices are the same.
template <typename F>
void each_cell(const Windows& w, int64 channels, int64 row, int64 column, int64 columns, F f) {
    const Windows::Span y = w.down(row);
    for (int64 r = 0; r < y.cells; ++r)
        for (int64 s = 0; s < w.cell_columns; ++s) {
            auto [first, stop, offset] = w.reach(s);
            if (first < column) first = column;
            if (stop > column + columns) stop = column + columns;
            const int64 line = (y.pixel + r * w.dilation_y) * w.width + offset;
            const int64 in = (line + first * w.stride_x) * channels;
            const int64 out = (first - column) * channels;
            const int64 count = stop - first;
            if (w.stride_x == 1) {
                INDEPENDENT
                for (int64 i = 0; i < count * channels; ++i) f(out + i, in + i);
            } else if (w.stride_x == 2) {  // a constant stride lets compilers vectorise
                INDEPENDENT
                for (int64 i = 0; i < count; ++i) f(out + i, in + 2 * i);
            } else {
                INDEPENDENT
                for (int64 i = 0; i < count; ++i) f(out + i, in + i * w.stride_x);
            }
        }
}

// out = dy times the shares of some windows
template <typename T>
void share_out(const T* dy, const T* shares, int64 windows, int64 channels, T* out) {
    if (channels == 1) {
        INDEPENDENT
        for (int64 i = 0; i < windows; ++i) out[i] = dy[i] * shares[i];
        return;
    }
    for (int64 i = 0; i < windows; ++i)
        for (int64 c = i * channels; c < (i + 1) * channels; ++c) out[c] = dy[c] * shares[i];
}

template <typename T, typename Pool>
void pool_narrow(const Windows& w, int64 channels, const T* shares, const T* x, T* out) {
    each_row(w, channels, [&](int64 row, int64 column, int64 columns) {
        T* to = out + (row * w.columns + column) * channels;
        for (int64 i = 0; i < columns * channels; ++i) to[i] = Pool::template start<T>();
        each_cell(w, channels, row, column, columns,
                  [=](int64 i, int64 pixel) { to[i] = Pool::join(to[i], x[pixel]); });
        if (shares) share_out(to, shares + row * w.columns + column, columns, channels, to);
    });
}

template <typename T>
void choose_narrow(const Windows& w, int64 channels, const T* x, const T* y, const T* dy, T* dx) {
    each_row(w, channels, [&](int64 row, int64 column, int64 columns) {
        T room[ROOM];
        T* left = room;  // what no previous cell has received
        const int64 window = (row * w.columns + column) * channels;
        const T* largest = y + window;
        std::memcpy(left, dy + window, std::size_t(columns * channels) * sizeof(T));
        each_cell(w, channels, row, column, columns, [=](int64 i, int64 pixel) {
            const bool hit = x[pixel] == largest[i];
            dx[pixel] += hit ? left[i] : T(0);
            left[i] = hit ? T(0) : left[i];
        });
    });
}

template <typename T>
void spread_narrow(const Windows& w, int64 channels, const T* shares, const T* dy, T* dx) {
    each_row(w, channels, [&](int64 row, int64 column, int64 columns) {
        T room[ROOM];
        T* worth = room;
        const int64 window = row * w.columns + column;
        share_out(dy + window * channels, shares + window, columns, channels, worth);
        each_cell(w, channels, row, column, columns,
                  [=](int64 i, int64 pixel) { dx[pixel] += worth[i]; });
    });
}

// -- operations

template <typename T, typename Pool>
void pooling(const T* x, const int64* geometry, const T* shares, int64 samples, int64 channels,
             T* out) {
    const Windows w = windows_of(geometry);
    const int64 image = w.pixels() * channels, size = w.count() * channels;
    over_samples(samples, image, [&](int64 from, int64 to) {
        for (int64 n = from; n < to; ++n)
            (few<T>(w, channels) ? pool_narrow<T, Pool> : pool_image<T, Pool>)(
                w, channels, shares, x + n * image, out + n * size
            );
    });
}

// A pixel may lie in several windows, or in none: then the windows' gradients are added to zeros.
template <typename T> void clear(bool add, int64 size, T* dx) {
    if (!add) std::memset(dx, 0, std::size_t(size) * sizeof(T));
}

template <typename T>
void max_pooling_gradient(const T* x, const int64* geometry, const T* y, const T* dy,
                          int64 samples, int64 channels, bool accumulate_dx, T* dx) {
    const Windows w = windows_of(geometry);
    const int64 image = w.pixels() * channels, size = w.count() * channels;
    const bool narrow = few<T>(w, channels), add = narrow || accumulate_dx || !w.tiles();
    over_samples(samples, 2 * image, [&](int64 from, int64 to) {
        for (int64 n = from; n < to; ++n) {
            T* into = dx + n * image;
            clear(accumulate_dx || !add, image, into);
            (narrow ? choose_narrow<T> : add ? choose<T, true> : choose<T, false>)(
                w, channels, x + n * image, y + n * size, dy + n * size, into
            );
        }
    });
}

template <typename T>
void average_pooling_gradient(const T* dy, const int64* geometry, const T* shares, int64 samples,
                              int64 channels, bool accumulate_dx, T* dx) {
    const Windows w = windows_of(geometry);
    const int64 image = w.pixels() * channels, size = w.count() * channels;
    const bool narrow = few<T>(w, channels), add = narrow || accumulate_dx || !w.tiles();
    over_samples(samples, image, [&](int64 from, int64 to) {
        for (int64 n = from; n < to; ++n) {
            T* into = dx + n * image;
            clear(accumulate_dx || !add, image, into);
            (narrow ? spread_narrow<T> : add ? spread<T, true> : spread<T, false>)(
                w, channels, shares, dy + n * size, into
            );
        }
    });
}

template <typename T> void add_all() {
    add<&pooling<T, Largest>>("max_pooling", {name_of<T>()});
    add<&pooling<T, Sum>>("average_pooling", {name_of<T>()});
    add<&max_pooling_gradient<T>>("max_pooling_gradient", {name_of<T>()});
    add<&average_pooling_gradient<T>>("average_pooling_gradient", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_all)
});

}  // namespace
