// The memory module's addressing: rows divided by their norm, and the weights of the slots from the cosines, each with its
// gradient. The device's library computes the matrix products between them.
#ifndef __METAL_VERSION__
#include "prelude.h"
#endif

// PyTorch's lower bound of a norm and of a sum of weights, against division by zero.
#define EPS 1e-12f

struct MemoryParams {
    u32 rows, length;
    // 1 / temperature.
    float inverse_temperature;
    // Weights up to 1 / slots become 0.
    float threshold;
};

// y = x / |x|. One warp per row.
INLINE void unit_forward(CONSTANT MemoryParams &p, GLOBAL const float *x, GLOBAL float *y, Position at, SHARED float *) {
    u32 lane = lane_of(at), row = row_of(at);
    if (row >= p.rows) return;
    x += (u64)row * p.length;
    y += (u64)row * p.length;
    float squares = 0;
    for (u32 i = lane; i < p.length; i += 32) squares += x[i] * x[i];
    float norm = max_of(sqrt_of(sum_of_lanes(squares)), EPS);
    for (u32 i = lane; i < p.length; i += 32) y[i] = x[i] / norm;
}

// dx = (dy - y (dy . y)) / |x|. A norm at its lower bound is a constant.
INLINE void unit_backward(CONSTANT MemoryParams &p, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL float *dx, Position at, SHARED float *) {
    u32 lane = lane_of(at), row = row_of(at);
    if (row >= p.rows) return;
    x += (u64)row * p.length;
    dy += (u64)row * p.length;
    dx += (u64)row * p.length;
    float squares = 0, along = 0;
    for (u32 i = lane; i < p.length; i += 32) {
        squares += x[i] * x[i];
        along += x[i] * dy[i];
    }
    float norm = sqrt_of(sum_of_lanes(squares));
    along = sum_of_lanes(along);
    bool bound = !(norm > EPS);
    norm = max_of(norm, EPS);
    float share = bound ? 0.0f : along / (norm * norm);
    for (u32 i = lane; i < p.length; i += 32) dx[i] = (dy[i] - x[i] * share) / norm;
}

struct Addressing {
    // The largest cosine, the sum of exponentials, and the sum of the weights above the threshold.
    float largest, sum, kept;
};

INLINE float softmax_weight(CONSTANT MemoryParams &p, LOCAL const Addressing &a, float cosine) {
    return exp_of((cosine - a.largest) * p.inverse_temperature) / a.sum;
}

INLINE Addressing addressing(CONSTANT MemoryParams &p, GLOBAL const float *cosines, u32 lane) {
    Addressing a;
    a.largest = -INFINITY;
    for (u32 i = lane; i < p.length; i += 32) a.largest = max_of(a.largest, cosines[i]);
    a.largest = max_of_lanes(a.largest);
    a.sum = 0;
    for (u32 i = lane; i < p.length; i += 32) a.sum += exp_of((cosines[i] - a.largest) * p.inverse_temperature);
    a.sum = sum_of_lanes(a.sum);
    a.kept = 0;
    for (u32 i = lane; i < p.length; i += 32) {
        float weight = softmax_weight(p, a, cosines[i]);
        // NaN is kept, so that it shows in the result.
        a.kept += weight <= p.threshold ? 0.0f : weight;
    }
    a.kept = sum_of_lanes(a.kept);
    return a;
}

// Softmax, hard shrinkage, division by the sum. One warp per row.
INLINE void address_forward(CONSTANT MemoryParams &p, GLOBAL const float *cosines, GLOBAL float *weights, Position at, SHARED float *) {
    u32 lane = lane_of(at), row = row_of(at);
    if (row >= p.rows) return;
    cosines += (u64)row * p.length;
    weights += (u64)row * p.length;
    Addressing a = addressing(p, cosines, lane);
    for (u32 i = lane; i < p.length; i += 32) {
        float weight = softmax_weight(p, a, cosines[i]);
        weights[i] = weight <= p.threshold ? 0.0f : weight / max_of(a.kept, EPS);
    }
}

// The gradient of the cosines, from the gradient of the weights. One warp per row.
INLINE void address_backward(CONSTANT MemoryParams &p, GLOBAL const float *cosines, GLOBAL const float *gradient, GLOBAL float *d_cosines, Position at, SHARED float *) {
    u32 lane = lane_of(at), row = row_of(at);
    if (row >= p.rows) return;
    cosines += (u64)row * p.length;
    gradient += (u64)row * p.length;
    d_cosines += (u64)row * p.length;
    Addressing a = addressing(p, cosines, lane);
    float kept = max_of(a.kept, EPS), mean = 0;
    for (u32 i = lane; i < p.length; i += 32) {
        float weight = softmax_weight(p, a, cosines[i]);
        mean += weight <= p.threshold ? 0.0f : gradient[i] * weight / kept;
    }
    // A sum at its lower bound is a constant.
    mean = a.kept > EPS ? sum_of_lanes(mean) : 0.0f;
    float along = 0;
    for (u32 i = lane; i < p.length; i += 32) {
        float weight = softmax_weight(p, a, cosines[i]);
        along += weight <= p.threshold ? 0.0f : weight * (gradient[i] - mean) / kept;
    }
    along = sum_of_lanes(along);
    for (u32 i = lane; i < p.length; i += 32) {
        float weight = softmax_weight(p, a, cosines[i]);
        float d = weight <= p.threshold ? 0.0f : (gradient[i] - mean) / kept;
        d_cosines[i] = weight * (d - along) * p.inverse_temperature;
    }
}

KERNEL2(unit_forward_float, unit_forward, MemoryParams, GLOBAL const float *, GLOBAL float *)
KERNEL3(unit_backward_float, unit_backward, MemoryParams, GLOBAL const float *, GLOBAL const float *, GLOBAL float *)
KERNEL2(address_forward_float, address_forward, MemoryParams, GLOBAL const float *, GLOBAL float *)
KERNEL3(address_backward_float, address_backward, MemoryParams, GLOBAL const float *, GLOBAL const float *, GLOBAL float *)
