// SPDX-License-Identifier: MIT
// Reads a .npy file and writes it again, for tests/npy_test.py to compare with NumPy.
#include <eggroll/npy.h>

#include <cstdio>
#include <exception>

using namespace eggroll;

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: npy_tool FROM TO\n");
        return 2;
    }
    try {
        save_npy(argv[2], load_npy(argv[1]));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
