// The CUDA words that `dualad-gpu/kernels/prelude.h` needs, emulated on the CPU. Each thread of a group is a coroutine that stops
// at barriers and shuffles. Threads run in a random order, so that a missing barrier changes the result. A barrier that one thread
// does not reach is an error, and so is a shuffle with a lane that has returned.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <ucontext.h>
#include <vector>

typedef _Float16 f16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct Extent {
    u32 x, y, z;
};
static Extent blockIdx, threadIdx, blockDim;

namespace emulation {

enum class State { Ready, Barrier, Shuffle, Done };

struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    State state = State::Ready;
    float value = 0;
    u32 mask = 0;
};

static ucontext_t scheduler;
static std::vector<Thread> threads;
static u32 current;
static float *shared;
static const std::function<void()> *body;
static std::mt19937 order(1);
static u64 launches = 0;

[[noreturn]] static void fail(const char *what) {
    fprintf(stderr, "emulation: %s (group %u %u %u, thread %u)\n", what, blockIdx.x, blockIdx.y, blockIdx.z, current);
    exit(1);
}

static void stop(State state) {
    threads[current].state = state;
    swapcontext(&threads[current].context, &scheduler);
    threadIdx = {current, 0, 0};
}

static void start() {
    threadIdx = {current, 0, 0};
    (*body)();
    threads[current].state = State::Done;
    swapcontext(&threads[current].context, &scheduler);
}

static void shuffle(u32 warp) {
    for (u32 lane = 0; lane < 32; lane++) {
        if (threads[warp * 32 + lane].state != State::Shuffle) {
            current = warp * 32 + lane;
            fail("a lane does not take part in its warp's shuffle");
        }
    }
    float values[32];
    for (u32 lane = 0; lane < 32; lane++) values[lane] = threads[warp * 32 + lane].value;
    for (u32 lane = 0; lane < 32; lane++) {
        Thread &thread = threads[warp * 32 + lane];
        thread.value = values[lane ^ thread.mask];
        thread.state = State::Ready;
    }
}

// Not inlined: `getcontext` can return more than once, which compilers warn of.
static __attribute__((noinline)) void prepare(Thread &thread) {
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = 1 << 16;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, start, 0);
}

static void run_group(u32 count) {
    for (Thread &thread : threads) thread.state = State::Ready;
    for (u32 i = 0; i < count; i++) prepare(threads[i]);
    std::vector<u32> ready;
    while (true) {
        ready.clear();
        u32 waiting = 0, done = 0;
        for (u32 i = 0; i < count; i++) {
            if (threads[i].state == State::Ready) ready.push_back(i);
            waiting += threads[i].state == State::Barrier;
            done += threads[i].state == State::Done;
        }
        if (!ready.empty()) {
            current = ready[order() % ready.size()];
            swapcontext(&scheduler, &threads[current].context);
            continue;
        }
        if (done == count) return;
        if (waiting == count) {
            for (Thread &thread : threads) thread.state = State::Ready;
            continue;
        }
        bool moved = false;
        for (u32 warp = 0; warp < count / 32; warp++) {
            if (threads[warp * 32].state == State::Shuffle) {
                shuffle(warp);
                moved = true;
            }
        }
        if (!moved) fail("some threads of the group do not reach a barrier");
    }
}

// Runs all groups of a grid with `count` threads each, which share `floats` floats.
static void launch(Extent grid, u32 count, u32 floats, const std::function<void()> &kernel) {
    launches++;
    while (threads.size() < count) {
        threads.emplace_back();
        threads.back().stack.reset(new char[1 << 16]);
    }
    threads.resize(count);
    blockDim = {count, 1, 1};
    body = &kernel;
    std::unique_ptr<float[]> common(new float[floats]);
    shared = common.get();
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) {
                for (u32 i = 0; i < floats; i++) shared[i] = NAN;
                run_group(count);
            }
}

} // namespace emulation

#define INLINE static inline
#define DUALAD_GLOBAL static void
#define DUALAD_SHARED float *shared = emulation::shared;
INLINE void group_barrier() { emulation::stop(emulation::State::Barrier); }
INLINE float shuffle_xor(float x, u32 mask) {
    u32 own = emulation::current;
    emulation::threads[own].value = x;
    emulation::threads[own].mask = mask;
    emulation::stop(emulation::State::Shuffle);
    return emulation::threads[own].value;
}
INLINE u32 high_product(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
INLINE float sin_of(float x) { return sinf(x); }
INLINE float cos_of(float x) { return cosf(x); }
