// Random numbers that are computed from a key and a counter: any thread gets any of them
// independently of the others, and NumPy gets the same ones.
#pragma once
#include "math.cuh"

struct Words { uint64 word[4]; };

constexpr uint64 PHILOX_0 = 0xD2E7470EE14C6C93ULL, PHILOX_1 = 0xCA5A826395121157ULL;
constexpr uint64 PHILOX_KEY_0 = 0x9E3779B97F4A7C15ULL, PHILOX_KEY_1 = 0xBB67AE8584CAA73BULL;

// Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): the block
// of four words that numpy.random.Philox(key=key) produces with this counter. NumPy adds one to
// its counter before each block, so its first block after Philox(counter=c) is that of c + 1.
HD Words philox(Words counter, uint64 key_0, uint64 key_1) {
    uint64* c = counter.word;
    for (int round = 0; round < 10; ++round) {
        const uint64 high_0 = math::high_product(PHILOX_0, c[0]);
        const uint64 low_0 = PHILOX_0 * c[0];
        const uint64 high_1 = math::high_product(PHILOX_1, c[2]);
        const uint64 low_1 = PHILOX_1 * c[2];
        c[0] = high_1 ^ c[1] ^ key_0;
        c[1] = low_1;
        c[2] = high_0 ^ c[3] ^ key_1;
        c[3] = low_0;
        key_0 += PHILOX_KEY_0;
        key_1 += PHILOX_KEY_1;
    }
    return counter;
}

// A float32 number in [0, 1) from the upper 24 of 32 bits.
HD float fraction(uint32 bits) { return float(bits >> 8) * 5.9604644775390625e-8f; }  // 2^-24

// Value i (0 to 7) of the block's float32 values, as Generator.random makes them: the low half of
// each word before its high half.
HD float uniform(const Words& block, int i) {
    return fraction(uint32(block.word[i / 2] >> (i % 2 ? 32 : 0)));
}

template <typename T> struct Pair { T first, second; };

// Two independent normal values times `stddev` from two uniform ones, 2 pair and 2 pair + 1 of the
// block (Box and Muller, 1958). The argument of the logarithm is at least 2^-24, never 0.
template <typename T> HD Pair<T> normal_pair(const Words& block, int pair, T stddev) {
    const T u = T(uniform(block, 2 * pair)), turns = T(uniform(block, 2 * pair + 1));
    const T radius = stddev * math::sqrt(T(-2) * math::log(T(1) - u));
    return {radius * math::cos_turns(turns), radius * math::sin_turns(turns)};
}

// The shuffled order of gpunn/backends/shared/order.py, for one row at a time.
constexpr int ORDER_ROUNDS = 6;

// The keys of a pass: SplitMix64 (Steele et al., 2014).
struct OrderKeys {
    uint32 key[ORDER_ROUNDS];

    HD OrderKeys(uint64 seed, uint64 pass) {
        for (int i = 0; i < ORDER_ROUNDS; ++i) {
            uint64 z = seed + pass * 0xD1342543DE82EF95ULL + (uint64(i) + 1) * 0x9E3779B97F4A7C15ULL;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
            key[i] = uint32((z ^ (z >> 31)) >> 32);
        }
    }
};

HD uint32 order_mix(uint32 x, uint32 key) {
    uint32 h = (x + key) * 0x85EBCA6Bu;
    h ^= h >> 15;
    h *= 0xC2B2AE35u;
    h ^= h >> 13;
    return h;
}

// A Feistel network on numbers of `bits` bits.
HD uint32 order_mixed(uint32 x, int bits, const OrderKeys& keys) {
    const int low = bits / 2;
    const uint32 right_mask = (1u << low) - 1;
    const uint32 left_mask = (1u << (bits - low)) - 1;
    uint32 left = x >> low;
    uint32 right = x & right_mask;
    for (int i = 0; i < ORDER_ROUNDS; i += 2) {
        left ^= order_mix(right, keys.key[i]) & left_mask;
        right ^= order_mix(left, keys.key[i + 1]) & right_mask;
    }
    return (left << low) | right;
}

HD int order_bits(uint32 rows) {
    int bits = 2;
    while (bits < 32 && (rows - 1) >> bits) ++bits;
    return bits;
}

// The row at index `place` (below `rows`) of the pass with these keys: the network on the smallest
// power of two that holds all rows, iterated until it yields an existing row.
HD uint32 order_row(uint32 place, uint32 rows, const OrderKeys& keys) {
    const int bits = order_bits(rows);
    uint32 x = place;
    do {
        x = order_mixed(x, bits, keys);
    } while (x >= rows);
    return x;
}
