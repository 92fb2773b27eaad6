// SPDX-License-Identifier: MIT
#include "bench/arch.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

using eggroll::bench::parse_arch;

TEST_CASE("arch: both spellings of an architecture [host]") {
    using Widths = std::vector<int64_t>;
    CHECK(parse_arch("256x3") == Widths{256, 256, 256, 256});
    CHECK(parse_arch("64-128-10") == Widths{64, 128, 10});
    CHECK(parse_arch("1048576-1") == Widths{1048576, 1});
    CHECK(parse_arch("1x1024").size() == 1025);
}

TEST_CASE("arch: what is none is refused in one short line, before memory is taken for it [host]") {
    for (const std::string& bad :
         {std::string(), std::string("64"), std::string("x"), std::string("64x"), std::string("x3"),
          std::string("0x3"), std::string("64-"), std::string("-64"), std::string("64--10"),
          std::string("64x3x3"), std::string("64x1025"), std::string("1048577-1"),
          std::string("1-1\0", 4), "\n\xFF" + std::string(5000, '1')}) {
        CAPTURE(bad);
        std::string message;
        try {
            parse_arch(bad);
        } catch (const std::invalid_argument& error) {
            message = error.what();
        }
        CHECK(message.starts_with("architecture \""));
        CHECK(message.size() < 250);
        CHECK(message.find_first_of("\n\xFF") == std::string::npos);
    }
    std::string layers = "1";
    for (int i = 0; i < 1025; ++i) layers += "-1";
    CHECK_THROWS_AS(parse_arch(layers), std::invalid_argument);
}
