// Runs every kernel of `dualad-gpu/kernels` on the CPU and compares it with its definition in double precision:
//
//     g++ -std=c++17 -O1 -g -fsanitize=address,undefined -DDUALAD_EMULATED -I tools/gpu tools/gpu/emulate.cpp -o emulate && ./emulate
//
// The sizes are no multiples of groups, tiles or vectors, and the buffers have the exact size.

#include "emulation.h"

#include <string>

#include "../../dualad-gpu/kernels/adamw.cu"
#include "../../dualad-gpu/kernels/aggregate.cu"
#include "../../dualad-gpu/kernels/attention.cu"
#include "../../dualad-gpu/kernels/layer_norm.cu"
#include "../../dualad-gpu/kernels/memory.cu"
#include "../../dualad-gpu/kernels/random.cu"
#include "../../dualad-gpu/kernels/score.cu"

using emulation::launch;
typedef std::vector<double> Values;

static std::mt19937 generator(7);
static u64 compared = 0;

template <typename T> struct Tolerance;
template <> struct Tolerance<float> {
    static constexpr double value = 2e-5;
};
template <> struct Tolerance<f16> {
    static constexpr double value = 2e-3;
};

// A buffer of the exact size, with values that the element type holds exactly.
template <typename T> struct Buffer {
    std::unique_ptr<T[]> own;
    size_t count;
    explicit Buffer(size_t count) : own(new T[count]), count(count) {
        for (size_t i = 0; i < count; i++) own[i] = (T)NAN;
    }
    static Buffer random(size_t count, double scale = 1) {
        Buffer buffer(count);
        std::normal_distribution<double> normal;
        for (size_t i = 0; i < count; i++) buffer.own[i] = (T)(normal(generator) * scale);
        return buffer;
    }
    T *get() { return own.get(); }
    Values values() const {
        Values values(count);
        for (size_t i = 0; i < count; i++) values[i] = (double)own[i];
        return values;
    }
};

template <typename T> static void expect(const Buffer<T> &found, const Values &expected, double tolerance, const std::string &what) {
    if (found.count != expected.size()) {
        printf("%s: %zu values, not %zu\n", what.c_str(), found.count, expected.size());
        exit(1);
    }
    double largest = 1e-3;
    for (double x : expected) largest = std::fmax(largest, std::fabs(x));
    for (size_t i = 0; i < expected.size(); i++) {
        double error = std::fabs((double)found.own[i] - expected[i]);
        if (!(error <= tolerance * largest)) {
            printf("%s: value %zu is %g, not %g\n", what.c_str(), i, (double)found.own[i], expected[i]);
            exit(1);
        }
    }
    compared += expected.size();
}

static u32 groups(u64 count, u64 size) { return (u32)((count + size - 1) / size); }

// ---------------------------------------------------------------------------------------------------------------- attention

struct AttentionCase {
    u32 batch, queries, keys, heads, width, columns, above, beside;
};

template <typename T>
static void attention_by(u32 vectors, AttentionParams p, u32 batch, Buffer<T> &q, Buffer<T> &k, Buffer<T> &v, Buffer<T> &dy, Buffer<T> &y, Buffer<float> &statistics, Buffer<T> &dq, Buffer<T> &dk, Buffer<T> &dv) {
    const u32 forward = WARPS * FORWARD_ROWS, backward = WARPS * BACKWARD_ROWS;
    u32 forward_shared = forward * p.width + TILE + forward * 32, backward_shared = 2 * backward * p.width + TILE + 2 * backward * 32;
    auto run = [&](auto of) {
        constexpr int V = decltype(of)::value;
        launch({groups(p.queries, forward), p.heads, batch}, 128, forward_shared, [&] {
            attention_forward<T, V>(p, q.get(), k.get(), v.get(), y.get(), DUALAD_AT, emulation::shared);
        });
        launch({groups(p.queries, forward), p.heads, batch}, 128, forward_shared, [&] {
            attention_statistics<T>(p, q.get(), k.get(), y.get(), dy.get(), statistics.get(), DUALAD_AT, emulation::shared);
        });
        launch({groups(p.queries, backward), p.heads, batch}, 128, backward_shared, [&] {
            attention_query_gradient<T, V>(p, q.get(), k.get(), v.get(), dy.get(), statistics.get(), dq.get(), DUALAD_AT, emulation::shared);
        });
        launch({groups(p.keys, backward), p.heads, batch}, 128, backward_shared, [&] {
            attention_key_gradients<T, V>(p, q.get(), k.get(), v.get(), dy.get(), statistics.get(), dk.get(), dv.get(), DUALAD_AT, emulation::shared);
        });
    };
    if (vectors == 1) run(std::integral_constant<int, 1>());
    else if (vectors == 2) run(std::integral_constant<int, 2>());
    else if (vectors == 4) run(std::integral_constant<int, 4>());
    else if (vectors == 8) run(std::integral_constant<int, 8>());
    else run(std::integral_constant<int, 16>());
}

