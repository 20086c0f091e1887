// Arrays of several networks with one network in each lane: element i of network l is at
// i * NETWORKS + l.
#pragma once
#include "lanes.hpp"
#include "vectors.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

namespace {

typedef const char* From[NETWORKS];
typedef char* To[NETWORKS];

// The first n elements of each network, starting at `offset` bytes, to lanes.
template <typename T> ONCE void to_lanes(const From& own, int64 offset, int64 n, T* lanes) {
    typedef Vector<T> V;
    const int64 whole = n - n % V::lanes;
    const auto at = [&](int l) { return reinterpret_cast<const T*>(own[l] + offset); };
    for (int first = 0; first < NETWORKS; first += V::lanes)
        for (int64 i = 0; i < whole; i += V::lanes) {
            typename V::type square[V::lanes];
            UNROLLED
            for (int l = 0; l < V::lanes; ++l) square[l] = V::load(at(first + l) + i);
            transpose<T>(square);
            UNROLLED
            for (int k = 0; k < V::lanes; ++k)
                V::store(lanes + (i + k) * NETWORKS + first, square[k]);
        }
    for (int64 i = whole; i < n; ++i)
        for (int l = 0; l < NETWORKS; ++l) lanes[i * NETWORKS + l] = at(l)[i];
}

// The other way; a network whose address is null is left out.
template <typename T> ONCE void from_lanes(const T* lanes, const To& own, int64 offset, int64 n) {
    typedef Vector<T> V;
    const int64 whole = n - n % V::lanes;
    const auto at = [&](int l) { return reinterpret_cast<T*>(own[l] + offset); };
    for (int first = 0; first < NETWORKS; first += V::lanes)
        for (int64 i = 0; i < whole; i += V::lanes) {
            typename V::type square[V::lanes];
            UNROLLED
            for (int k = 0; k < V::lanes; ++k)
                square[k] = V::load(lanes + (i + k) * NETWORKS + first);
            transpose<T>(square);
            UNROLLED
            for (int l = 0; l < V::lanes; ++l)
                if (own[first + l]) V::store(at(first + l) + i, square[l]);
        }
    for (int64 i = whole; i < n; ++i)
        for (int l = 0; l < NETWORKS; ++l)
            if (own[l]) at(l)[i] = lanes[i * NETWORKS + l];
}

// Elements of one byte, such as masks.
inline void to_lanes(const From& own, int64 offset, int64 n, uint8* lanes) {
    for (int l = 0; l < NETWORKS; ++l)
        for (int64 i = 0; i < n; ++i) lanes[i * NETWORKS + l] = uint8(own[l][offset + i]);
}
inline void from_lanes(const uint8* lanes, const To& own, int64 offset, int64 n) {
    for (int l = 0; l < NETWORKS; ++l)
        for (int64 i = 0; own[l] && i < n; ++i) own[l][offset + i] = char(lanes[i * NETWORKS + l]);
}

inline int64 size_of(Type type) {
    switch (type) {
        case Type::float64: case Type::int64: case Type::uint64: return 8;
        case Type::float32: case Type::int32: case Type::uint32: return 4;
        case Type::int16: case Type::uint16: case Type::float16: return 2;
        default: return 1;
    }
}

// Memory of each network that is also in lanes.
struct Region {
    const char* begin;  // of network 0
    const char* end;
    int64 size;         // of an element, in bytes
    To own = {};        // of each network; lanes without one read network 0, and write nothing
    char* lanes = nullptr;

    bool overlaps(const void* array, int64 bytes) const {
        const char* first = static_cast<const char*>(array);
        return first < end && begin < first + bytes;
    }

    void read(int64 offset, int64 bytes) {
        From from;
        for (int l = 0; l < NETWORKS; ++l) from[l] = own[l] ? own[l] : own[0];
        char* to = lanes + offset * NETWORKS;
        if (size == 8) to_lanes(from, offset, bytes / 8, reinterpret_cast<double*>(to));
        else if (size == 4) to_lanes(from, offset, bytes / 4, reinterpret_cast<float*>(to));
        else to_lanes(from, offset, bytes, reinterpret_cast<uint8*>(to));
    }
    void write(int64 offset, int64 bytes, const bool (&active)[NETWORKS]) const {
        To to;
        for (int l = 0; l < NETWORKS; ++l) to[l] = active[l] ? own[l] : nullptr;
        const char* from = lanes + offset * NETWORKS;
        if (size == 8) from_lanes(reinterpret_cast<const double*>(from), to, offset, bytes / 8);
        else if (size == 4) from_lanes(reinterpret_cast<const float*>(from), to, offset, bytes / 4);
        else from_lanes(reinterpret_cast<const uint8*>(from), to, offset, bytes);
    }
};

// Memory for vectors.
class Aligned {
  public:
    explicit Aligned(std::size_t bytes)
        : memory(static_cast<char*>(::operator new(bytes + 64, std::align_val_t(64)))) {
        std::memset(memory, 0, bytes + 64);
    }
    Aligned(Aligned&& other) noexcept : memory(other.memory) { other.memory = nullptr; }
    Aligned(const Aligned&) = delete;
    ~Aligned() { if (memory) ::operator delete(memory, std::align_val_t(64)); }
    template <typename T> T* as() const { return reinterpret_cast<T*>(memory); }

  private:
    char* memory;
};

}  // namespace
