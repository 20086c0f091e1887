// Attention in blocks of queries: the scores of a block stay in a cache, and no others exist.
#include "matmul.hpp"
#include "operation.hpp"
#include "rows.hpp"
#include "tiles.hpp"

namespace {

// Queries of a block, at most.
constexpr int64 QUERIES = 64;

// Where each head's values begin, and how far its steps are apart: arrays are (batch, steps, heads,
// size).
struct Sizes {
    int64 batch, queries, keys, heads, size, depth;

    int64 row(int64 steps, int64 width, int64 sample, int64 head) const {
        return sample * steps * heads * width + head * width;
    }
};

// Which keys a query sees; the mask's axes (batch, heads, queries, keys) may have length 1.
struct Seen {
    const bool* mask;
    int64 of_sample, of_head, of_query, of_key;
    bool causal;

    Seen(const bool* mask, int64 batch, int64 heads, int64 queries, int64 keys, bool causal)
        : mask(mask), of_sample(batch > 1 ? heads * queries * keys : 0),
          of_head(heads > 1 ? queries * keys : 0), of_query(queries > 1 ? keys : 0),
          of_key(keys > 1), causal(causal) {}
};

// to (rows, size) = scale x, whose rows are `apart`
template <typename T>
void scaled(const T* x, int64 rows, int64 size, int64 apart, T scale, T* to) {
    for (int64 r = 0; r < rows; ++r) {
        INDEPENDENT
        for (int64 i = 0; i < size; ++i) to[r * size + i] = scale * x[r * apart + i];
    }
}

// scores (rows, width) = softmax(q k^T) of some queries from `first` on, for the first `visible`
// keys; rows are padded to whole chunks with 0. blind[row]: whether it sees none.
template <typename T>
void weigh(const T* q, const T* k, const Sizes& of, const Seen& seen, const bool* mask,
           int64 first, int64 rows, int64 visible, int64 width, T* scores, bool* blind) {
    const T lowest = std::numeric_limits<T>::lowest();
    matmul(q, k, scores, rows, visible, of.size, of.size, of.heads * of.size, width, false, true,
           false);
    for (int64 r = 0; r < rows; ++r) {
        T* row = scores + r * width;
        const int64 last = seen.causal ? std::min(first + r + 1, visible) : visible;
        for (int64 c = visible; c < width; ++c) row[c] = math::minus_infinity<T>();
        Chunk<T> maximum = all(math::minus_infinity<T>()), sum = all(T(0));
        if (mask) {
            const bool* may = mask + (first + r) * seen.of_query;
            for (int64 c = 0; c < visible; ++c)
                if (!may[c * seen.of_key]) row[c] = lowest;
        }
        for (int64 c = last; c < visible; ++c) row[c] = lowest;
        for (int64 c = 0; c < width; c += LANES) {
            EACH_LANE
            for (int l = 0; l < LANES; ++l)
                maximum[l] = row[c + l] > maximum[l] ? row[c + l] : maximum[l];
        }
        const T top = LongRow<T>::largest(maximum)[0];
        blind[r] = top == lowest;
        for (int64 c = 0; c < width; c += LANES) {
            EACH_LANE
            for (int l = 0; l < LANES; ++l) {
                const T term = math::exp(row[c + l] - top);
                row[c + l] = term;
                sum[l] += term;
            }
        }
        const T total = LongRow<T>::sums(sum)[0];
        for (int64 c = 0; c < width; c += LANES) {
            EACH_LANE
            for (int l = 0; l < LANES; ++l) row[c + l] /= total;
        }
    }
}

// work(first query, rows, keys that one of them may see, these in whole chunks) for each block of
// queries from `start` on.
template <typename Work>
void each_block(const Sizes& of, const Seen& seen, int64 start, int64 stop, Work work) {
    for (int64 first = start; first < stop; first += QUERIES) {
        const int64 rows = std::min(QUERIES, stop - first);
        // A query whose keys are all masked weighs all of them alike: none may be left out.
        const bool part = seen.causal && !seen.mask;
        const int64 visible = part ? std::min(of.keys, first + rows) : of.keys;
        work(first, rows, visible, (visible + LANES - 1) / LANES * LANES);
    }
}

// out = softmax(scale q k^T) v, for each sample and head
template <typename T>
void attention(const T* q, const T* k, const T* v, const bool* mask, int64 masks, int64 mask_heads,
               int64 mask_queries, int64 mask_keys, int64 batch, int64 queries, int64 keys,
               int64 heads, int64 size, int64 depth, double scale, bool causal, T* out) {
    const Sizes of{batch, queries, keys, heads, size, depth};
    const Seen seen(mask, masks, mask_heads, mask_queries, mask_keys, causal);
    const int64 stacks = batch * heads, blocks = (queries + QUERIES - 1) / QUERIES;
    const int64 cuts = stacks >= 4 * threads() ? 1 : blocks, each = (blocks + cuts - 1) / cuts;
    parallel(stacks * cuts, [&](int64 piece) {
        thread_local Room<T> room;
        const int64 stack = piece / cuts, start = piece % cuts * each * QUERIES;
        const int64 sample = stack / heads, head = stack % heads;
        const T* from = q + of.row(queries, size, sample, head);
        const T* right = k + of.row(keys, size, sample, head);
        const T* values = v + of.row(keys, depth, sample, head);
        T* to = out + of.row(queries, depth, sample, head);
        const bool* own = mask ? mask + sample * seen.of_sample + head * seen.of_head : nullptr;
        each_block(of, seen, start, std::min(queries, start + each * QUERIES),
                   [&](int64 first, int64 rows, int64 visible, int64 width) {
            T* scores = room.of(QUERIES * (width + size));
            T* block = scores + QUERIES * width;
            bool blind[QUERIES];
            scaled(from + first * heads * size, rows, size, heads * size, T(scale), block);
            weigh(block, right, of, seen, own, first, rows, visible, width, scores, blind);
            matmul(scores, values, to + first * heads * depth, rows, depth, visible, width,
                   heads * depth, heads * depth, false, false, false);
        });
    });
}

// Its gradient, with the scores computed again: with p the weights and dp = dy v^T,
// ds = p (dp - sum p dp): dq = scale ds k, dk = scale ds^T q, dv = p^T dy.
template <typename T>
void attention_gradient(const T* q, const T* k, const T* v, const bool* mask, int64 masks,
                        int64 mask_heads, int64 mask_queries, int64 mask_keys, const T* dy,
                        int64 batch, int64 queries, int64 keys, int64 heads, int64 size,
                        int64 depth, double scale, bool causal, T* dq, T* dk, T* dv) {
    const Sizes of{batch, queries, keys, heads, size, depth};
    const Seen seen(mask, masks, mask_heads, mask_queries, mask_keys, causal);
    parallel(batch * heads, [&](int64 stack) {
        thread_local Room<T> room;
        const int64 sample = stack / heads, head = stack % heads;
        const int64 apart = heads * size, deep = heads * depth;
        const int64 of_q = of.row(queries, size, sample, head);
        const int64 of_k = of.row(keys, size, sample, head);
        const int64 of_v = of.row(keys, depth, sample, head);
        const T* slopes = dy + of.row(queries, depth, sample, head);
        const bool* own = mask ? mask + sample * seen.of_sample + head * seen.of_head : nullptr;
        for (int64 c = 0; c < keys; ++c) {
            std::fill_n(dk + of_k + c * apart, size, T(0));
            std::fill_n(dv + of_v + c * deep, depth, T(0));
        }
        each_block(of, seen, 0, queries, [&](int64 first, int64 rows, int64 visible, int64 width) {
            T* weights = room.of(QUERIES * (2 * width + size));
            T* change = weights + QUERIES * width;
            T* block = change + QUERIES * width;
            scaled(q + of_q + first * apart, rows, size, apart, T(scale), block);
            const T* slope = slopes + first * deep;
            bool blind[QUERIES];
            weigh(block, k + of_k, of, seen, own, first, rows, visible, width, weights, blind);
            matmul(weights, slope, dv + of_v, visible, depth, rows, width, deep, deep, true, false,
                   true);
            matmul(slope, v + of_v, change, rows, visible, depth, deep, deep, width, false, true,
                   false);
            for (int64 r = 0; r < rows; ++r) {
                const T* weight = weights + r * width;
                T* row = change + r * width;
                Chunk<T> sum = all(T(0));
                for (int64 c = visible; c < width; ++c) row[c] = 0;
                for (int64 c = 0; c < width; c += LANES) {
                    EACH_LANE
                    for (int l = 0; l < LANES; ++l) sum[l] += weight[c + l] * row[c + l];
                }
                const T total = LongRow<T>::sums(sum)[0], seeing = blind[r] ? T(0) : T(1);
                for (int64 c = 0; c < width; c += LANES) {
                    EACH_LANE
                    for (int l = 0; l < LANES; ++l)
                        row[c + l] = weight[c + l] * (row[c + l] - total) * seeing;
                }
            }
            matmul(change, block, dk + of_k, visible, size, rows, width, size, apart, true, false,
                   true);
            T* to = dq + of_q + first * apart;
            matmul(change, k + of_k, block, rows, size, visible, width, apart, size, false, false,
                   false);
            for (int64 r = 0; r < rows; ++r) {
                INDEPENDENT
                for (int64 i = 0; i < size; ++i) to[r * apart + i] = T(scale) * block[r * size + i];
            }
        });
    });
}

template <typename T> void add_attention() {
    add<&attention<T>>("attention", {name_of<T>()});
    add<&attention_gradient<T>>("attention_gradient", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_attention)
});

}  // namespace
