// Multi-head attention with the neighbor mask, forward and backward. The matrix of scores is never stored: a warp holds a few
// queries (backward also keys) and goes through the others 32 at a time, one per lane.
#ifndef __METAL_VERSION__
#include "prelude.h"
#endif

struct AttentionParams {
    u32 queries, keys, heads, width;
    // The columns of the token grid, or 0 without a mask. A token must not attend to tokens within `above` rows and `beside`
    // columns.
    u32 columns, above, beside;
    // The factor of the scores: 1 / sqrt(width).
    float scale;
};

#define WARPS 4
// Rows per warp, forward and backward.
#define FORWARD_ROWS 4
#define BACKWARD_ROWS 2
// A tile of 32 rows by 32 channels. A padding column avoids bank conflicts.
#define TILE (32 * 33)

INLINE u32 distance_between(u32 a, u32 b) { return a > b ? a - b : b - a; }

INLINE bool is_masked(CONSTANT AttentionParams &p, u32 a, u32 b) {
    return p.columns > 0 && distance_between(a / p.columns, b / p.columns) <= p.above &&
           distance_between(a % p.columns, b % p.columns) <= p.beside;
}

// Loads a group's rows into shared memory; rows past the last are zeros.
template <typename T>
INLINE void load_rows(GLOBAL const T *rows, u32 first, u32 wanted, u32 count, u32 stride, u32 width, Position at, SHARED float *to) {
    for (u32 i = at.index; i < wanted * width; i += at.threads) {
        u32 row = i / width, column = i % width;
        to[i] = first + row < count ? to_float(rows[(u64)(first + row) * stride + column]) : 0.0f;
    }
}

// products[r] = own row r times row `first` + lane. All threads of the group must call it.
template <typename T, int R>
INLINE void products_with_lanes(SHARED const float *own, GLOBAL const T *rows, u32 first, u32 count, u32 stride, u32 width, Position at, SHARED float *tile, LOCAL float (&products)[R]) {
    u32 lane = at.index % 32;
    for (int r = 0; r < R; r++) products[r] = 0;
    for (u32 start = 0; start < width; start += 32) {
        for (u32 i = at.index; i < 32 * 32; i += at.threads) {
            u32 row = i / 32, column = i % 32;
            bool in_range = first + row < count && start + column < width;
            tile[row * 33 + column] = in_range ? to_float(rows[(u64)(first + row) * stride + start + column]) : 0.0f;
        }
        group_barrier();
        u32 columns = width - start < 32 ? width - start : 32;
        for (u32 i = 0; i < columns; i++) {
            float x = tile[lane * 33 + i];
            for (int r = 0; r < R; r++) products[r] += own[r * width + start + i] * x;
        }
        group_barrier();
    }
}

// sums[r][v] += sum over the 32 rows from `first` on of weights[r][row] * row[v * 32 + lane].
template <typename T, int R, int V>
INLINE void add_weighted_rows(SHARED const float *weights, GLOBAL const T *rows, u32 first, u32 count, u32 stride, u32 width, u32 lane, LOCAL float (&sums)[R][V]) {
    u32 in_range = count - first < 32 ? count - first : 32;
    for (u32 row = 0; row < in_range; row++) {
        GLOBAL const T *from = rows + (u64)(first + row) * stride;
        for (int v = 0; v < V; v++) {
            u32 column = v * 32 + lane;
            float x = column < width ? to_float(from[column]) : 0.0f;
            for (int r = 0; r < R; r++) sums[r][v] += weights[r * 32 + row] * x;
        }
    }
}

template <typename T, int R, int V>
INLINE void store_rows(LOCAL const float (&sums)[R][V], LOCAL const float (&factors)[R], GLOBAL T *rows, u32 first, u32 count, u32 stride, u32 width, u32 lane) {
    for (int r = 0; r < R; r++) {
        if (first + r >= count) continue;
        for (int v = 0; v < V; v++) {
            u32 column = v * 32 + lane;
            if (column < width) rows[(u64)(first + r) * stride + column] = from_float<T>(sums[r][v] * factors[r]);
        }
    }
}