template <typename T> static void check_attention(const AttentionCase &c) {
    u32 stride = c.heads * c.width;
    size_t own = (size_t)c.batch * c.queries * stride, other = (size_t)c.batch * c.keys * stride;
    auto q = Buffer<T>::random(own), k = Buffer<T>::random(other), v = Buffer<T>::random(other), dy = Buffer<T>::random(own);
    Buffer<T> y(own), dq(own), dk(other), dv(other);
    Buffer<float> statistics((size_t)c.batch * c.heads * c.queries * 2);
    double scale = 1 / std::sqrt((double)c.width);
    AttentionParams p{c.queries, c.keys, c.heads, c.width, c.columns, c.above, c.beside, (float)scale};
    u32 vectors = 1;
    while (vectors * 32 < c.width) vectors *= 2;
    attention_by<T>(vectors, p, c.batch, q, k, v, dy, y, statistics, dq, dk, dv);
    Values Q = q.values(), K = k.values(), V = v.values(), D = dy.values();
    Values Y(own, 0), DQ(own, 0), DK(other, 0), DV(other, 0);
    for (u32 image = 0; image < c.batch; image++)
        for (u32 head = 0; head < c.heads; head++)
            for (u32 i = 0; i < c.queries; i++) {
                auto at = [&](u32 tokens, u32 token) { return ((size_t)image * tokens + token) * stride + head * c.width; };
                Values weights(c.keys, 0), gradients(c.keys, 0);
                double largest = -INFINITY, sum = 0, mean = 0;
                for (u32 j = 0; j < c.keys; j++) {
                    bool masked = c.columns && std::abs((int)(i / c.columns) - (int)(j / c.columns)) <= (int)c.above &&
                                  std::abs((int)(i % c.columns) - (int)(j % c.columns)) <= (int)c.beside;
                    weights[j] = masked ? -INFINITY : 0;
                    for (u32 d = 0; d < c.width && !masked; d++) weights[j] += Q[at(c.queries, i) + d] * K[at(c.keys, j) + d] * scale;
                    largest = std::fmax(largest, weights[j]);
                }
                if (largest == -INFINITY) continue;
                for (double &w : weights) sum += w = std::exp(w - largest);
                for (u32 j = 0; j < c.keys; j++) {
                    weights[j] /= sum;
                    for (u32 d = 0; d < c.width; d++) {
                        Y[at(c.queries, i) + d] += weights[j] * V[at(c.keys, j) + d];
                        gradients[j] += D[at(c.queries, i) + d] * V[at(c.keys, j) + d];
                        DV[at(c.keys, j) + d] += weights[j] * D[at(c.queries, i) + d];
                    }
                    mean += weights[j] * gradients[j];
                }
                for (u32 j = 0; j < c.keys; j++)
                    for (u32 d = 0; d < c.width; d++) {
                        double score = weights[j] * (gradients[j] - mean) * scale;
                        DQ[at(c.queries, i) + d] += score * K[at(c.keys, j) + d];
                        DK[at(c.keys, j) + d] += score * Q[at(c.queries, i) + d];
                    }
            }
    std::string name = "attention of " + std::to_string(c.queries) + " and " + std::to_string(c.keys) + " tokens, width " + std::to_string(c.width);
    double tolerance = Tolerance<T>::value;
    expect(y, Y, tolerance, name);
    expect(dq, DQ, tolerance * 4, name + ", queries' gradient");
    expect(dk, DK, tolerance * 4, name + ", keys' gradient");
    expect(dv, DV, tolerance * 4, name + ", values' gradient");
}

