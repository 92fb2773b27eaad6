// SPDX-License-Identifier: MIT
// A run that goes on from a checkpoint has the bits of one that never stopped; a file or directory
// that is not right is refused, and nothing has changed.
#include <eggroll/checkpoint.h>

#include "core/checksum.h"
#include "core/named_tensors.h"
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"
#include "tests/temp_directory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include <sys/stat.h>

using namespace eggroll;
using namespace eggroll::test;

namespace {

constexpr int64_t kInputs = 5, kOutputs = 3, kRows = 7;

nn::Sequential make_model() {
    nn::Sequential model(nn::Linear(kInputs, 6), nn::Tanh(), nn::Linear(6, kOutputs));
    model.init(3);
    return here(std::move(model));
}

Options make_options() {
    return {.pop_size = 8,
            .sigma = 0.1f,
            .lr = 0.2f,
            .rank = 2,
            .seed = 11,
            .optimizer = optim::adam(),
            .lr_schedule = schedule::cosine(20, 0.1),
            .sigma_schedule = schedule::exponential(0.97)};
}

/// A model, a strategy over it, and the data of a generation as a function of its number.
struct Run {
    explicit Run(Options options = make_options()) : model(make_model()), es(model, options) {}

    Tensor x() const {
        return random_tensor({kRows, kInputs}, static_cast<uint32_t>(es.generation()));
    }
    Objective objective() const { return loss::mse(random_tensor({kRows, kOutputs}, 500)); }
    void step_to(int64_t generation) {
        while (es.generation() < generation) es.step(x(), objective());
    }

    nn::Sequential model;
    Eggroll es;
};

std::string bits_after(int64_t generation, const Options& options = make_options()) {
    Run run(options);
    run.step_to(generation);
    return bits(run.model);
}

/// Every checkpoint in the directory but the lock, sorted.
std::vector<std::string> checkpoints_in(const TempDirectory& directory) {
    std::vector<std::string> names = directory.list();
    std::erase(names, "lock");
    std::sort(names.begin(), names.end());
    return names;
}

std::string name_of_checkpoint(int generation) {
    std::string digits = std::to_string(generation);
    return "checkpoint-" + std::string(10 - digits.size(), '0') + digits + ".safetensors";
}

void flip_a_bit(const std::filesystem::path& path) {
    std::string bytes = read_bytes(path);
    bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 4);
    write_bytes(path, bytes);
}

}  // namespace

TEST_CASE("checkpoint: the checksum is CRC-32C [host]") {
    const auto crc = [](const std::string& text) {
        return detail::crc32c(std::as_bytes(std::span(text)));
    };
    // RFC 3720, appendix B.4, and the check value of the catalogues.
    CHECK(crc("123456789") == 0xE3069283u);
    CHECK(crc(std::string(32, '\0')) == 0x8A9136AAu);
    CHECK(crc(std::string(32, '\xFF')) == 0x62A8AB43u);
    std::string rising;
    for (int i = 0; i < 32; ++i) rising += static_cast<char>(i);
    CHECK(crc(rising) == 0x46DD794Eu);
    CHECK(crc("") == 0);
    const auto all = std::as_bytes(std::span(rising));
    for (size_t cut = 0; cut <= all.size(); ++cut) {
        CHECK(detail::crc32c(all.subspan(cut), detail::crc32c(all.first(cut))) == 0x46DD794Eu);
    }
}

