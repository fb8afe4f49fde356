// Writes one stage's map to its channels of the tokens: average pooling if the map is finer than the tokens, nearest-neighbor
// upsampling if it is coarser.
#ifndef __METAL_VERSION__
#include "prelude.h"
#endif

struct AggregateParams {
    u32 batch, channels, rows, columns;
    // The token grid, and the channels of a token over all stages.
    u32 token_rows, token_columns, token_channels;
    // The stage's first channel.
    u32 first_channel;
    // Map cells per side of a token, and tokens per side of a map cell. One of them is 1.
    u32 pool, repeat;
};

// Groups (token columns * channels / threads, token rows, batch). Adjacent threads read adjacent columns of a channel.
template <typename T>
INLINE void aggregate(CONSTANT AggregateParams &p, GLOBAL const T *map, GLOBAL T *tokens, Position at, SHARED float *) {
    u32 index = at.group_x * at.threads + at.index;
    if (index >= p.token_columns * p.channels) return;
    u32 channel = index / p.token_columns, column = index % p.token_columns, row = at.group_y;
    GLOBAL const T *plane = map + ((u64)at.group_z * p.channels + channel) * p.rows * p.columns;
    float sum = 0;
    for (u32 y = 0; y < p.pool; y++)
        for (u32 x = 0; x < p.pool; x++)
            sum += to_float(plane[(u64)(row * p.pool / p.repeat + y) * p.columns + column * p.pool / p.repeat + x]);
    u64 token = ((u64)at.group_z * p.token_rows + row) * p.token_columns + column;
    tokens[token * p.token_channels + p.first_channel + channel] = from_float<T>(sum / (float)(p.pool * p.pool));
}

#define AGGREGATE(T) KERNEL2(aggregate_##T, aggregate<T>, AggregateParams, GLOBAL const T *, GLOBAL T *)

AGGREGATE(float)
AGGREGATE(f16)
#ifdef DUALAD_BF16
AGGREGATE(bf16)
#endif
