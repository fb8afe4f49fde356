// One kernel source for CUDA and Metal. This file defines the words in which they differ, for both and for the C++ compiler that
// emulates the kernels on the CPU (`tools/gpu/emulation.h`).
//
// The body of a kernel is a template over the element type of its buffers; all arithmetic is in f32. Its arguments are the
// parameters, the buffers, the thread's position, and `shared`: floats that the threads of a group share. `KERNELn` defines the
// kernel for a body with n buffers. A group has one dimension of threads, a multiple of 32. A warp (Metal: simdgroup) has 32 lanes.

#ifndef DUALAD_PRELUDE
#define DUALAD_PRELUDE

#if defined(__METAL_VERSION__)

#include <metal_stdlib>
using namespace metal;

// The address spaces: the device's memory, the group's, the thread's, and the parameters'.
#define GLOBAL device
#define SHARED threadgroup
#define LOCAL thread
#define CONSTANT constant

typedef uint u32;
typedef ulong u64;
typedef half f16;
#if defined(__HAVE_BFLOAT__)
typedef bfloat bf16;
#define DUALAD_BF16
#endif

#define INLINE static inline
inline void group_barrier() { threadgroup_barrier(mem_flags::mem_threadgroup); }
inline float shuffle_xor(float x, u32 mask) { return simd_shuffle_xor(x, (ushort)mask); }
inline float exp_of(float x) { return precise::exp(x); }
inline float log_of(float x) { return precise::log(x); }
inline float sqrt_of(float x) { return precise::sqrt(x); }
inline float sin_of(float x) { return precise::sin(x); }
inline float cos_of(float x) { return precise::cos(x); }
inline float max_of(float a, float b) { return a > b ? a : b; }
inline float clamp_max(float x, float bound) { return x > bound ? bound : x; }
inline u32 high_product(u32 a, u32 b) { return mulhi(a, b); }

struct Position {
    u32 group_x, group_y, group_z, index, threads;
};

#define DUALAD_POSITION                                                                                                           \
    uint3 group [[threadgroup_position_in_grid]], uint3 place [[thread_position_in_threadgroup]],                               \
        uint3 threads [[threads_per_threadgroup]], threadgroup float *shared [[threadgroup(0)]]
#define DUALAD_AT Position{group.x, group.y, group.z, place.x, threads.x}
#define KERNEL2(name, body, P, A, B) kernel void name(constant P &p [[buffer(0)]], A a [[buffer(1)]], B b [[buffer(2)]], DUALAD_POSITION) { body(p, a, b, DUALAD_AT, shared); }
#define KERNEL3(name, body, P, A, B, C) kernel void name(constant P &p [[buffer(0)]], A a [[buffer(1)]], B b [[buffer(2)]], C c [[buffer(3)]], DUALAD_POSITION) { body(p, a, b, c, DUALAD_AT, shared); }
#define KERNEL4(name, body, P, A, B, C, D) kernel void name(constant P &p [[buffer(0)]], A a [[buffer(1)]], B b [[buffer(2)]], C c [[buffer(3)]], D d [[buffer(4)]], DUALAD_POSITION) { body(p, a, b, c, d, DUALAD_AT, shared); }
#define KERNEL5(name, body, P, A, B, C, D, E) kernel void name(constant P &p [[buffer(0)]], A a [[buffer(1)]], B b [[buffer(2)]], C c [[buffer(3)]], D d [[buffer(4)]], E e [[buffer(5)]], DUALAD_POSITION) { body(p, a, b, c, d, e, DUALAD_AT, shared); }
#define KERNEL6(name, body, P, A, B, C, D, E, F) kernel void name(constant P &p [[buffer(0)]], A a [[buffer(1)]], B b [[buffer(2)]], C c [[buffer(3)]], D d [[buffer(4)]], E e [[buffer(5)]], F f [[buffer(6)]], DUALAD_POSITION) { body(p, a, b, c, d, e, f, DUALAD_AT, shared); }
#define KERNEL7(name, body, P, A, B, C, D, E, F, G) kernel void name(constant P &p [[buffer(0)]], A a [[buffer(1)]], B b [[buffer(2)]], C c [[buffer(3)]], D d [[buffer(4)]], E e [[buffer(5)]], F f [[buffer(6)]], G g [[buffer(7)]], DUALAD_POSITION) { body(p, a, b, c, d, e, f, g, DUALAD_AT, shared); }

#elif defined(__OPENCL_CPP_VERSION__)

// For `tools/gpu/metal.sh` only, which checks address spaces with clang: C++ for OpenCL has the same ones as Metal.
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define GLOBAL __global
#define SHARED __local
#define LOCAL __private
#define CONSTANT __constant
typedef uint u32;
typedef ulong u64;
typedef half f16;
#define INLINE static inline
void group_barrier();
float shuffle_xor(float x, u32 mask);
float exp_of(float x);
float log_of(float x);
float sqrt_of(float x);
float sin_of(float x);
float cos_of(float x);
INLINE float max_of(float a, float b) { return a > b ? a : b; }
INLINE float clamp_max(float x, float bound) { return x > bound ? bound : x; }
u32 high_product(u32 a, u32 b);

struct Position {
    u32 group_x, group_y, group_z, index, threads;
};