TEST_CASE("checkpoint: going on gives the bits of never having stopped") {
    const TempDirectory directory("checkpoint-bits");
    for (const auto& optimizer : {optim::sgd(), optim::momentum(), optim::adam()}) {
        CAPTURE(optimizer->name());
        Options options = make_options();
        options.optimizer = optimizer;
        // A generation without a finite fitness makes no update, which adam's count must know.
        const auto run_to = [](Run& run, int64_t generation) {
            while (run.es.generation() < generation) {
                if (run.es.generation() == 1) {
                    run.es.ask();
                    const float nan = std::numeric_limits<float>::quiet_NaN();
                    run.es.tell(std::vector<float>(8, nan));
                    run.es.set_lr(0.15f);
                    run.es.set_sigma(0.12f);
                } else {
                    run.es.step(run.x(), run.objective());
                }
            }
        };
        Run whole(options);
        run_to(whole, 6);

        const auto path = directory / optimizer->name();
        {
            const ThreadScope threads(3);
            Run first(options);
            run_to(first, 3);
            save_checkpoint(path, first.es, {{"seconds", "1.5"}});
            CHECK(bits(first.model) != bits(whole.model));
        }
        const ThreadScope threads(1);
        Run second(options);
        const CheckpointInfo info = load_checkpoint(path, second.es);
        CHECK(info.generation == 3);
        CHECK(info.updates == 2);
        CHECK(info.lr == 0.15f);
        CHECK(info.sigma == 0.12f);
        CHECK(info.notes == Notes{{"seconds", "1.5"}});
        CHECK(info.warnings.empty());
        CHECK(second.es.generation() == 3);
        run_to(second, 6);
        CHECK(bits(second.model) == bits(whole.model));
        CHECK(second.es.lr() == whole.es.lr());
        CHECK(second.es.sigma() == whole.es.sigma());
    }
}

TEST_CASE("checkpoint: going on gives the same bits under every option that changes a run") {
    const TempDirectory directory("checkpoint-options");
    using Change = std::function<void(Options&)>;
    const std::vector<std::pair<const char*, Change>> cases = {
        {"noise reuse, saved in the middle", [](Options& o) { o.noise_reuse = 3; }},
        {"fixed noise", [](Options& o) { o.noise_reuse = 0; }},
        {"full rank", [](Options& o) { o.noise = noise::full_rank(); }},
        {"sign", [](Options& o) { o.noise = noise::sign(); }},
        {"sparse", [](Options& o) { o.noise = noise::sparse(4); }},
        {"baseline",
         [](Options& o) {
             o.antithetic = false;
             o.noise = noise::baseline();
         }},
        {"rules",
         [](Options& o) {
             o.rules = {{.pattern = "0.*", .rank = 1, .sigma_scale = 0.5f},
                        {.pattern = "2.bias", .frozen = true}};
         }},
        {"vectors frozen", [](Options& o) { o.freeze_vectors = true; }},
        {"ranks, dropped",
         [](Options& o) {
             o.shaping = shaping::centred_rank();
             o.non_finite = NonFinite::drop;
         }},
        {"pairs", [](Options& o) { o.shaping = shaping::sign_of_pair(); }},
        {"groups", [](Options& o) { o.shaping = shaping::groups(4, Spread::group); }},
        {"own",
         [](Options& o) {
             o.shaping = shaping::own("cube", [](std::span<const float> f, std::span<float> to) {
                 for (size_t i = 0; i < f.size(); ++i) to[i] = f[i] * f[i] * f[i];
             });
         }},
        {"evaluations", [](Options& o) { o.evaluations = 2; }},
        {"clipped", [](Options& o) { o.clip_norm = 0.01f; }},
        {"nesterov", [](Options& o) { o.optimizer = optim::momentum({.nesterov = true}); }},
        {"adamw", [](Options& o) { o.optimizer = optim::adamw({.weight_decay = 0.1f}); }},
        {"schedules",
         [](Options& o) {
             o.lr_schedule = schedule::warm_up(3, schedule::linear(9, 0.25));
             o.sigma_schedule = {"own", [](int64_t t) { return 1.0 / static_cast<double>(t + 1); }};
         }},
    };
    for (const auto& one : cases) {
        CAPTURE(one.first);
        Options options = make_options();
        one.second(options);
        const auto run_to = [&](Run& run, int64_t generation) {
            while (run.es.generation() < generation) {
                run.es.ask();
                std::vector<float> fitness = random_fitness(
                    8 * options.evaluations, static_cast<uint32_t>(run.es.generation()));
                if (run.es.generation() % 2 == 1) {
                    fitness[3] = std::numeric_limits<float>::quiet_NaN();
                    fitness.back() = no_result();
                }
                run.es.tell(fitness);
            }
        };
        Run whole(options);
        run_to(whole, 6);
        Run first(options);
        run_to(first, 4);
        save_checkpoint(directory / "run", first.es);
        Run second(options);
        load_checkpoint(directory / "run", second.es);
        run_to(second, 6);
        CHECK(bits(second.model) == bits(whole.model));
        CHECK(bits(second.model) != bits(first.model));
    }
}