// The online softmax: the largest score so far, and the sum of exp(score - largest).
template <int R> struct Running {
    float largest[R], sum[R];
};

// Adds 32 scores to the online softmax and replaces them by their exponentials. `shrink` is the factor for earlier sums.
template <int R>
INLINE void add_scores(CONSTANT AttentionParams &p, u32 query, u32 key, LOCAL float (&scores)[R], LOCAL Running<R> &running, LOCAL float (&shrink)[R]) {
    for (int r = 0; r < R; r++) {
        bool seen = key < p.keys && !is_masked(p, query + r, key);
        float score = seen ? scores[r] * p.scale : -INFINITY;
        float largest = max_of(running.largest[r], max_of_lanes(score));
        shrink[r] = running.largest[r] == -INFINITY ? 0.0f : exp_of(running.largest[r] - largest);
        scores[r] = seen ? exp_of(score - largest) : 0.0f;
        running.sum[r] = running.sum[r] * shrink[r] + sum_of_lanes(scores[r]);
        running.largest[r] = largest;
    }
}

// Groups (rows / 16, heads, batch) of 128 threads. `shared`: 16 rows of the width, a tile, and 16 x 32 weights.
template <typename T, int V>
INLINE void attention_forward(CONSTANT AttentionParams &p, GLOBAL const T *query, GLOBAL const T *key, GLOBAL const T *value, GLOBAL T *y, Position at, SHARED float *shared) {
    const int R = FORWARD_ROWS;
    u32 warp = at.index / 32, lane = at.index % 32, stride = p.heads * p.width;
    u32 group_first = at.group_x * WARPS * R, first = group_first + warp * R;
    u64 head = (u64)at.group_y * p.width;
    query += (u64)at.group_z * p.queries * stride + head;
    y += (u64)at.group_z * p.queries * stride + head;
    key += (u64)at.group_z * p.keys * stride + head;
    value += (u64)at.group_z * p.keys * stride + head;
    SHARED float *own = shared, *tile = own + WARPS * R * p.width, *weights = tile + TILE + warp * R * 32;
    load_rows(query, group_first, WARPS * R, p.queries, stride, p.width, at, own);
    group_barrier();
    Running<R> running;
    float sums[R][V], scores[R], shrink[R];
    for (int r = 0; r < R; r++) {
        running.largest[r] = -INFINITY;
        running.sum[r] = 0;
        for (int v = 0; v < V; v++) sums[r][v] = 0;
    }
    for (u32 start = 0; start < p.keys; start += 32) {
        products_with_lanes<T, R>(own + warp * R * p.width, key, start, p.keys, stride, p.width, at, tile, scores);
        add_scores<R>(p, first, start + lane, scores, running, shrink);
        for (int r = 0; r < R; r++) {
            weights[r * 32 + lane] = scores[r];
            for (int v = 0; v < V; v++) sums[r][v] *= shrink[r];
        }
        group_barrier();
        add_weighted_rows<T, R, V>(weights, value, start, p.keys, stride, p.width, lane, sums);
        group_barrier();
    }
    float factors[R];
    // The output is zero if all keys are masked.
    for (int r = 0; r < R; r++) factors[r] = running.largest[r] == -INFINITY ? 0.0f : 1.0f / running.sum[r];
    store_rows<T, R, V>(sums, factors, y, first, p.queries, stride, p.width, lane);
}

