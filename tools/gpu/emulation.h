// Runs a kernel's threads on the CPU, one after the other: what `dualad-gpu/kernels/prelude.h` needs from CUDA. Each thread of a
// group is a coroutine that stops where threads meet or exchange numbers. Which goes first is drawn, so that a missing meeting
// shows as a difference; a meeting that some threads never come to, and an exchange with a lane that has returned, are errors.
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

struct Place {
    u32 x, y, z;
};
static Place blockIdx, threadIdx, blockDim;

namespace emulation {

enum class State { Ready, Meeting, Exchange, Done };

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

static void exchange(u32 warp) {
    for (u32 lane = 0; lane < 32; lane++) {
        if (threads[warp * 32 + lane].state != State::Exchange) {
            current = warp * 32 + lane;
            fail("a lane does not take part in its warp's exchange");
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

// A function of its own: `getcontext` returns as often as somebody goes back to it, which compilers warn of.
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
        u32 meeting = 0, done = 0;
        for (u32 i = 0; i < count; i++) {
            if (threads[i].state == State::Ready) ready.push_back(i);
            meeting += threads[i].state == State::Meeting;
            done += threads[i].state == State::Done;
        }
        if (!ready.empty()) {
            current = ready[order() % ready.size()];
            swapcontext(&scheduler, &threads[current].context);
            continue;
        }
        if (done == count) return;
        if (meeting == count) {
            for (Thread &thread : threads) thread.state = State::Ready;
            continue;
        }
        bool moved = false;
        for (u32 warp = 0; warp < count / 32; warp++) {
            if (threads[warp * 32].state == State::Exchange) {
                exchange(warp);
                moved = true;
            }
        }
        if (!moved) fail("some threads meet that others do not come to");
    }
}

// Runs all groups, with so many floats in common.
static void launch(Place grid, u32 count, u32 floats, const std::function<void()> &kernel) {
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
INLINE void meet() { emulation::stop(emulation::State::Meeting); }
INLINE float from_lane(float x, u32 mask) {
    u32 own = emulation::current;
    emulation::threads[own].value = x;
    emulation::threads[own].mask = mask;
    emulation::stop(emulation::State::Exchange);
    return emulation::threads[own].value;
}
INLINE u32 high_product(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
INLINE float sin_of(float x) { return sinf(x); }
INLINE float cos_of(float x) { return cosf(x); }
