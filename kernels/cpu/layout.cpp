// The memory layout of images: cropped, padded, with channels first or last.
#include "operation.hpp"
#include "turned.hpp"
#include "windows.hpp"

#include <cstring>

namespace {

// out[:, y, x] (+)= x[:, y + top, x + left], 0 where there is no such pixel
template <typename T>
void crop_or_pad(const T* x, int64 samples, int64 height, int64 width, int64 channels, int64 top,
                 int64 left, int64 rows, int64 columns, bool accumulate, T* out) {
    const int64 before = left < 0 ? (-left < columns ? -left : columns) : 0;
    int64 stop = width - left < columns ? width - left : columns;
    if (stop < before) stop = before;
    const int64 line = columns * channels, first = before * channels, last = stop * channels;
    over_samples(samples, rows * line, [&](int64 from, int64 to) {
        for (int64 i = from * rows; i < to * rows; ++i) {
            const int64 y = i % rows + top;
            T* target = out + i * line;
            if (y < 0 || y >= height) {
                if (!accumulate) std::memset(target, 0, std::size_t(line) * sizeof(T));
                continue;
            }
            const T* source = x + ((i / rows * height + y) * width + left) * channels;
            if (accumulate) {
                INDEPENDENT
                for (int64 c = first; c < last; ++c) target[c] += source[c];
                continue;
            }
            std::memset(target, 0, std::size_t(first) * sizeof(T));
            std::memcpy(target + first, source + first, std::size_t(last - first) * sizeof(T));
            std::memset(target + last, 0, std::size_t(line - last) * sizeof(T));
        }
    });
}

// out (samples, b, a) (+)= x (samples, a, b)
template <typename T>
void swap_axes(const T* x, int64 samples, int64 a, int64 b, bool accumulate, T* out) {
    over_samples(samples, a * b, [&](int64 from, int64 to) {
        if (a == 1 || b == 1) {  // the same elements in the same order
            INDEPENDENT
            for (int64 i = from * a * b; i < to * a * b; ++i)
                out[i] = accumulate ? out[i] + x[i] : x[i];
            return;
        }
        for (int64 n = from; n < to; ++n)
            turn(x + n * a * b, b, a, b, out + n * a * b, a, accumulate);
    });
}

template <typename T> void add_all() {
    add<&crop_or_pad<T>>("crop_or_pad", {name_of<T>()});
    add<&swap_axes<T>>("swap_axes", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_all)
});

}  // namespace