TEST_CASE("checkpoint: the bounds of a bundle make the run what it is [host]") {
    const TempDirectory directory("checkpoint-bounds");
    const auto bundle = [](float max) {
        ParameterBundle made;
        made.scalar("x", 0.5f, {.min = 0.0f, .max = max});
        return made;
    };
    ParameterBundle one = bundle(1.0f), ten = bundle(10.0f);
    Eggroll saved(one, {.pop_size = 4}), other(ten, {.pop_size = 4});
    save_checkpoint(directory / "run", saved);
    CHECK(contains(error_of([&] { load_checkpoint(directory / "run", other); }),
                   "parameter x is 0: (), noise of a vector, read within 0 and 1 in the checkpoint "
                   "but 0: (), noise of a vector, read within 0 and 10 here"));
}

TEST_CASE("checkpoint: going on with members one by one, and without antithetic sampling") {
    const TempDirectory directory("checkpoint-members");
    Options options = make_options();
    options.antithetic = false;
    options.pop_size = 5;
    options.param_filter = [](const std::string& name, const Tensor&) { return name != "0.bias"; };
    const auto step = [](Run& run) {
        const Tensor x = run.x();
        run.es.step([&](const Member& member) { return sum(square(member(x))).item(); });
    };
    Run whole(options);
    for (int i = 0; i < 4; ++i) step(whole);
    Run first(options);
    for (int i = 0; i < 2; ++i) step(first);
    save_checkpoint(directory / "run", first.es);
    Run second(options);
    load_checkpoint(directory / "run", second.es);
    for (int i = 0; i < 2; ++i) step(second);
    CHECK(bits(second.model) == bits(whole.model));
}

TEST_CASE("checkpoint: saving waits for what was enqueued; a capture goes on after loading") {
    const TempDirectory directory("checkpoint-enqueued");
    const auto path = directory / "run";
    const Tensor x = random_tensor({kRows, kInputs});
    Run whole;
    for (int i = 0; i < 6; ++i) whole.es.step(x, whole.objective());

    Run first;
    for (int i = 0; i < 3; ++i) first.es.enqueue(x, first.objective());
    save_checkpoint(path, first.es);
    CHECK(read_checkpoint_info(path).updates == 3);
    CHECK(first.es.wait().generation == 2);

    Run second;
    CapturedStep captured = second.es.capture(x, second.objective());
    for (int i = 0; i < 2; ++i) captured.enqueue();
    load_checkpoint(path, second.es);
    for (int i = 0; i < 3; ++i) captured.enqueue();
    CHECK(second.es.wait().generation == 5);
    CHECK(bits(second.model) == bits(whole.model));
}

TEST_CASE("checkpoint: where it was saved and where it is loaded may differ" *
          doctest::skip(!on_cuda())) {
    const TempDirectory directory("checkpoint-devices");
    Run first;
    first.step_to(3);
    save_checkpoint(directory / "run", first.es);
    CHECK(load_checkpoint(directory / "run", first.es).warnings.empty());
    Run second;
    second.model.to(Device::cpu());
    const std::vector<std::string> warnings =
        load_checkpoint(directory / "run", second.es).warnings;
    REQUIRE(warnings.size() == 1);
    CHECK(contains(warnings[0], "was written on \"cuda:0\" and continues on \"cpu "));
    CHECK(bits(second.model) == bits(first.model));
    second.model.to(test_device());
    first.step_to(5);
    second.step_to(5);
    CHECK(bits(second.model) == bits(first.model));
}