// --------------------------------------------------------------------------------------------------------------- layer norm

template <typename T> static void check_layer_norm(u32 rows, u32 channels, u32 part) {
    size_t count = (size_t)rows * channels;
    auto x = Buffer<T>::random(count, 2), weight = Buffer<T>::random(channels), bias = Buffer<T>::random(channels), dy = Buffer<T>::random(count);
    u32 parts = groups(rows, part);
    Buffer<T> y(count), dx(count);
    Buffer<float> statistics(2 * (size_t)rows), sums((size_t)parts * 2 * channels);
    NormParams p{rows, channels, 1e-5f, part};
    launch({groups(rows, 4), 1, 1}, 128, 0, [&] { norm_forward<T>(p, x.get(), weight.get(), bias.get(), y.get(), DUALAD_AT, emulation::shared); });
    launch({groups(rows, 4), 1, 1}, 128, 0, [&] { norm_input_gradient<T>(p, x.get(), weight.get(), dy.get(), dx.get(), statistics.get(), DUALAD_AT, emulation::shared); });
    launch({groups(channels, 32), parts, 1}, 256, 512, [&] { norm_parameter_gradients<T>(p, x.get(), dy.get(), statistics.get(), sums.get(), DUALAD_AT, emulation::shared); });
    Values X = x.values(), W = weight.values(), B = bias.values(), D = dy.values(), Y(count), DX(count), S(sums.count, 0);
    for (u32 row = 0; row < rows; row++) {
        double mean = 0, variance = 0, plain = 0, along = 0;
        const double *from = &X[(size_t)row * channels], *d = &D[(size_t)row * channels];
        for (u32 i = 0; i < channels; i++) mean += from[i] / channels;
        for (u32 i = 0; i < channels; i++) variance += (from[i] - mean) * (from[i] - mean) / channels;
        double s = 1 / std::sqrt(variance + 1e-5);
        for (u32 i = 0; i < channels; i++) {
            double h = (from[i] - mean) * s;
            Y[(size_t)row * channels + i] = h * W[i] + B[i];
            plain += W[i] * d[i] / channels;
            along += W[i] * d[i] * h / channels;
            S[((size_t)row / part * 2) * channels + i] += d[i] * h;
            S[((size_t)row / part * 2 + 1) * channels + i] += d[i];
        }
        for (u32 i = 0; i < channels; i++) DX[(size_t)row * channels + i] = s * (W[i] * d[i] - plain - (from[i] - mean) * s * along);
    }
    std::string name = "layer norm of " + std::to_string(rows) + " x " + std::to_string(channels);
    expect(y, Y, Tolerance<T>::value, name);
    expect(dx, DX, Tolerance<T>::value * 2, name + ", gradient");
    expect(sums, S, 2e-5, name + ", parameters' gradients");
}

// ------------------------------------------------------------------------------------------------------------------- memory

