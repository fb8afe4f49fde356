// AdamW with a gradient that is scaled to a norm, and the sums of squares that the norm is made of.
#ifndef __METAL_VERSION__
#include "prelude.h"
#endif

struct AdamWParams {
    u32 count;
    // Where the sums of this variable's groups begin.
    u32 first;
    // What the gradient is multiplied with.
    float clip;
    float beta1, beta2, eps;
    // 1 - step size * decay; step size / (1 - beta1^step); 1 / (1 - beta2^step).
    float decay, step, correction;
    // 1 - beta1 and 1 - beta2: in f32 their difference from 1 would be another number.
    float mean_share, square_share;
};

// Numbers that a group adds up.
#define PER_GROUP 8192

// Groups of 256 threads, one for each 8192 numbers, each to a sum of its own. `shared`: 256 numbers.
INLINE void sum_squares(CONSTANT AdamWParams &p, GLOBAL const float *x, GLOBAL float *sums, At at, SHARED float *shared) {
    u64 start = (u64)at.group_x * PER_GROUP;
    float sum = 0;
    for (u32 i = at.index; i < PER_GROUP && start + i < p.count; i += at.threads) sum += x[start + i] * x[start + i];
    shared[at.index] = sum;
    meet();
    for (u32 half_way = at.threads / 2; half_way > 0; half_way /= 2) {
        if (at.index < half_way) shared[at.index] += shared[at.index + half_way];
        meet();
    }
    if (at.index == 0) sums[p.first + at.group_x] = shared[0];
}

INLINE void adamw(CONSTANT AdamWParams &p, GLOBAL const float *gradient, GLOBAL float *variable, GLOBAL float *mean, GLOBAL float *square, At at, SHARED float *) {
    u32 i = at.group_x * at.threads + at.index;
    if (i >= p.count) return;
    float g = gradient[i] * p.clip;
    float m = mean[i] * p.beta1 + g * p.mean_share;
    float s = square[i] * p.beta2 + g * g * p.square_share;
    mean[i] = m;
    square[i] = s;
    variable[i] = variable[i] * p.decay - m * p.step / (sqrt_of(s * p.correction) + p.eps);
}

KERNEL2(sum_squares_float, sum_squares, AdamWParams, GLOBAL const float *, GLOBAL float *)
KERNEL4(adamw_float, adamw, AdamWParams, GLOBAL const float *, GLOBAL float *, GLOBAL float *, GLOBAL float *)