TEST_CASE("checkpoint: another run is refused, with both values [host]") {
    const TempDirectory directory("checkpoint-refused");
    const auto path = directory / "run";
    Run saved;
    saved.step_to(2);
    save_checkpoint(path, saved.es);
    const std::string before = "[load_checkpoint] \"" + path.string() + "\": ";

    const auto refusal = [&](const Options& options, ResumeOptions how = {}) {
        Run other(options);
        other.step_to(1);
        const std::string was = bits(other.model);
        const float lr = other.es.lr(), sigma = other.es.sigma();
        const std::string said = error_of([&] { load_checkpoint(path, other.es, how); });
        if (!said.empty()) {
            CHECK(bits(other.model) == was);
            CHECK(other.es.generation() == 1);
            CHECK(other.es.lr() == lr);
            CHECK(other.es.sigma() == sigma);
        }
        return said;
    };
    CHECK(refusal(make_options()).empty());
    const auto changed = [&](auto change, ResumeOptions how = {}) {
        Options options = make_options();
        change(options);
        return refusal(options, how);
    };
    CHECK(changed([](Options& o) { o.seed = 12; }) ==
          before + "seed is 11 in the checkpoint but 12 here");
    CHECK(changed([](Options& o) { o.pop_size = 10; }) ==
          before + "pop_size is 8 in the checkpoint but 10 here");
    CHECK(changed([](Options& o) { o.antithetic = false; }) ==
          before + "antithetic is yes in the checkpoint but no here");
    CHECK(contains(changed([](Options& o) { o.rank = 1; }),
                   "rank is 2 in the checkpoint but 1 here"));
    CHECK(changed([](Options& o) { o.normalize_fitness = false; }) ==
          before + "shaping is z_score in the checkpoint but centre here");
    CHECK(changed([](Options& o) { o.shaping = shaping::groups(4); }) ==
          before + "shaping is z_score in the checkpoint but groups(size=4,spread=global) here");
    CHECK(changed([](Options& o) { o.non_finite = NonFinite::drop; }) ==
          before + "non_finite is worst in the checkpoint but drop here");
    CHECK(changed([](Options& o) { o.clip_norm = 0.5f; }) ==
          before + "clip_norm is 0 in the checkpoint but 0.5 here");
    CHECK(changed([](Options& o) { o.noise_reuse = 3; }) ==
          before + "noise_reuse is 1 in the checkpoint but 3 here");
    CHECK(contains(changed([](Options& o) { o.noise = noise::sign(); }),
                   before + "noise is low_rank in the checkpoint but sign here"));
    CHECK(changed([](Options& o) { o.rules = {{.pattern = "2.bias", .sigma_scale = 0.5f}}; }) ==
          before +
              "parameter 2.bias is 3: (3), noise of a vector in the checkpoint but 3: (3), noise "
              "of a vector, sigma times 0.5 here");
    CHECK(changed([](Options& o) { o.optimizer = optim::adam({.beta1 = 0.5f}); }) ==
          before +
              "optimizer is adam(beta1=0.9,beta2=0.999,eps=1e-08) in the checkpoint but "
              "adam(beta1=0.5,beta2=0.999,eps=1e-08) here");
    CHECK(changed([](Options& o) { o.optimizer = optim::sgd(); }) ==
          before +
              "optimizer is adam(beta1=0.9,beta2=0.999,eps=1e-08) in the checkpoint but sgd here; "
              "optimizer_states is 2 in the checkpoint but 0 here");
    CHECK(changed([](Options& o) {
              o.param_filter = [](const std::string& name, const Tensor&) {
                  return name != "2.bias";
              };
          }) == before +
                    "parameter 2.bias is 3: (3), noise of a vector in the checkpoint but 3: "
                    "(3), frozen here");

    // What may be changed on purpose, and is not by mistake.
    const std::string how = " (to go on with the new: accept_changes)";
    CHECK(changed([](Options& o) { o.lr = 0.25f; }) ==
          before + "lr is 0.2 in the checkpoint but 0.25 here" + how);
    CHECK(changed([](Options& o) { o.sigma = 0.3f; }) ==
          before + "sigma is 0.1 in the checkpoint but 0.3 here" + how);
    CHECK(contains(changed([](Options& o) { o.lr_schedule = schedule::cosine(30, 0.1); }), how));
    CHECK(contains(changed([](Options& o) { o.sigma_schedule = {}; }), "sigma_schedule is"));
    CHECK(contains(changed([](Options& o) { o.precision = Precision::bf16; }),
                   "precision is f32 in the checkpoint but bf16 here"));
    // Together with what may not, it is no help.
    CHECK(!contains(changed([](Options& o) { o.lr = 0.25f, o.seed = 1; }), how));
    CHECK(contains(changed([](Options& o) { o.seed = 1; }, {.accept_changes = true}), "seed"));

    Options options = make_options();
    options.lr = 0.25f;
    options.lr_schedule = schedule::cosine(30, 0.1);
    Run other(options);
    load_checkpoint(path, other.es, {.accept_changes = true});
    CHECK(other.es.generation() == 2);
    CHECK(other.es.lr() == static_cast<float>(0.25 * schedule::cosine(30, 0.1)(2)));
    CHECK(bits(other.model) == bits(saved.model));
}