static void check_memory(u32 rows, u32 length, double sharpness) {
    size_t count = (size_t)rows * length;
    auto x = Buffer<float>::random(count), dy = Buffer<float>::random(count);
    // A row of zeros is divided by the lower bound of the norm.
    for (u32 i = 0; i < length && rows > 2; i++) x.get()[length + i] = 0;
    Buffer<float> y(count), dx(count);
    MemoryParams p{rows, length, (float)sharpness, (float)(1.0 / length)};
    launch({groups(rows, 4), 1, 1}, 128, 0, [&] { unit_forward(p, x.get(), y.get(), DUALAD_AT, emulation::shared); });
    launch({groups(rows, 4), 1, 1}, 128, 0, [&] { unit_backward(p, x.get(), dy.get(), dx.get(), DUALAD_AT, emulation::shared); });
    Values X = x.values(), D = dy.values(), Y(count), DX(count);
    for (u32 row = 0; row < rows; row++) {
        size_t at = (size_t)row * length;
        double squares = 0, along = 0;
        for (u32 i = 0; i < length; i++) squares += X[at + i] * X[at + i];
        double norm = std::fmax(std::sqrt(squares), 1e-12);
        for (u32 i = 0; i < length; i++) along += D[at + i] * X[at + i] / norm;
        for (u32 i = 0; i < length; i++) {
            Y[at + i] = X[at + i] / norm;
            DX[at + i] = (D[at + i] - Y[at + i] * (norm > 1e-12 ? along : 0)) / norm;
        }
    }
    std::string name = "memory of " + std::to_string(rows) + " x " + std::to_string(length);
    expect(y, Y, 2e-5, name + ", unit rows");
    // The gradient of the row of zeros is 10^12 times the others' and is compared alone.
    for (size_t i = 0; i < count; i++)
        if (std::fabs(DX[i]) > 1e6) {
            if (std::fabs(dx.get()[i] / DX[i] - 1) > 1e-4) {
                printf("%s: a zero row's gradient is %g, not %g\n", name.c_str(), dx.get()[i], DX[i]);
                exit(1);
            }
            dx.get()[i] = 0, DX[i] = 0;
        }
    expect(dx, DX, 2e-5, name + ", unit rows' gradient");

    auto cosines = Buffer<float>::random(count, 0.5);
    Buffer<float> weights(count), d_cosines(count);
    launch({groups(rows, 4), 1, 1}, 128, 0, [&] { address_forward(p, cosines.get(), weights.get(), DUALAD_AT, emulation::shared); });
    launch({groups(rows, 4), 1, 1}, 128, 0, [&] { address_backward(p, cosines.get(), dy.get(), d_cosines.get(), DUALAD_AT, emulation::shared); });
    Values C = cosines.values(), W(count, 0), DC(count, 0);
    for (u32 row = 0; row < rows; row++) {
        size_t at = (size_t)row * length;
        Values soft(length);
        double sum = 0, kept = 0, mean = 0, along = 0;
        for (u32 i = 0; i < length; i++) sum += soft[i] = std::exp(C[at + i] * sharpness);
        // For a weight within f32 rounding of the threshold, either side is correct: take the kernel's.
        for (u32 i = 0; i < length; i++) {
            soft[i] /= sum;
            bool near = std::fabs(soft[i] * length - 1) < 1e-5;
            bool keeps = near ? weights.get()[at + i] > 0 : soft[i] > 1.0 / length;
            W[at + i] = keeps ? soft[i] : 0;
            kept += W[at + i];
        }
        for (u32 i = 0; i < length; i++) {
            W[at + i] /= std::fmax(kept, 1e-12);
            mean += W[at + i] * D[at + i];
        }
        if (!(kept > 1e-12)) mean = 0;
        Values d(length);
        for (u32 i = 0; i < length; i++) {
            d[i] = W[at + i] > 0 ? (D[at + i] - mean) / kept : 0;
            along += d[i] * soft[i];
        }
        for (u32 i = 0; i < length; i++) DC[at + i] = soft[i] * (d[i] - along) * sharpness;
    }
    expect(weights, W, 2e-5, name + ", weights");
    expect(d_cosines, DC, 1e-4, name + ", cosines' gradient");
}

// ------------------------------------------------------------------------------------------------------------------- random

static void reference_philox(u64 seed, u64 stream, u64 block, u32 out[4]) {
    u32 counter[4] = {(u32)block, (u32)(block >> 32), (u32)stream, (u32)(stream >> 32)}, key[2] = {(u32)seed, (u32)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        u64 a = (u64)counter[0] * 0xD2511F53u, b = (u64)counter[2] * 0xCD9E8D57u;
        u32 next[4] = {(u32)(b >> 32) ^ counter[1] ^ key[0], (u32)b, (u32)(a >> 32) ^ counter[3] ^ key[1], (u32)a};
        for (int i = 0; i < 4; i++) counter[i] = next[i];
        key[0] += 0x9E3779B9u, key[1] += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++) out[i] = counter[i];
}

