// The anomaly of each token: the product or sum over stages of the root mean squared error of its reconstruction.
#ifndef __METAL_VERSION__
#include "prelude.h"
#endif

#define MAX_STAGES 8

struct ScoreParams {
    u32 tokens, channels, stages;
    // The end of each stage's channels.
    u32 stage_ends[MAX_STAGES];
    u32 product;
    float max_error;
};

// One warp per token.
template <typename T>
INLINE void combined_errors(CONSTANT ScoreParams &p, GLOBAL const T *clean, GLOBAL const T *reconstruction, GLOBAL float *errors, Position at, SHARED float *) {
    u32 lane = lane_of(at), token = row_of(at);
    if (token >= p.tokens) return;
    clean += (u64)token * p.channels;
    reconstruction += (u64)token * p.channels;
    float combined = p.product ? 1.0f : 0.0f;
    u32 start = 0;
    for (u32 stage = 0; stage < p.stages; stage++) {
        u32 end = p.stage_ends[stage];
        float squares = 0;
        for (u32 i = start + lane; i < end; i += 32) {
            float error = to_float(reconstruction[i]) - to_float(clean[i]);
            squares += error * error;
        }
        float error = clamp_max(sqrt_of(sum_of_lanes(squares) / (float)(end - start)), p.max_error);
        combined = clamp_max(p.product ? combined * error : combined + error, p.max_error);
        start = end;
    }
    if (lane == 0) errors[token] = combined;
}

#define SCORE(T) KERNEL3(combined_errors_##T, combined_errors<T>, ScoreParams, GLOBAL const T *, GLOBAL const T *, GLOBAL float *)

SCORE(float)
SCORE(f16)
#ifdef DUALAD_BF16
SCORE(bf16)
#endif