TEST_CASE("checkpoint: another model is refused [host]") {
    const TempDirectory directory("checkpoint-model");
    const auto path = directory / "run";
    Run saved;
    save_checkpoint(path, saved.es);
    const auto refusal = [&](nn::Sequential model) {
        Eggroll es(model, make_options());
        const std::string was = bits(model);
        const std::string said = error_of([&] { load_checkpoint(path, es); });
        CHECK(bits(model) == was);
        return said;
    };
    using nn::Linear;
    CHECK(
        contains(refusal(nn::Sequential(Linear(5, 7), nn::Tanh(), Linear(7, 3))),
                 "parameter 0.weight is 0: (6,5), low_rank noise (6,5) of rank 2 in the checkpoint "
                 "but 0: (7,5), low_rank noise (7,5) of rank 2 here"));
    CHECK(contains(refusal(nn::Sequential(Linear(5, 6), Linear(6, 3))),
                   "parameter 1.weight is not there in the checkpoint but"));
    CHECK(contains(refusal(nn::Sequential(Linear(5, 6))),
                   "parameter 2.weight is 2: (3,6), low_rank noise "
                   "(3,6) of rank 2 in the checkpoint but "
                   "not there here"));
}

TEST_CASE("checkpoint: a generation that is open is not in it, and none is loaded into it [host]") {
    const TempDirectory directory("checkpoint-open");
    Run run;
    Checkpoint held(directory / "held", {.every = 1});
    run.step_to(2);
    run.es.enqueue(run.x(), run.objective());
    const Population open = run.es.ask();
    save_checkpoint(directory / "run", run.es);
    Report report;
    held.save_if_due(run.es, report);
    CHECK(report.trouble.empty());
    CHECK(held.saved() == 3);
    const std::string said = "generation 3 is open: tell it first";
    CHECK(error_of([&] { load_checkpoint(directory / "run", run.es); }) ==
          "[load_checkpoint] " + said);
    CHECK(error_of([&] { held.resume(run.es); }) == "[Checkpoint] " + said);

    // The open one goes on, and so does who loads what was saved.
    run.es.tell(open.evaluate(run.x(), run.objective()));
    run.step_to(6);
    CHECK(bits(run.model) == bits_after(6));
    Run second;
    CHECK(load_checkpoint(directory / "run", second.es).generation == 3);
    second.step_to(6);
    CHECK(bits(second.model) == bits_after(6));
}