template <typename T> static void check_random(u32 batch, u32 tokens, u32 channels, bool spatial) {
    // The known answer of the Random123 library.
    u32 known[4];
    reference_philox(0, 0, 0, known);
    if (known[0] != 0x6627E8D5u || known[3] != 0x9B00DBD8u) {
        printf("the reference's Philox is not Philox\n");
        exit(1);
    }
    u32 count = batch * tokens * channels;
    u64 seed = 0x123456789ABCDEF0ull, stream = 0xFEDCBA9876543210ull;
    auto x = Buffer<T>::random(count);
    auto sigma = Buffer<float>::random(spatial ? batch * channels : batch * tokens);
    Buffer<T> dropped(count), jittered(count);
    RandomParams p{count, (u32)seed, (u32)(seed >> 32), (u32)stream, (u32)(stream >> 32), 0.3f, (float)(1 / 0.7), tokens, channels, spatial, 0};
    launch({groups(count, 4 * 256), 1, 1}, 256, 0, [&] { dropout<T>(p, x.get(), dropped.get(), DUALAD_AT, emulation::shared); });
    p.scale = 3.2f;
    launch({groups(count, 4 * 256), 1, 1}, 256, 0, [&] { jitter<T>(p, x.get(), sigma.get(), jittered.get(), DUALAD_AT, emulation::shared); });
    Values X = x.values(), S = sigma.values(), Y(count), Z(count);
    for (u32 i = 0; i < count; i++) {
        u32 bits[4];
        reference_philox(seed, stream, i / 4, bits);
        auto unit = [&](u32 word) { return (float)(bits[word] >> 8) * (1.0f / 16777216.0f); };
        Y[i] = unit(i % 4) < 0.3f ? 0 : X[i] / 0.7;
        double radius = std::sqrt(-2 * std::log(1 - (double)unit(i % 4 / 2 * 2))), angle = 2 * M_PI * unit(i % 4 / 2 * 2 + 1);
        double normal = radius * (i % 2 ? std::sin(angle) : std::cos(angle));
        Z[i] = X[i] + 3.2 * normal * (spatial ? S[i / channels / tokens * channels + i % channels] : S[i / channels]);
    }
    expect(dropped, Y, Tolerance<T>::value, "dropout of " + std::to_string(count));
    expect(jittered, Z, Tolerance<T>::value, "feature jitter of " + std::to_string(count));
}

static void check_activation(u32 rows, u32 channels, float probability, bool relu) {
    u32 count = rows * channels;
    u64 seed = 0x123456789ABCDEF0ull, stream = 0xFEDCBA9876543210ull;
    auto before = Buffer<float>::random(count), bias = Buffer<float>::random(channels), x = Buffer<float>::random(count), dy = Buffer<float>::random(count);
    Buffer<float> y(count), sum(count), gradient(count);
    for (u32 i = 0; i < count; i++) y.get()[i] = sum.get()[i] = before.get()[i], gradient.get()[i] = dy.get()[i];
    double scale = 1 / (1 - (double)probability);
    RandomParams p{count, (u32)seed, (u32)(seed >> 32), (u32)stream, (u32)(stream >> 32), probability, (float)scale, 0, channels, 0, relu};
    launch({groups(count, 4 * 256), 1, 1}, 256, 0, [&] { activate(p, bias.get(), y.get(), DUALAD_AT, emulation::shared); });
    launch({groups(count, 256), 1, 1}, 256, 0, [&] { activation_gradient(p, y.get(), gradient.get(), DUALAD_AT, emulation::shared); });
    p.relu = 0;
    launch({groups(count, 4 * 256), 1, 1}, 256, 0, [&] { add_activated(p, bias.get(), x.get(), sum.get(), DUALAD_AT, emulation::shared); });
    Values B = before.values(), C = bias.values(), X = x.values(), D = dy.values(), Y(count), S(count), G(count);
    for (u32 i = 0; i < count; i++) {
        u32 bits[4];
        reference_philox(seed, stream, i / 4, bits);
        bool dropped = (float)(bits[i % 4] >> 8) * (1.0f / 16777216.0f) < probability;
        double value = B[i] + C[i % channels], kept = relu && value < 0 ? 0 : value;
        Y[i] = dropped ? 0 : kept * scale;
        S[i] = X[i] + (dropped ? 0 : value * scale);
        G[i] = Y[i] > 0 ? D[i] * scale : 0;
    }
    std::string name = " of " + std::to_string(rows) + " x " + std::to_string(channels);
    expect(y, Y, 2e-5, "activation" + name);
    expect(sum, S, 2e-5, "sum with an activation" + name);
    expect(gradient, G, 2e-5, "gradient of an activation" + name);
}

