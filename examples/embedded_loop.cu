// SPDX-License-Identifier: MIT

// A loop of the caller's on the GPU: carts with poles to balance, simulated by kernels of one's own
// in a stream of one's own, driven by the policies of the whole population. State, actions and
// rewards stay on the device; the host sees the report of a generation.

#include "common/json.h"
#include "common/options.h"
#include "common/text.h"

#include <eggroll/eggroll.h>

#include <cuda_runtime.h>

#include <cstdint>
#include <iostream>
#include <stdexcept>
#include <string>

using namespace eggroll;
using examples::fixed;

namespace {

// --- The simulation: knows CUDA and nothing of the library
// ----------------------------------------

void check(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

class Stream {
public:
    Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    cudaStream_t get() const { return stream_; }

private:
    cudaStream_t stream_ = nullptr;
};

class DeviceArray {
public:
    explicit DeviceArray(int64_t n) {
        check(cudaMalloc(&data_, static_cast<size_t>(n) * sizeof(float)), "memory of the carts");
    }
    ~DeviceArray() { cudaFree(data_); }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;

    float* data() const { return data_; }

private:
    float* data_ = nullptr;
};

/// A number in -0.05..0.05 from a counter (the finaliser of SplitMix64).
__device__ float small_number(uint64_t counter) {
    uint64_t z = (counter + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (static_cast<float>((z ^ (z >> 31)) >> 40) * 0x1p-24f - 0.5f) * 0.1f;
}

/// Puts every cart near the middle, its pole nearly upright: the same starts for all members.
/// state (P,B,4): place, speed, angle, angular speed.
__global__ void start_carts(float* state, float* reward, int64_t carts, int64_t episodes,
                            uint64_t draw) {
    const int64_t cart = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (cart >= carts) return;
    const auto episode = static_cast<uint64_t>(cart % episodes);
    for (int i = 0; i < 4; ++i) {
        state[4 * cart + i] = small_number((draw * static_cast<uint64_t>(episodes) + episode) * 4 +
                                           static_cast<uint64_t>(i));
    }
    reward[cart] = 0;
}

/// One step of 20 ms, explicit Euler, of a cart of 1 kg and a pole of 0.1 kg and 1 m. Reward: 1 for
/// each step until the pole leans more than 12 degrees or the cart is over 2.4 m away.
__global__ void move_carts(float* state, const float* action, float* reward, int64_t carts) {
    const int64_t cart = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (cart >= carts) return;
    constexpr float kStep = 0.02f, kGravity = 9.8f, kPole = 0.1f, kTotal = 1.1f, kHalfLength = 0.5f,
                    kStrength = 10.0f;
    float* s = state + 4 * cart;
    const float x = s[0], v = s[1], angle = s[2], spin = s[3];
    if (fabsf(x) > 2.4f || fabsf(angle) > 0.2094f) return;  // has fallen
    const float force = kStrength * tanhf(action[cart]);
    const float sine = sinf(angle), cosine = cosf(angle);
    const float push = (force + kPole * kHalfLength * spin * spin * sine) / kTotal;
    const float spin_rate = (kGravity * sine - cosine * push) /
                            (kHalfLength * (4.0f / 3.0f - kPole * cosine * cosine / kTotal));
    const float rate = push - kPole * kHalfLength * spin_rate * cosine / kTotal;
    s[0] = x + kStep * v;
    s[1] = v + kStep * rate;
    s[2] = angle + kStep * spin;
    s[3] = spin + kStep * spin_rate;
    reward[cart] += 1;
}

class Carts {
public:
    Carts(int64_t members, int64_t episodes, cudaStream_t stream)
        : episodes_(episodes),
          carts_(members * episodes),
          stream_(stream),
          state_(4 * carts_),
          reward_(carts_) {}

    float* state() const { return state_.data(); }    // (P,B,4)
    float* reward() const { return reward_.data(); }  // (P,B)

    void start(uint64_t draw) {
        start_carts<<<blocks(), kThreads, 0, stream_>>>(state(), reward(), carts_, episodes_, draw);
        check(cudaGetLastError(), "start_carts");
    }
    void move(const float* action) {  // (P,B)
        move_carts<<<blocks(), kThreads, 0, stream_>>>(state(), action, reward(), carts_);
        check(cudaGetLastError(), "move_carts");
    }

private:
    static constexpr int kThreads = 128;
    unsigned blocks() const { return static_cast<unsigned>((carts_ + kThreads - 1) / kThreads); }

    int64_t episodes_, carts_;
    cudaStream_t stream_;
    DeviceArray state_, reward_;
};

// --- The training
// -----------------------------------------------------------------------------------

struct Flags {
    examples::CommonFlags common{.steps = 30};
    int64_t episodes = 4, episode_steps = 200;
};

void train_policy(const Flags& flags, const Options& options) {
    const Device device = Device::cuda();
    const int64_t members = options.pop_size, episodes = flags.episodes;

    nn::Sequential policy(nn::Linear(4, 16), nn::Tanh(), nn::Linear(16, 1));
    policy.init(options.seed);
    policy.to(device);
    Eggroll es(policy, options);

    // The library goes into the simulation's stream: nobody waits, all is in order.
    const Stream stream;
    const StreamScope scope(device, stream.get());
    Carts carts(members, episodes, stream.get());
    const Tensor state =
        per_member(Tensor::from_blob(carts.state(), {members, episodes, 4}, device));
    const Tensor reward =
        per_member(Tensor::from_blob(carts.reward(), {members, episodes}, device));

    const auto generation = [&] {
        const Population population = es.ask();
        carts.start(options.seed + static_cast<uint64_t>(population.generation()) + 1);
        for (int64_t i = 0; i < flags.episode_steps; ++i) {
            const Tensor action = population.forward(state);  // (P,B,1)
            carts.move(static_cast<const float*>(action.device_data()));
        }
        return es.tell(mean(reward, -1));  // (P)
    };
    double first = 0;
    const auto note_first = [&](Eggroll&, Report& report) {
        if (report.generation == 0) first = report.mean;
    };
    const double last =
        train(es, flags.common.steps, generation, {note_first, ProgressBar(std::cout)}).mean;
    synchronize(device);  // before the carts go
    std::cout << "mean reward: " << fixed(first, 1) << " at first, " << fixed(last, 1)
              << " at last, of " << flags.episode_steps << std::endl;
    if (flags.common.json) {
        examples::print_json({{"example", "embedded_loop"},
                              {"first_reward", first},
                              {"last_reward", last},
                              {"steps", flags.common.steps},
                              {"seed", options.seed}});
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Balances poles on carts that are simulated on the GPU, nothing leaving it.");
    Flags flags;
    Options options{.pop_size = 256, .sigma = 0.3f, .lr = 0.3f, .rank = 1};
    examples::add_common_flags(app, flags.common, options);
    app.add_option("--episodes", flags.episodes, "carts of each member")
        ->check(examples::at_least(1));
    app.add_option("--episode-steps", flags.episode_steps, "most steps of a cart")
        ->check(examples::at_least(1));
    return examples::run_main(app, flags.common, argc, argv, [&] { train_policy(flags, options); });
}