TEST_CASE("checkpoint: every truncation and every flipped bit is refused or harmless [host]") {
    const TempDirectory directory("checkpoint-damage");
    const auto path = directory / "run";
    nn::Linear model(2, 1);
    const auto make = [](nn::Linear& of) {
        return Eggroll(of, {.pop_size = 4, .seed = 5, .optimizer = optim::momentum()});
    };
    Eggroll es = make(model);
    const Tensor x = host_random_tensor({3, 2}), target = host_random_tensor({3, 1}, 1);
    es.step(x, loss::mse(target));
    save_checkpoint(path, es, {{"a \"note\"", "line\nline"}});
    const std::string good = read_bytes(path);
    REQUIRE(good.size() < 2000);
    const std::string after_one = bits(model);
    es.step(x, loss::mse(target));
    const std::string after_two = bits(model);

    nn::Linear other(2, 1);
    Eggroll resumed = make(other);
    int64_t refused = 0, harmless = 0;
    const auto try_it = [&] {
        for (const Parameter& parameter : other.parameters()) {
            Tensor value = parameter.value;
            std::ranges::fill(value.data(), 7.0f);
        }
        const std::string was = bits(other);
        const int64_t generation = resumed.generation();
        try {
            const CheckpointInfo info = load_checkpoint(path, resumed);
            const bool same = bits(other) == after_one && resumed.generation() == 1 &&
                              info.notes == Notes{{"a \"note\"", "line\nline"}};
            resumed.step(x, loss::mse(target));
            ++harmless;
            return same && bits(other) == after_two;
        } catch (const Error&) {
            ++refused;
            return bits(other) == was && resumed.generation() == generation;
        }
    };
    REQUIRE(try_it());
    REQUIRE(harmless == 1);

    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    for (size_t i = 0; i < good.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
            const auto put = [&](char byte) {
                file.seekp(static_cast<std::streamoff>(i));
                file.put(byte);
                file.flush();
            };
            put(static_cast<char>(good[i] ^ (1 << bit)));
            CAPTURE(i);
            CAPTURE(bit);
            if (!try_it()) FAIL_CHECK("a flipped bit goes unnoticed or changes something");
            put(good[i]);
        }
    }
    CHECK(harmless < 40);  // the case of digits in \u escapes, at most
    const int64_t flips = refused;
    for (size_t size = 0; size < good.size(); ++size) {
        write_bytes(path, good.substr(0, size));
        CAPTURE(size);
        if (!try_it()) FAIL_CHECK("a truncated file goes unnoticed or changes something");
    }
    CHECK(refused - flips == static_cast<int64_t>(good.size()));
    write_bytes(path, good + '\0');
    CHECK(try_it());
    CHECK(refused - flips == static_cast<int64_t>(good.size()) + 1);
}

TEST_CASE("checkpoint: files that are none, or of another time [host]") {
    const TempDirectory directory("checkpoint-none");
    const auto path = directory / "file";
    Run run;
    save_safetensors(path, run.model);
    CHECK(error_of([&] { read_checkpoint_info(path); }) ==
          "[read_checkpoint_info] \"" + path.string() + "\": is not a checkpoint");
    CHECK(contains(error_of([&] { load_checkpoint(directory / "none", run.es); }),
                   "No such file or directory"));
    write_bytes(directory / "text", "{\"a\": [1, 2, 3], \"b\": 4}");
    CHECK(contains(error_of([&] { load_checkpoint(directory / "text", run.es); }),
                   "is no safetensors file: its header would be "));

    run.step_to(1);
    save_checkpoint(path, run.es);
    const detail::TensorFile file("test", path);
    std::vector<detail::NamedTensor> tensors;
    for (const detail::TensorEntry& entry : file.entries()) {
        tensors.push_back({entry.name, Tensor::zeros(entry.shape)});
    }
    const auto rewritten = [&](const char* key, const char* value) {
        detail::Metadata metadata = file.metadata();
        metadata.erase("checksum");
        value != nullptr ? void(metadata[key] = value) : void(metadata.erase(key));
        detail::save_checked_tensors("test", path, tensors, metadata);
        return error_of([&] { load_checkpoint(path, run.es); });
    };
    CHECK(contains(rewritten("eggroll_checkpoint", "2"),
                   "is a checkpoint of format \"2\", written by eggroll \"" EGGROLL_VERSION
                   "\"; this is " EGGROLL_VERSION ", which reads format 1"));
    CHECK(contains(rewritten("run.noise_version", "9"),
                   "noise_version is 9 in the checkpoint but 1 here"));
    CHECK(contains(rewritten("run.new_option", "9"),
                   "new_option is 9 in the checkpoint but not there here"));
    CHECK(contains(rewritten("run.seed", nullptr),
                   "seed is not there in the checkpoint but 11 here"));
    CHECK(contains(rewritten("generation", "x"), "says nothing of its \"generation\""));
    CHECK(contains(rewritten("generation", "-1"), "which no run can be"));
    CHECK(contains(rewritten("generation", "99999999999"), "which no run can be"));
    CHECK(contains(rewritten("updates", "2"), "which no run can be"));
    CHECK(contains(rewritten("lr", "nan"), "which no run can be"));
    CHECK(contains(rewritten("sigma", "0"), "which no run can be"));
    CHECK(run.es.generation() == 1);
    CHECK(rewritten("device", "cpu other").empty());
    CHECK(contains(load_checkpoint(path, run.es).warnings.at(0),
                   "was written on \"cpu other\" and continues on \"cpu "));
    CHECK(rewritten("library", "0.0.9").empty());
    CHECK(read_checkpoint_info(path).warnings.size() == 1);

    Run other;
    CHECK(contains(error_of([&] { save_checkpoint(path, other.es, {{"a", "\xFF"}}); }), "UTF-8"));
    CHECK(load_checkpoint(path, other.es).generation == 1);
}

