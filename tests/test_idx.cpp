// SPDX-License-Identifier: MIT

#include "examples/common/idx.h"

#include <eggroll/error.h>

#include <doctest/doctest.h>
#include <unistd.h>
#include <zlib.h>

#include <fstream>
#include <functional>
#include <string>

namespace {

namespace fs = std::filesystem;

/// A folder of this test's own, gone at its end.
class Folder {
public:
    Folder() : path_(fs::temp_directory_path() / ("eggroll_idx_" + std::to_string(getpid()))) {
        fs::create_directories(path_);
    }
    ~Folder() { fs::remove_all(path_); }

    fs::path plain(const std::string& name, const std::string& bytes) const {
        std::ofstream(path_ / name, std::ios::binary) << bytes;
        return path_ / name;
    }
    fs::path gzipped(const std::string& name, const std::string& bytes) const {
        gzFile file = gzopen((path_ / name).c_str(), "wb");
        gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
        gzclose(file);
        return path_ / name;
    }
    fs::path operator/(const std::string& name) const { return path_ / name; }

private:
    fs::path path_;
};

std::string word(uint32_t value) {
    return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
            static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string header(const std::vector<uint32_t>& extents, char type = 8) {
    std::string text = {0, 0, type, static_cast<char>(extents.size())};
    for (const uint32_t extent : extents) text += word(extent);
    return text;
}

/// The reader refuses the file, names it and gives the reason.
void check_refused(const fs::path& path, const std::string& reason,
                   const std::function<void()>& read) {
    CAPTURE(path);
    std::string message = "(accepted)";
    try {
        read();
    } catch (const eggroll::Error& error) {
        message = error.what();
    }
    CAPTURE(message);
    CHECK(message.find(path.string()) != std::string::npos);
    CHECK(message.find(reason) != std::string::npos);
}

void check_refused(const fs::path& path, const std::string& reason, size_t axes = 1) {
    check_refused(path, reason, [&] { examples::read_idx(path, axes); });
}

}  // namespace

TEST_CASE("idx: arrays are read, gzipped or plain") {
    const Folder folder;
    const std::string data = {1, 2, 3, 4, 5, static_cast<char>(255)};
    for (const fs::path& path : {folder.gzipped("a.gz", header({2, 1, 3}) + data),
                                 folder.plain("a", header({2, 1, 3}) + data)}) {
        const examples::IdxArray array = examples::read_idx(path, 3);
        CHECK(array.shape == std::vector<int64_t>{2, 1, 3});
        CHECK(array.bytes == std::vector<uint8_t>{1, 2, 3, 4, 5, 255});
    }
    // Larger than one step of the reader.
    const std::string large(3'000'001, 'x');
    const auto path = folder.gzipped("large.gz", header({3'000'001}) + large);
    CHECK(examples::read_idx(path, 1).bytes == std::vector<uint8_t>(large.begin(), large.end()));
}

TEST_CASE("idx: images come with their labels") {
    const Folder folder;
    const auto images = folder.gzipped("i.gz", header({2, 1, 2}) + "abcd");
    const auto labels = folder.gzipped("l.gz", header({2}) + std::string{0, 9});
    const auto set = examples::read_labelled_images(images, labels, 10);
    CHECK(set.count == 2);
    CHECK(set.rows == 1);
    CHECK(set.cols == 2);
    CHECK(set.pixels == std::vector<uint8_t>{'a', 'b', 'c', 'd'});
    CHECK(set.labels == std::vector<uint8_t>{0, 9});

    const auto read = [&](const fs::path& i, const fs::path& l, int classes) {
        return [=] { examples::read_labelled_images(i, l, classes); };
    };
    check_refused(labels, "label 9 is outside 0..8", read(images, labels, 9));
    const auto three = folder.gzipped("l3.gz", header({3}) + std::string{0, 1, 2});
    check_refused(three, "3 labels", read(images, three, 10));
    const auto none = folder.gzipped("i0.gz", header({0, 1, 2}));
    const auto no_labels = folder.gzipped("l0.gz", header({0}));
    check_refused(none, "no images", read(none, no_labels, 10));
}

TEST_CASE("idx: a missing, empty or foreign file is refused by name") {
    const Folder folder;
    check_refused(folder / "missing.gz", "No such file");
    check_refused(folder.plain("empty", ""), "empty");
    check_refused(folder.gzipped("empty.gz", ""), "empty");
    check_refused(folder.plain("text", "a letter"), "not an IDX file");
    check_refused(folder.plain("three", std::string(3, '\0')), "not an IDX file");
    check_refused(folder.plain("floats", header({1}, 13) + "1234"), "element type is 13");
    check_refused(folder.plain("axes", header({1, 1}) + "1"), "has 2 axes but 1");
    check_refused(folder.plain("header", header({1}).substr(0, 6)), "within its header");
}

TEST_CASE("idx: a damaged or lying file is refused by name") {
    const Folder folder;
    check_refused(folder.plain("few", header({5}) + "1234"), "5 bytes of data but there are 4");
    check_refused(folder.plain("more", header({3}) + "1234"), "more data");
    // 4 GiB claimed, nothing there; and extents whose product overflows.
    check_refused(folder.plain("claim", header({0xFFFFFFFF})), "4294967295");
    check_refused(folder.plain("overflow", header({0xFFFFFFFF, 0xFFFFFFFF, 2})), "2^64", 3);

    std::string noise;  // not compressible, so that a cut falls within the data
    for (uint32_t i = 0, x = 1; i < 5000; ++i) noise += word(x = x * 1664525 + 1013904223);
    const auto whole = folder.gzipped("whole.gz", header({20000}) + noise);
    CHECK(examples::read_idx(whole, 1).bytes.size() == 20000);
    std::ifstream in(whole, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    for (const size_t kept : {size_t{12}, bytes.size() / 2, bytes.size() - 1}) {
        const std::string name = "cut" + std::to_string(kept);
        check_refused(folder.plain(name, bytes.substr(0, kept)), "");
    }
    // Two gzip files in one are one; what is none does not follow.
    const auto packed = [&](const std::string& name, const std::string& part) {
        std::ifstream file(folder.gzipped(name, part), std::ios::binary);
        return std::string{std::istreambuf_iterator<char>(file), {}};
    };
    const std::string two = packed("a", header({4})) + packed("b", "1234");
    CHECK(examples::read_idx(folder.plain("two", two), 1).bytes.size() == 4);
    check_refused(folder.plain("tail", two + "x"), "");
    check_refused(folder / "", "directory");

    std::string flipped = bytes;
    flipped[flipped.size() / 2] ^= 1;
    check_refused(folder.plain("flipped", flipped), "");
}
