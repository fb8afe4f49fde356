// AdamW with a scaled gradient, and the sums of squares for the norm of all gradients.
#ifndef __METAL_VERSION__
#include "prelude.h"
#endif

struct AdamWParams {
    u32 count;
    // The index of the first sum of this variable.
    u32 first_sum;
    // The factor of the gradient, for clipping.
    float gradient_scale;
    float beta1, beta2, eps;
    // 1 - learning rate * weight decay; learning rate / (1 - beta1^step); 1 / (1 - beta2^step).
    float decay, step_size, correction;
    // Computed in f64 by the host: in f32 the differences would be rounded differently.
    float one_minus_beta1, one_minus_beta2;
};

// Elements that a group sums.
#define PER_GROUP 8192

// Each group of 256 threads writes one sum of 8192 elements. `shared`: 256 floats.
INLINE void sum_of_squares(CONSTANT AdamWParams &p, GLOBAL const float *x, GLOBAL float *sums, Position at, SHARED float *shared) {
    u64 start = (u64)at.group_x * PER_GROUP;
    float sum = 0;
    for (u32 i = at.index; i < PER_GROUP && start + i < p.count; i += at.threads) sum += x[start + i] * x[start + i];
    shared[at.index] = sum;
    group_barrier();
    for (u32 half_way = at.threads / 2; half_way > 0; half_way /= 2) {
        if (at.index < half_way) shared[at.index] += shared[at.index + half_way];
        group_barrier();
    }
    if (at.index == 0) sums[p.first_sum + at.group_x] = shared[0];
}

INLINE void adamw(CONSTANT AdamWParams &p, GLOBAL const float *gradient, GLOBAL float *variable, GLOBAL float *first_moment, GLOBAL float *second_moment, Position at, SHARED float *) {
    u32 i = at.group_x * at.threads + at.index;
    if (i >= p.count) return;
    float g = gradient[i] * p.gradient_scale;
    float m = first_moment[i] * p.beta1 + g * p.one_minus_beta1;
    float s = second_moment[i] * p.beta2 + g * g * p.one_minus_beta2;
    first_moment[i] = m;
    second_moment[i] = s;
    variable[i] = variable[i] * p.decay - m * p.step_size / (sqrt_of(s * p.correction) + p.eps);
}

KERNEL2(sum_of_squares_float, sum_of_squares, AdamWParams, GLOBAL const float *, GLOBAL float *)
KERNEL4(adamw_float, adamw, AdamWParams, GLOBAL const float *, GLOBAL float *, GLOBAL float *, GLOBAL float *)