// --- Directories --------------------------------------------------------------------------------

TEST_CASE("checkpoint: a directory keeps the last few and resumes the newest") {
    const TempDirectory directory("checkpoint-keep");
    {
        Checkpoint held(directory / "", {.every = 2, .keep = 2});
        Run run;
        CHECK(!held.resume(run.es));
        for (int i = 0; i < 9; ++i) {
            Report report = run.es.step(run.x(), run.objective());
            held.save_if_due(run.es, report);
            CHECK(report.trouble.empty());
        }
        CHECK(checkpoints_in(directory) ==
              std::vector{name_of_checkpoint(6), name_of_checkpoint(8)});
        held.save(run.es, {{"by", "hand"}});
        held.save(run.es, {{"by", "hand"}});
        CHECK(checkpoints_in(directory) ==
              std::vector{name_of_checkpoint(8), name_of_checkpoint(9)});
    }
    Checkpoint held(directory / "", {.every = 2, .keep = 2});
    Run run;
    const auto found = held.resume(run.es);
    REQUIRE(found);
    CHECK(found->generation == 9);
    CHECK(found->notes == Notes{{"by", "hand"}});
    run.step_to(12);
    CHECK(bits(run.model) == bits_after(12));
}

TEST_CASE("checkpoint: what is damaged is passed over for what is not [host]") {
    const TempDirectory directory("checkpoint-damaged");
    Checkpoint held(directory / "run", {.every = 1, .keep = 3});
    Run run;
    for (int i = 0; i < 5; ++i) {
        run.step_to(i + 1);
        held.save(run.es);
    }
    const auto path = [&](int i) { return directory / ("run/" + name_of_checkpoint(i)); };
    flip_a_bit(path(5));
    write_bytes(path(4), "");
    Run second;
    const auto found = held.resume(second.es);
    REQUIRE(found);
    CHECK(found->generation == 3);
    REQUIRE(found->warnings.size() == 2);
    CHECK(contains(found->warnings[0], "[Checkpoint] \"" + path(5).string() + "\": is damaged"));
    CHECK(contains(found->warnings[1], path(4).string()));
    second.step_to(5);
    CHECK(bits(second.model) == bits(run.model));
    // It takes the place of the damaged one.
    held.save(second.es);
    CHECK(held.resume(run.es)->generation == 5);

    // A run of another seed is not damaged: no older one will do.
    Options options = make_options();
    options.seed = 12;
    Run other(options);
    CHECK(contains(error_of([&] { held.resume(other.es); }), "seed is 11"));

    for (const int i : {3, 4, 5}) write_bytes(path(i), "");
    CHECK(contains(error_of([&] { held.resume(run.es); }),
                   "none of its 3 checkpoints can be read; of the newest: "));
    CHECK(run.es.generation() == 5);
}

TEST_CASE("checkpoint: a run that was not resumed is not written over [host]") {
    const TempDirectory directory("checkpoint-unclaimed");
    {
        Checkpoint held(directory / "run");
        Run run;
        run.step_to(3);
        held.save(run.es);
    }
    Checkpoint held(directory / "run");
    Run run;
    run.step_to(1);
    const std::string said = "[Checkpoint] \"" + (directory / "run").string() +
                             "\": holds a run of 3 generations: resume it, or name another "
                             "directory for the one that is at 1";
    Report report;
    CHECK(error_of([&] { held.save(run.es); }) == said);
    CHECK(error_of([&] { held.save_if_due(run.es, report); }) == said);
    CHECK(held.resume(run.es));
    held.save(run.es);
    CHECK(std::filesystem::file_size(directory / ("run/" + name_of_checkpoint(3))) > 0);
}

