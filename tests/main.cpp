// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <eggroll/device.h>
#include <eggroll/error.h>

#include <cstdio>
#include <string_view>

/// As doctest's own, but for --probe-device: status 0 where the tests can run on a GPU.
int main(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "--probe-device") {
        try {
            std::printf("%s\n", eggroll::Device::cuda().name().c_str());
            return 0;
        } catch (const eggroll::Error& error) {
            std::printf("%s\n", error.what());
            return 1;
        }
    }
    return doctest::Context(argc, argv).run();
}