// For each query, the logarithm of the sum of exponentials of its scores, and dy . y: `[batch, heads, queries, 2]`. Groups and
// `shared` as in attention_forward.
template <typename T>
INLINE void attention_statistics(CONSTANT AttentionParams &p, GLOBAL const T *query, GLOBAL const T *key, GLOBAL const T *y, GLOBAL const T *dy, GLOBAL float *statistics, Position at, SHARED float *shared) {
    const int R = FORWARD_ROWS;
    u32 warp = at.index / 32, lane = at.index % 32, stride = p.heads * p.width;
    u32 group_first = at.group_x * WARPS * R, first = group_first + warp * R;
    u64 head = (u64)at.group_y * p.width, image = (u64)at.group_z * p.queries * stride + head;
    query += image;
    y += image;
    dy += image;
    key += (u64)at.group_z * p.keys * stride + head;
    statistics += ((u64)at.group_z * p.heads + at.group_y) * p.queries * 2;
    SHARED float *own = shared, *tile = own + WARPS * R * p.width;
    load_rows(query, group_first, WARPS * R, p.queries, stride, p.width, at, own);
    group_barrier();
    Running<R> running;
    float scores[R], shrink[R];
    for (int r = 0; r < R; r++) {
        running.largest[r] = -INFINITY;
        running.sum[r] = 0;
    }
    for (u32 start = 0; start < p.keys; start += 32) {
        products_with_lanes<T, R>(own + warp * R * p.width, key, start, p.keys, stride, p.width, at, tile, scores);
        add_scores<R>(p, first, start + lane, scores, running, shrink);
    }
    for (int r = 0; r < R; r++) {
        u32 row = first + r;
        if (row >= p.queries) continue;
        float along = 0;
        for (u32 i = lane; i < p.width; i += 32) along += to_float(y[(u64)row * stride + i]) * to_float(dy[(u64)row * stride + i]);
        along = sum_of_lanes(along);
        if (lane == 0) {
            // If all keys are masked, the backward pass masks every weight: any value will do.
            bool sees = running.largest[r] != -INFINITY;
            statistics[2 * (u64)row] = sees ? running.largest[r] + log_of(running.sum[r]) : 0.0f;
            statistics[2 * (u64)row + 1] = along;
        }
    }
}

// The gradients of queries, or (KEYS) of keys and values. With w = exp(score - log of the sum) and d = w (dy . value - dy . y) /
// sqrt(width), the gradient of a query is the sum over keys of d key, the gradient of a key the sum over queries of d query, and
// the gradient of a value the sum over queries of w dy. Groups (rows / 8, heads, batch) of 128 threads. `shared`: 2 x 8 rows of the
// width, a tile, and 2 x 8 x 32 weights.
template <typename T, int V, bool KEYS>
INLINE void attention_backward(CONSTANT AttentionParams &p, GLOBAL const T *query, GLOBAL const T *key, GLOBAL const T *value, GLOBAL const T *dy, GLOBAL const float *statistics, GLOBAL T *d_first, GLOBAL T *d_second, Position at, SHARED float *shared) {
    const int R = BACKWARD_ROWS;
    u32 warp = at.index / 32, lane = at.index % 32, stride = p.heads * p.width;
    u32 group_first = at.group_x * WARPS * R, first = group_first + warp * R;
    u64 head = (u64)at.group_y * p.width;
    u64 queries_at = (u64)at.group_z * p.queries * stride + head, keys_at = (u64)at.group_z * p.keys * stride + head;
    query += queries_at;
    dy += queries_at;
    key += keys_at;
    value += keys_at;
    statistics += ((u64)at.group_z * p.heads + at.group_y) * p.queries * 2;
    u32 count = KEYS ? p.keys : p.queries, others = KEYS ? p.queries : p.keys;
    GLOBAL const T *other_score = KEYS ? query : key, *other_mix = KEYS ? dy : value;
    SHARED float *own_score = shared, *own_mix = own_score + WARPS * R * p.width, *tile = own_mix + WARPS * R * p.width;
    SHARED float *scaled = tile + TILE + warp * 2 * R * 32, *weights = scaled + R * 32;
    load_rows(KEYS ? key : query, group_first, WARPS * R, count, stride, p.width, at, own_score);
    load_rows(KEYS ? value : dy, group_first, WARPS * R, count, stride, p.width, at, own_mix);
    group_barrier();
    float scores[R], mixes[R], score_sums[R][V], mix_sums[R][V], ones[R];
    for (int r = 0; r < R; r++) {
        ones[r] = 1.0f;
        for (int v = 0; v < V; v++) score_sums[r][v] = mix_sums[r][v] = 0;
    }
    for (u32 start = 0; start < others; start += 32) {
        products_with_lanes<T, R>(own_score + warp * R * p.width, other_score, start, others, stride, p.width, at, tile, scores);
        products_with_lanes<T, R>(own_mix + warp * R * p.width, other_mix, start, others, stride, p.width, at, tile, mixes);
        for (int r = 0; r < R; r++) {
            u32 row = first + r, other = start + lane, query_row = KEYS ? other : row;
            bool seen = row < count && other < others && !is_masked(p, row, other);
            float weight = seen ? exp_of(scores[r] * p.scale - statistics[2 * (u64)query_row]) : 0.0f;
            weights[r * 32 + lane] = weight;
            scaled[r * 32 + lane] = seen ? weight * (mixes[r] - statistics[2 * (u64)query_row + 1]) * p.scale : 0.0f;
        }
        group_barrier();
        add_weighted_rows<T, R, V>(scaled, other_score, start, others, stride, p.width, lane, score_sums);
        if (KEYS) add_weighted_rows<T, R, V>(weights, other_mix, start, others, stride, p.width, lane, mix_sums);
        group_barrier();
    }
    u64 out = KEYS ? keys_at : queries_at;
    store_rows<T, R, V>(score_sums, ones, d_first + out, first, count, stride, p.width, lane);
    if (KEYS) store_rows<T, R, V>(mix_sums, ones, d_second + out, first, count, stride, p.width, lane);
}