// Parameters and buffers are pointers into their address spaces, as in Metal.
#define KERNEL2(name, body, P, A, B) static void name(CONSTANT P &p, A a, B b, Position at, SHARED float *shared) { body(p, a, b, at, shared); }
#define KERNEL3(name, body, P, A, B, C) static void name(CONSTANT P &p, A a, B b, C c, Position at, SHARED float *shared) { body(p, a, b, c, at, shared); }
#define KERNEL4(name, body, P, A, B, C, D) static void name(CONSTANT P &p, A a, B b, C c, D d, Position at, SHARED float *shared) { body(p, a, b, c, d, at, shared); }
#define KERNEL5(name, body, P, A, B, C, D, E) static void name(CONSTANT P &p, A a, B b, C c, D d, E e, Position at, SHARED float *shared) { body(p, a, b, c, d, e, at, shared); }
#define KERNEL6(name, body, P, A, B, C, D, E, F) static void name(CONSTANT P &p, A a, B b, C c, D d, E e, F f, Position at, SHARED float *shared) { body(p, a, b, c, d, e, f, at, shared); }
#define KERNEL7(name, body, P, A, B, C, D, E, F, G) static void name(CONSTANT P &p, A a, B b, C c, D d, E e, F f, G g, Position at, SHARED float *shared) { body(p, a, b, c, d, e, f, g, at, shared); }

#else // CUDA and the emulation

#if defined(DUALAD_EMULATED)
#include "emulation.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
typedef __half f16;
typedef __nv_bfloat16 bf16;
#define DUALAD_BF16
#define INLINE static __device__ __forceinline__
#define DUALAD_GLOBAL extern "C" __global__ void
#define DUALAD_SHARED extern __shared__ float shared[];
typedef unsigned int u32;
typedef unsigned long long u64;
INLINE void group_barrier() { __syncthreads(); }
INLINE float shuffle_xor(float x, u32 mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
INLINE u32 high_product(u32 a, u32 b) { return __umulhi(a, b); }
INLINE float sin_of(float x) { return sinf(x); }
INLINE float cos_of(float x) { return cosf(x); }
#endif

#define GLOBAL
#define SHARED
#define LOCAL
#define CONSTANT const

INLINE float exp_of(float x) { return expf(x); }
INLINE float log_of(float x) { return logf(x); }
INLINE float sqrt_of(float x) { return sqrtf(x); }
INLINE float max_of(float a, float b) { return a > b ? a : b; }
// The smaller of x and the bound; NaN stays NaN.
INLINE float clamp_max(float x, float bound) { return x > bound ? bound : x; }

struct Position {
    u32 group_x, group_y, group_z, index, threads;
};

#define DUALAD_AT Position{blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, blockDim.x}
#define KERNEL2(name, body, P, A, B) DUALAD_GLOBAL name(P p, A a, B b) { DUALAD_SHARED body(p, a, b, DUALAD_AT, shared); }
#define KERNEL3(name, body, P, A, B, C) DUALAD_GLOBAL name(P p, A a, B b, C c) { DUALAD_SHARED body(p, a, b, c, DUALAD_AT, shared); }
#define KERNEL4(name, body, P, A, B, C, D) DUALAD_GLOBAL name(P p, A a, B b, C c, D d) { DUALAD_SHARED body(p, a, b, c, d, DUALAD_AT, shared); }
#define KERNEL5(name, body, P, A, B, C, D, E) DUALAD_GLOBAL name(P p, A a, B b, C c, D d, E e) { DUALAD_SHARED body(p, a, b, c, d, e, DUALAD_AT, shared); }
#define KERNEL6(name, body, P, A, B, C, D, E, F) DUALAD_GLOBAL name(P p, A a, B b, C c, D d, E e, F f) { DUALAD_SHARED body(p, a, b, c, d, e, f, DUALAD_AT, shared); }
#define KERNEL7(name, body, P, A, B, C, D, E, F, G) DUALAD_GLOBAL name(P p, A a, B b, C c, D d, E e, F f, G g) { DUALAD_SHARED body(p, a, b, c, d, e, f, g, DUALAD_AT, shared); }

#endif

// Conversions between the element type and f32, rounded to the nearest.
#if defined(__METAL_VERSION__) || defined(__OPENCL_CPP_VERSION__) || defined(DUALAD_EMULATED)
template <typename T> INLINE float to_float(T x) { return (float)x; }
template <typename T> INLINE T from_float(float x) { return (T)x; }
#else
template <typename T> INLINE float to_float(T x);
template <> __device__ __forceinline__ float to_float<float>(float x) { return x; }
template <> __device__ __forceinline__ float to_float<f16>(f16 x) { return __half2float(x); }
template <> __device__ __forceinline__ float to_float<bf16>(bf16 x) { return __bfloat162float(x); }
template <typename T> INLINE T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ f16 from_float<f16>(float x) { return __float2half_rn(x); }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return __float2bfloat16_rn(x); }
#endif

// The lane and the row of a thread, for kernels with one row per warp.
INLINE u32 lane_of(Position at) { return at.index % 32; }
INLINE u32 row_of(Position at) { return at.group_x * (at.threads / 32) + at.index / 32; }

// The sum over the lanes of a warp. All lanes add in the same order and get the same bits.
INLINE float sum_of_lanes(float x) {
    for (u32 mask = 16; mask > 0; mask /= 2) x += shuffle_xor(x, mask);
    return x;
}

INLINE float max_of_lanes(float x) {
    for (u32 mask = 16; mask > 0; mask /= 2) x = max_of(x, shuffle_xor(x, mask));
    return x;
}

#endif