// -------------------------------------------------------------------------------------------------------------------- AdamW

static void check_adamw(u32 count) {
    auto gradient = Buffer<float>::random(count), variable = Buffer<float>::random(count), mean = Buffer<float>::random(count), square = Buffer<float>::random(count);
    for (u32 i = 0; i < count; i++) square.get()[i] = std::fabs(square.get()[i]);
    u32 parts = groups(count, PER_GROUP);
    Buffer<float> sums(parts + 3);
    for (size_t i = 0; i < sums.count; i++) sums.get()[i] = 5;
    double beta1 = 0.9, beta2 = 0.999, rate = 1e-3, decay = 1e-2, eps = 1e-8, clip = 0.37, bias1 = 1 - std::pow(beta1, 4), bias2 = 1 - std::pow(beta2, 4);
    AdamWParams p{count, 2, (float)clip, (float)beta1, (float)beta2, (float)eps, (float)(1 - rate * decay), (float)(rate / bias1), (float)(1 / bias2), (float)(1 - beta1), (float)(1 - beta2)};
    Values G = gradient.values(), V = variable.values(), M = mean.values(), S = square.values(), sum_of(sums.count, 5);
    launch({parts, 1, 1}, 256, 256, [&] { sum_of_squares(p, gradient.get(), sums.get(), DUALAD_AT, emulation::shared); });
    launch({groups(count, 256), 1, 1}, 256, 0, [&] { adamw(p, gradient.get(), variable.get(), mean.get(), square.get(), DUALAD_AT, emulation::shared); });
    for (u32 i = 0; i < parts; i++) sum_of[2 + i] = 0;
    for (u32 i = 0; i < count; i++) {
        sum_of[2 + i / PER_GROUP] += G[i] * G[i];
        double g = G[i] * clip;
        M[i] = M[i] * beta1 + g * (1 - beta1);
        S[i] = S[i] * beta2 + g * g * (1 - beta2);
        V[i] = V[i] * (1 - rate * decay) - rate * (M[i] / bias1) / (std::sqrt(S[i] / bias2) + eps);
    }
    std::string name = "AdamW of " + std::to_string(count);
    expect(sums, sum_of, 2e-5, name + ", sum of squares");
    expect(variable, V, 2e-6, name);
    expect(mean, M, 2e-6, name + ", first moment");
    expect(square, S, 2e-6, name + ", second moment");
}

// ------------------------------------------------------------------------------------------------------- score, aggregation

template <typename T> static void check_score(u32 tokens, std::vector<u32> stages, bool product) {
    ScoreParams p{tokens, 0, (u32)stages.size(), {}, product, 1e18f};
    for (size_t i = 0; i < stages.size(); i++) p.stage_ends[i] = p.channels += stages[i];
    auto clean = Buffer<T>::random((size_t)tokens * p.channels), other = Buffer<T>::random((size_t)tokens * p.channels);
    Buffer<float> errors(tokens);
    launch({groups(tokens, 8), 1, 1}, 256, 0, [&] { combined_errors<T>(p, clean.get(), other.get(), errors.get(), DUALAD_AT, emulation::shared); });
    Values A = clean.values(), B = other.values(), E(tokens);
    for (u32 token = 0; token < tokens; token++) {
        size_t at = (size_t)token * p.channels;
        E[token] = product;
        for (u32 channels : stages) {
            double sum = 0;
            for (u32 i = 0; i < channels; i++, at++) sum += (A[at] - B[at]) * (A[at] - B[at]) / channels;
            E[token] = product ? E[token] * std::sqrt(sum) : E[token] + std::sqrt(sum);
        }
    }
    expect(errors, E, 2e-5, "score of " + std::to_string(tokens) + " tokens");
    // NaN stays NaN.
    clean.get()[0] = (T)NAN;
    launch({groups(tokens, 8), 1, 1}, 256, 0, [&] { combined_errors<T>(p, clean.get(), other.get(), errors.get(), DUALAD_AT, emulation::shared); });
    if (!std::isnan(errors.get()[0])) {
        printf("score: NaN became %g\n", errors.get()[0]);
        exit(1);
    }
}