template <typename T, int V>
INLINE void attention_query_gradient(CONSTANT AttentionParams &p, GLOBAL const T *query, GLOBAL const T *key, GLOBAL const T *value, GLOBAL const T *dy, GLOBAL const float *statistics, GLOBAL T *d_query, Position at, SHARED float *shared) {
    attention_backward<T, V, false>(p, query, key, value, dy, statistics, d_query, d_query, at, shared);
}

template <typename T, int V>
INLINE void attention_key_gradients(CONSTANT AttentionParams &p, GLOBAL const T *query, GLOBAL const T *key, GLOBAL const T *value, GLOBAL const T *dy, GLOBAL const float *statistics, GLOBAL T *d_key, GLOBAL T *d_value, Position at, SHARED float *shared) {
    attention_backward<T, V, true>(p, query, key, value, dy, statistics, d_key, d_value, at, shared);
}

#define COMMA ,
#define ATTENTION_OF_WIDTH(T, V)                                                                                               \
    KERNEL4(attention_forward_##T##_##V, attention_forward<T COMMA V>, AttentionParams, GLOBAL const T *, GLOBAL const T *, GLOBAL const T *, GLOBAL T *) \
    KERNEL6(attention_query_gradient_##T##_##V, attention_query_gradient<T COMMA V>, AttentionParams, GLOBAL const T *, GLOBAL const T *, GLOBAL const T *, GLOBAL const T *, GLOBAL const float *, GLOBAL T *) \
    KERNEL7(attention_key_gradients_##T##_##V, attention_key_gradients<T COMMA V>, AttentionParams, GLOBAL const T *, GLOBAL const T *, GLOBAL const T *, GLOBAL const T *, GLOBAL const float *, GLOBAL T *, GLOBAL T *)
#define ATTENTION(T)                                                                                                           \
    KERNEL5(attention_statistics_##T, attention_statistics<T>, AttentionParams, GLOBAL const T *, GLOBAL const T *, GLOBAL const T *, GLOBAL const T *, GLOBAL float *) \
    ATTENTION_OF_WIDTH(T, 1)                                                                                                   \
    ATTENTION_OF_WIDTH(T, 2)                                                                                                   \
    ATTENTION_OF_WIDTH(T, 4)                                                                                                   \
    ATTENTION_OF_WIDTH(T, 8)                                                                                                   \
    ATTENTION_OF_WIDTH(T, 16)

ATTENTION(float)
ATTENTION(f16)
#ifdef DUALAD_BF16
ATTENTION(bf16)
#endif
