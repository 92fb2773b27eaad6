// SPDX-License-Identifier: MIT
// Files appear whole or not at all, whatever goes wrong.
#include "core/file.h"

#include "tests/errors.h"
#include "tests/temp_directory.h"

#include <eggroll/error.h>

#include <doctest/doctest.h>

#include <stdexcept>

#include <sys/resource.h>
#include <sys/stat.h>

using namespace eggroll;
using detail::InputFile;
using detail::write_file_atomically;
using detail::WriteBytes;
using eggroll::test::error_of;
using test::TempDirectory;

namespace {

/// Makes a write fail after `bytes`, as a full disk does, until the end of the scope.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{bytes, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    }
    ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

private:
    rlimit before_{};
};

void write_text(const std::filesystem::path& path, std::string_view text) {
    write_file_atomically("test", path, [&](const WriteBytes& write) {
        write(std::as_bytes(std::span(text.substr(0, text.size() / 2))));
        write(std::as_bytes(std::span(text.substr(text.size() / 2))));
    });
}

void check_write_fails(const std::filesystem::path& path, const std::string& reason) {
    const std::string text(1000, 'x');
    CHECK(error_of([&] { write_text(path, text); }) ==
          "[test] \"" + path.string() + "\": " + reason);
}

}  // namespace

TEST_CASE("file: written and replaced") {
    const TempDirectory directory("file-written");
    const auto path = directory / "out";
    write_text(path, "first");
    CHECK(test::read_bytes(path) == "first");
    write_text(path, "the second, longer than the first");
    CHECK(test::read_bytes(path) == "the second, longer than the first");
    write_text(path, "");
    CHECK(test::read_bytes(path).empty());
    CHECK(directory.list() == std::vector<std::string>{"out"});
}

TEST_CASE("file: the umask decides the mode") {
    const TempDirectory directory("file-umask");
    const mode_t before = ::umask(027);
    write_text(directory / "out", "text");
    ::umask(before);
    struct stat status = {};
    REQUIRE(::stat((directory / "out").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0640);
}

TEST_CASE("file: who may read a file may read what takes its place, and nobody else") {
    const TempDirectory directory("file-mode");
    for (const mode_t mode : {0600, 0640, 0755}) {
        write_text(directory / "out", "old");
        REQUIRE(::chmod((directory / "out").c_str(), mode) == 0);
        write_text(directory / "out", "new");
        struct stat status = {};
        REQUIRE(::stat((directory / "out").c_str(), &status) == 0);
        CHECK((status.st_mode & 07777) == mode);
    }
}

TEST_CASE("file: a link keeps pointing to what is written") {
    const TempDirectory directory("file-link");
    write_text(directory / "target", "old");
    std::filesystem::create_symlink("target", directory / "link");
    write_text(directory / "link", "new");
    CHECK(std::filesystem::is_symlink(directory / "link"));
    CHECK(test::read_bytes(directory / "target") == "new");
}

TEST_CASE("file: a failed write leaves the old file and nothing else") {
    const TempDirectory directory("file-failed");
    const auto path = directory / "out";
    write_text(path, "good");
    SUBCASE("full disk") {
        const FileSizeLimit limit(700);
        check_write_fails(path, "cannot write: File too large");
    }
    SUBCASE("the content fails") {
        const auto content = [](const WriteBytes& write) {
            write(std::as_bytes(std::span("half")));
            throw std::domain_error("mine");
        };
        CHECK_THROWS_AS(write_file_atomically("test", path, content), std::domain_error);
    }
    CHECK(test::read_bytes(path) == "good");
    CHECK(directory.list() == std::vector<std::string>{"out"});
}

TEST_CASE("file: places that cannot be written") {
    const TempDirectory directory("file-places");
    write_text(directory / "file", "good");
    std::filesystem::create_directory(directory / "directory");
    const std::string create = "cannot create a file in its directory: ";
    check_write_fails(directory / "none/out", create + "No such file or directory");
    check_write_fails(directory / "file/out", create + "Not a directory");
    check_write_fails(directory / "directory", "is a directory");
    check_write_fails("/dev/null", "is not a regular file");
    check_write_fails(directory / std::string(300, 'n'), "File name too long");
    if (::geteuid() != 0) {
        ::chmod((directory / "directory").c_str(), 0500);
        check_write_fails(directory / "directory/out", create + "Permission denied");
        ::chmod((directory / "directory").c_str(), 0700);
        ::chmod((directory / "file").c_str(), 0400);
        check_write_fails(directory / "file", "cannot write: Permission denied");
    }
    CHECK(test::read_bytes(directory / "file") == "good");
    CHECK(directory.list().size() == 2);
    CHECK(std::filesystem::is_empty(directory / "directory"));
}

TEST_CASE("file: reading") {
    const TempDirectory directory("file-reading");
    const auto path = directory / "in";
    test::write_bytes(path, "0123456789");
    const InputFile file("test", path);
    CHECK(file.size() == 10);
    std::string part(4, ' ');
    file.read_at(3, std::as_writable_bytes(std::span(part)));
    CHECK(part == "3456");
    CHECK_THROWS_AS(file.read_at(7, std::as_writable_bytes(std::span(part))), Error);

    const InputFile memory("test", std::as_bytes(std::span(std::string_view("0123456789"))));
    CHECK(memory.size() == 10);
    memory.read_at(6, std::as_writable_bytes(std::span(part)));
    CHECK(part == "6789");
    for (const uint64_t offset : {uint64_t{7}, uint64_t{10}, uint64_t{11}, ~uint64_t{0}}) {
        CHECK(error_of([&] { memory.read_at(offset, std::as_writable_bytes(std::span(part))); }) ==
              "[test] \"memory\": ends at byte 10 while being read");
    }

    const auto refusal = [](const std::filesystem::path& at) {
        return error_of([&] { const InputFile input("test", at); });
    };
    CHECK(refusal(directory / "none").find("No such file or directory") != std::string::npos);
    CHECK(refusal(directory / "").find("is a directory") != std::string::npos);
    CHECK(refusal("/dev/zero").find("is not a regular file") != std::string::npos);
    REQUIRE(::mkfifo((directory / "pipe").c_str(), 0600) == 0);
    CHECK(refusal(directory / "pipe").find("is not a regular file") != std::string::npos);
}
