// Dropout, also with the bias and the ReLU before it, and feature jitter. The random values are those of `dualad::Random` (Philox4x32-10, counter-based) on every device.
#ifndef __METAL_VERSION__
#include "prelude.h"
#endif

struct RandomParams {
    u32 count;
    // The key of the stream.
    u32 seed_low, seed_high, stream_low, stream_high;
    // Dropout: the probability of zero and the factor of the survivors. Jitter: the factor of sigma.
    float probability, scale;
    // Jitter: tokens of an image, and channels.
    u32 tokens, channels;
    // Jitter: sigma is `[batch, 1, channels]` (1) or `[batch, tokens, 1]` (0).
    u32 spatial;
    // Activation: 1 for ReLU.
    u32 relu;
};

struct Bits {
    u32 words[4];
};

// Values 4 * block to 4 * block + 3 of the stream.
INLINE Bits philox(CONSTANT RandomParams &p, u32 block) {
    u32 a = block, b = 0, c = p.stream_low, d = p.stream_high, low = p.seed_low, high = p.seed_high;
    for (int round = 0; round < 10; round++) {
        u32 first = 0xD2511F53u * a, first_high = high_product(0xD2511F53u, a);
        u32 second = 0xCD9E8D57u * c, second_high = high_product(0xCD9E8D57u, c);
        a = second_high ^ b ^ low;
        b = second;
        c = first_high ^ d ^ high;
        d = first;
        low += 0x9E3779B9u;
        high += 0xBB67AE85u;
    }
    return Bits{{a, b, c, d}};
}

INLINE float unit_of(u32 bits) { return (float)(bits >> 8) * (1.0f / 16777216.0f); }

// Each thread computes four elements, from one block of the stream.
template <typename T>
INLINE void dropout(CONSTANT RandomParams &p, GLOBAL const T *x, GLOBAL T *y, Position at, SHARED float *) {
    u32 block = at.group_x * at.threads + at.index;
    if ((u64)block * 4 >= p.count) return;
    Bits bits = philox(p, block);
    for (u32 i = 0; i < 4; i++) {
        u32 element = block * 4 + i;
        if (element >= p.count) return;
        y[element] = unit_of(bits.words[i]) < p.probability ? from_float<T>(0.0f) : from_float<T>(to_float(x[element]) * p.scale);
    }
}

// y = dropout(x + bias), or y = dropout(relu(x + bias)), in place; with dropout only if the probability is above 0. Each thread
// computes four elements.
INLINE void activate(CONSTANT RandomParams &p, GLOBAL const float *bias, GLOBAL float *y, Position at, SHARED float *) {
    u32 block = at.group_x * at.threads + at.index;
    if ((u64)block * 4 >= p.count) return;
    Bits bits = Bits{{0, 0, 0, 0}};
    if (p.probability > 0.0f) bits = philox(p, block);
    for (u32 i = 0; i < 4; i++) {
        u32 element = block * 4 + i;
        if (element >= p.count) return;
        float value = y[element] + bias[element % p.channels];
        // NaN stays NaN.
        if (p.relu && value < 0.0f) value = 0.0f;
        if (p.probability > 0.0f) value = unit_of(bits.words[i]) < p.probability ? 0.0f : value * p.scale;
        y[element] = value;
    }
}

// y = x + dropout(y + bias), in place.
INLINE void add_activated(CONSTANT RandomParams &p, GLOBAL const float *bias, GLOBAL const float *x, GLOBAL float *y, Position at, SHARED float *shared) {
    activate(p, bias, y, at, shared);
    u32 block = at.group_x * at.threads + at.index;
    for (u64 element = (u64)block * 4; element < (u64)block * 4 + 4 && element < p.count; element++) y[element] += x[element];
}

// The gradient before ReLU and dropout, in place, from y after them: survivors are above 0.
INLINE void activation_gradient(CONSTANT RandomParams &p, GLOBAL const float *y, GLOBAL float *dy, Position at, SHARED float *) {
    u32 element = at.group_x * at.threads + at.index;
    if (element < p.count) dy[element] = y[element] > 0.0f ? dy[element] * p.scale : 0.0f;
}

// y = x + scale sigma eps, eps standard normal by Box and Muller's transform.
template <typename T>
INLINE void jitter(CONSTANT RandomParams &p, GLOBAL const T *x, GLOBAL const float *sigma, GLOBAL T *y, Position at, SHARED float *) {
    u32 block = at.group_x * at.threads + at.index;
    if ((u64)block * 4 >= p.count) return;
    Bits bits = philox(p, block);
    for (u32 i = 0; i < 4; i++) {
        u32 element = block * 4 + i;
        if (element >= p.count) return;
        u32 pair = i / 2 * 2;
        float radius = sqrt_of(-2.0f * log_of(1.0f - unit_of(bits.words[pair])));
        float angle = 6.28318530717958647692f * unit_of(bits.words[pair + 1]);
        float normal = radius * (i % 2 == 0 ? cos_of(angle) : sin_of(angle));
        u32 token = element / p.channels;
        u32 at_sigma = p.spatial ? token / p.tokens * p.channels + element % p.channels : token;
        y[element] = from_float<T>(to_float(x[element]) + normal * (sigma[at_sigma] * p.scale));
    }
}

#define RANDOM(T)                                                                                                              \
    KERNEL2(dropout_##T, dropout<T>, RandomParams, GLOBAL const T *, GLOBAL T *)                                               \
    KERNEL3(jitter_##T, jitter<T>, RandomParams, GLOBAL const T *, GLOBAL const float *, GLOBAL T *)

KERNEL2(activate_float, activate, RandomParams, GLOBAL const float *, GLOBAL float *)
KERNEL3(add_activated_float, add_activated, RandomParams, GLOBAL const float *, GLOBAL const float *, GLOBAL float *)
KERNEL2(activation_gradient_float, activation_gradient, RandomParams, GLOBAL const float *, GLOBAL float *)
RANDOM(float)
RANDOM(f16)
#ifdef DUALAD_BF16
RANDOM(bf16)
#endif
