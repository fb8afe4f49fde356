// One stage's map into the tokens' buffer: means over squares where the map is finer than the tokens, repeated where it is
// coarser.
#ifndef __METAL_VERSION__
#include "prelude.h"
#endif

struct AggregateParams {
    u32 batch, channels, rows, columns;
    // The tokens' grid, and all channels of a token.
    u32 token_rows, token_columns, token_channels;
    // This stage's first channel.
    u32 first_channel;
    // Cells of the map that a token's pool takes, or 1; tokens that a cell's pool takes, or 1.
    u32 pool, repeat;
};

// Groups (tokens' columns and channels / threads, tokens' rows, batch): neighbouring threads have neighbouring columns of one
// channel's plane.
template <typename T>
INLINE void aggregate(CONSTANT AggregateParams &p, GLOBAL const T *map, GLOBAL T *tokens, At at, SHARED float *) {
    u32 index = at.group_x * at.threads + at.index;
    if (index >= p.token_columns * p.channels) return;
    u32 channel = index / p.token_columns, column = index % p.token_columns, row = at.group_y;
    GLOBAL const T *plane = map + ((u64)at.group_z * p.channels + channel) * p.rows * p.columns;
    float sum = 0;
    for (u32 y = 0; y < p.pool; y++)
        for (u32 x = 0; x < p.pool; x++)
            sum += number(plane[(u64)(row * p.pool / p.repeat + y) * p.columns + column * p.pool / p.repeat + x]);
    u64 token = ((u64)at.group_z * p.token_rows + row) * p.token_columns + column;
    tokens[token * p.token_channels + p.first_channel + channel] = stored<T>(sum / (float)(p.pool * p.pool));
}

#define AGGREGATE(T) KERNEL2(aggregate_##T, aggregate<T>, AggregateParams, GLOBAL const T *, GLOBAL T *)

AGGREGATE(float)
AGGREGATE(f16)
#ifdef DUALAD_BF16
AGGREGATE(bf16)
#endif