TEST_CASE("checkpoint: a directory takes one strategy at a time [host]") {
    const TempDirectory directory("checkpoint-owner");
    Checkpoint held(directory / "run");
    Run run, other;
    run.step_to(3);
    held.save(run.es);
    other.step_to(5);
    const std::string said = "[Checkpoint] \"" + (directory / "run").string() +
                             "\": holds the run of another strategy: resume it, or name another "
                             "directory for the one that is at 5";
    Report report;
    CHECK(error_of([&] { held.save(other.es); }) == said);
    CHECK(error_of([&] { held.save_if_due(other.es, report); }) == said);
    const Eggroll moved = std::move(run.es);  // the same strategy
    held.save(moved);
    // Whoever resumes it takes it over.
    CHECK(held.resume(other.es)->generation == 3);
    held.save(other.es);
    CHECK(contains(error_of([&] { held.save(moved); }), "the run of another strategy"));

    // A save that fails takes nothing.
    Checkpoint empty(directory / "empty");
    CHECK(contains(error_of([&] { empty.save(moved, {{"note", "\xFF"}}); }), "UTF-8"));
    empty.save(other.es);
}

TEST_CASE("checkpoint: a directory is one process's [host]") {
    const TempDirectory directory("checkpoint-lock");
    const auto path = directory / "new/run";
    {
        Checkpoint held(path);
        CHECK(held.directory() == path);
        CHECK(error_of([&] { Checkpoint second(path); }) == "[Checkpoint] \"" + path.string() +
                                                                "\": is in use by process " +
                                                                std::to_string(::getpid()));
        CHECK(error_of([&] { Checkpoint second(directory / "new/../new/run/"); }) ==
              "[Checkpoint] \"" + path.string() + "\": is in use by process " +
                  std::to_string(::getpid()));
        Checkpoint moved = std::move(held);
        CHECK(error_of([&] { Checkpoint second(path); }) != "");
        CHECK(error_of([&] { held.directory(); }) == "[Checkpoint] this one was moved from");
    }
    const Checkpoint again(path);
}

TEST_CASE("checkpoint: opening a directory sweeps up what a killed process left [host]") {
    const TempDirectory directory("checkpoint-sweep");
    write_bytes(directory / ".checkpoint-1-0.tmp", "half");
    write_bytes(directory / ".eggroll-1-0.tmp", "not a checkpoint's");
    write_bytes(directory / "checkpoint-1.safetensors", "somebody's own");
    write_bytes(directory / "notes.txt", "somebody's own");
    Checkpoint held(directory / "");
    Run run;
    CHECK(!held.resume(run.es));
    CHECK(checkpoints_in(directory) ==
          std::vector<std::string>{".eggroll-1-0.tmp", "checkpoint-1.safetensors", "notes.txt"});
}

TEST_CASE("checkpoint: directories that cannot be used, options out of range [host]") {
    const TempDirectory directory("checkpoint-places");
    write_bytes(directory / "file", "text");
    const auto refusal = [](const std::filesystem::path& at, CheckpointOptions options = {}) {
        return error_of([&] { Checkpoint held(at, options); });
    };
    CHECK(refusal(directory / "file") ==
          "[Checkpoint] \"" + (directory / "file").string() + "\": is not a directory");
    CHECK(refusal(directory / "file/run") == refusal(directory / "file"));
    CHECK(contains(refusal(""), "names no directory"));
    CHECK(refusal(directory / "run", {.every = 0}) ==
          "[Checkpoint] every must be at least 1 generation but is 0");
    CHECK(refusal(directory / "run", {.keep = 0}) ==
          "[Checkpoint] keep must be at least 1 but is 0");
    CHECK(directory.list() == std::vector<std::string>{"file"});
    if (::geteuid() != 0) {
        std::filesystem::create_directory(directory / "locked");
        ::chmod((directory / "locked").c_str(), 0500);
        CHECK(contains(refusal(directory / "locked"), "cannot be written to: Permission denied"));
        CHECK(contains(refusal(directory / "locked/run"), "cannot be created: Permission denied"));
        ::chmod((directory / "locked").c_str(), 0700);
    }
}