template <typename T> static void check_aggregate(u32 batch, u32 rows, u32 columns, std::vector<std::pair<u32, u32>> stages) {
    u32 width = 0, first = 0;
    for (auto &stage : stages) width += stage.first;
    Buffer<T> tokens((size_t)batch * rows * columns * width);
    Values expected(tokens.count);
    for (auto &[channels, stride] : stages) {
        u32 side = stride < 16 ? 16 / stride : 1, repeat = stride > 16 ? stride / 16 : 1;
        u32 map_rows = groups(rows * side, repeat), map_columns = groups(columns * side, repeat);
        auto map = Buffer<T>::random((size_t)batch * channels * map_rows * map_columns);
        AggregateParams p{batch, channels, map_rows, map_columns, rows, columns, width, first, side, repeat};
        launch({groups((u64)columns * channels, 256), rows, batch}, 256, 0, [&] { aggregate<T>(p, map.get(), tokens.get(), DUALAD_AT, emulation::shared); });
        Values M = map.values();
        for (u32 image = 0; image < batch; image++)
            for (u32 row = 0; row < rows; row++)
                for (u32 column = 0; column < columns; column++)
                    for (u32 channel = 0; channel < channels; channel++) {
                        double sum = 0;
                        for (u32 cell = 0; cell < side * side; cell++) {
                            u32 y = repeat > 1 ? row / repeat : row * side + cell / side, x = repeat > 1 ? column / repeat : column * side + cell % side;
                            sum += M[(((size_t)image * channels + channel) * map_rows + y) * map_columns + x] / (side * side);
                        }
                        expected[(((size_t)image * rows + row) * columns + column) * width + first + channel] = sum;
                    }
        first += channels;
    }
    expect(tokens, expected, Tolerance<T>::value, "aggregation");
}

template <typename T> static void check_all() {
    std::vector<AttentionCase> cases = {
        {1, 1, 1, 1, 1, 0, 0, 0},    {2, 12, 12, 2, 3, 0, 0, 0},   {1, 3, 37, 2, 6, 0, 0, 0},    {1, 40, 5, 1, 33, 0, 0, 0},
        {2, 36, 36, 2, 32, 6, 1, 1}, {1, 40, 40, 1, 70, 8, 2, 1},  {1, 33, 33, 1, 130, 11, 1, 2}, {1, 9, 9, 1, 260, 9, 0, 3},
        {1, 4, 4, 2, 2, 2, 1, 1},    {1, 35, 35, 3, 8, 7, 3, 3},
    };
    for (auto &one : cases) check_attention<T>(one);
    for (auto [rows, channels, part] : std::vector<std::tuple<u32, u32, u32>>{{1, 1, 64}, {3, 5, 2}, {9, 33, 4}, {70, 65, 64}, {5, 200, 3}}) check_layer_norm<T>(rows, channels, part);
    check_random<T>(1, 1, 1, false);
    check_random<T>(2, 7, 5, true);
    check_random<T>(3, 25, 33, false);
    check_score<T>(1, {1}, true);
    check_score<T>(13, {3, 40, 65}, true);
    check_score<T>(9, {2, 2, 33, 7}, false);
    check_aggregate<T>(2, 3, 5, {{3, 4}, {33, 8}, {70, 16}});
    check_aggregate<T>(1, 5, 3, {{2, 2}, {7, 32}});
}

int main() {
    check_all<float>();
    check_all<f16>();
    check_activation(1, 1, 0.3f, true);
    check_activation(7, 5, 0.0f, true);
    check_activation(9, 33, 0.1f, false);
    check_activation(25, 129, 0.5f, true);
    check_memory(1, 2, 1);
    check_memory(5, 7, 10);
    check_memory(9, 33, 1);
    check_memory(6, 196, 4);
    check_adamw(1);
    check_adamw(300);
    check_adamw(2 * PER_GROUP + 77);
    printf("%llu values of %llu launches equal their definition\n", compared, emulation::launches);
}
