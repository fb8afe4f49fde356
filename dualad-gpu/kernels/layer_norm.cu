// Layer norm over the last axis: y = g h + b, h = (x - mean) / sqrt(variance + eps).
#ifndef __METAL_VERSION__
#include "prelude.h"
#endif

struct NormParams {
    u32 rows, channels;
    float eps;
    // Rows that a group sums for the gradients of weight and bias.
    u32 rows_per_part;
};

struct Statistics {
    // The mean, and 1 / standard deviation.
    float mean, scale;
};

// The statistics of a row, computed by the lanes of a warp.
template <typename T> INLINE Statistics norm_statistics(GLOBAL const T *x, u32 channels, float eps, u32 lane) {
    float sum = 0;
    for (u32 i = lane; i < channels; i += 32) sum += to_float(x[i]);
    float mean = sum_of_lanes(sum) / (float)channels;
    float squares = 0;
    for (u32 i = lane; i < channels; i += 32) {
        float centered = to_float(x[i]) - mean;
        squares += centered * centered;
    }
    float std = sqrt_of(sum_of_lanes(squares) / (float)channels + eps);
    return Statistics{mean, 1.0f / std};
}

// One warp per row.
template <typename T>
INLINE void norm_forward(CONSTANT NormParams &p, GLOBAL const T *x, GLOBAL const T *weight, GLOBAL const T *bias, GLOBAL T *y, Position at, SHARED float *) {
    u32 lane = lane_of(at), row = row_of(at);
    if (row >= p.rows) return;
    x += (u64)row * p.channels;
    y += (u64)row * p.channels;
    Statistics own = norm_statistics(x, p.channels, p.eps, lane);
    for (u32 i = lane; i < p.channels; i += 32) {
        float h = (to_float(x[i]) - own.mean) * own.scale;
        y[i] = from_float<T>(h * to_float(weight[i]) + to_float(bias[i]));
    }
}

// dx = s (w dy - mean(w dy) - h mean(w dy h)), s = 1 / standard deviation. One warp per row. Also writes the row's statistics.
template <typename T>
INLINE void norm_input_gradient(CONSTANT NormParams &p, GLOBAL const T *x, GLOBAL const T *weight, GLOBAL const T *dy, GLOBAL T *dx, GLOBAL float *statistics, Position at, SHARED float *) {
    u32 lane = lane_of(at), row = row_of(at);
    if (row >= p.rows) return;
    x += (u64)row * p.channels;
    dy += (u64)row * p.channels;
    dx += (u64)row * p.channels;
    Statistics own = norm_statistics(x, p.channels, p.eps, lane);
    float mean = own.mean, scale = own.scale, plain = 0, along = 0;
    for (u32 i = lane; i < p.channels; i += 32) {
        float d = to_float(weight[i]) * to_float(dy[i]);
        plain += d;
        along += d * (to_float(x[i]) - mean) * scale;
    }
    plain = sum_of_lanes(plain) / (float)p.channels;
    along = sum_of_lanes(along) / (float)p.channels;
    for (u32 i = lane; i < p.channels; i += 32) {
        float h = (to_float(x[i]) - mean) * scale;
        dx[i] = from_float<T>(scale * (to_float(weight[i]) * to_float(dy[i]) - plain - h * along));
    }
    if (lane == 0) {
        statistics[2 * (u64)row] = mean;
        statistics[2 * (u64)row + 1] = scale;
    }
}

// The sums of dy h and of dy over `rows_per_part` rows, `[parts, 2, channels]`. Groups (channels / 32, parts) of 256 threads, 8
// rows at a time. `shared`: 2 x 256 floats.
template <typename T>
INLINE void norm_parameter_gradients(CONSTANT NormParams &p, GLOBAL const T *x, GLOBAL const T *dy, GLOBAL const float *statistics, GLOBAL float *sums, Position at, SHARED float *shared) {
    u32 column = at.group_x * 32 + at.index % 32, first = at.group_y * p.rows_per_part, lane_row = at.index / 32;
    u32 end = first + p.rows_per_part < p.rows ? first + p.rows_per_part : p.rows;
    float along = 0, plain = 0;
    if (column < p.channels) {
        for (u32 row = first + lane_row; row < end; row += at.threads / 32) {
            u64 i = (u64)row * p.channels + column;
            float d = to_float(dy[i]);
            plain += d;
            along += d * (to_float(x[i]) - statistics[2 * (u64)row]) * statistics[2 * (u64)row + 1];
        }
    }
    shared[at.index] = along;
    shared[at.threads + at.index] = plain;
    group_barrier();
    if (at.index < 32 && column < p.channels) {
        for (u32 i = at.index + 32; i < at.threads; i += 32) {
            along += shared[i];
            plain += shared[at.threads + i];
        }
        GLOBAL float *to = sums + (u64)at.group_y * 2 * p.channels;
        to[column] = along;
        to[p.channels + column] = plain;
    }
}

#define LAYER_NORM(T)                                                                                                          \
    KERNEL4(norm_forward_##T, norm_forward<T>, NormParams, GLOBAL const T *, GLOBAL const T *, GLOBAL const T *, GLOBAL T *)   \
    KERNEL5(norm_input_gradient_##T, norm_input_gradient<T>, NormParams, GLOBAL const T *, GLOBAL const T *, GLOBAL const T *, GLOBAL T *, GLOBAL float *) \
    KERNEL4(norm_parameter_gradients_##T, norm_parameter_gradients<T>, NormParams, GLOBAL const T *, GLOBAL const T *, GLOBAL const float *, GLOBAL float *)

LAYER_NORM(float)
LAYER_NORM(f16)
#ifdef DUALAD_BF16
LAYER_NORM(bf16)
#endif
