// SPDX-License-Identifier: Apache-2.0
#include "core/base/file.h"

#include "core/base/error.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

namespace medgen {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("medgen-file-test-{}", ::getpid());

  Folder() { fs::create_directories(path); }

  ~Folder() { fs::remove_all(path); }

  std::ptrdiff_t entries() const { return std::distance(fs::directory_iterator(path), fs::directory_iterator()); }
};

TEST_CASE("AtomicFile: a committed file has exactly the bytes written and leaves no temporary", "[unit][base]") {
  const Folder folder;
  const fs::path path = folder.path / "a.txt";
  write_file(path, "first");
  write_file(path, std::string_view("second\0third", 12));
  REQUIRE(read_file(path, 100) == std::string("second\0third", 12));
  REQUIRE(folder.entries() == 1);
}

TEST_CASE("AtomicFile: without a commit the old contents stay and nothing is left behind", "[unit][base]") {
  const Folder folder;
  const fs::path path = folder.path / "a.txt";
  write_file(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    REQUIRE(folder.entries() == 2);
  }
  REQUIRE(read_file(path, 100) == "old");
  REQUIRE(folder.entries() == 1);
}

/// Another process that is in the midst of writing a file.
struct Writer {
  pid_t process = -1;

  explicit Writer(const fs::path& path) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    process = ::fork();
    if (process == 0) {
      AtomicFile file(path);
      file.write("half of it");
      if (::write(ready[1], "!", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }

  void kill() {
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
    process = -1;
  }

  ~Writer() {
    if (process > 0) kill();
  }
};

TEST_CASE("AtomicFile: what a killed process left is removed, what a living one writes is not", "[unit][base]") {
  const Folder folder;
  const bool killed = GENERATE(true, false);
  const fs::path inner = folder.path / (killed ? "killed" : "living");
  fs::create_directory(inner);
  std::ofstream(inner / ".medgen-another.machine-1-0.tmp") << "may be written there";
  Writer writer(inner / "theirs");
  if (killed) writer.kill();
  write_file(inner / "mine", "all of it");
  const auto entries = std::distance(fs::directory_iterator(inner), fs::directory_iterator());
  CHECK(entries == (killed ? 2 : 3));
  CHECK(fs::exists(inner / ".medgen-another.machine-1-0.tmp"));
}

TEST_CASE("AtomicFile: the file mode follows the umask", "[unit][base]") {
  const Folder folder;
  const mode_t before = ::umask(022);
  write_file(folder.path / "a.txt", "x");
  ::umask(before);
  REQUIRE((fs::status(folder.path / "a.txt").permissions() & fs::perms::all) == static_cast<fs::perms>(0644));
}

TEST_CASE("AtomicFile: a missing folder or a folder in the way is an error that names the path", "[unit][base]") {
  const Folder folder;
  REQUIRE_THROWS_WITH(AtomicFile(folder.path / "missing" / "a.txt"), Catch::Contains("missing/a.txt"));
  fs::create_directories(folder.path / "taken" / "inside");
  REQUIRE_THROWS_AS(write_file(folder.path / "taken", "x"), RuntimeError);
  REQUIRE(folder.entries() == 1);
}

TEST_CASE("read_file: too large, missing and irregular files are refused by name", "[unit][base]") {
  const Folder folder;
  write_file(folder.path / "a.txt", "12345");
  REQUIRE(read_file(folder.path / "a.txt", 5) == "12345");
  REQUIRE_THROWS_WITH(read_file(folder.path / "a.txt", 4), Catch::Contains("a.txt") && Catch::Contains("5 bytes"));
  REQUIRE_THROWS_WITH(read_file(folder.path / "b.txt", 5), Catch::Contains("b.txt"));
  REQUIRE_THROWS_AS(read_file(folder.path, 5), DataError);
  REQUIRE(::mkfifo((folder.path / "fifo").c_str(), 0600) == 0);
  REQUIRE_THROWS_AS(read_file(folder.path / "fifo", 5), DataError);
}

TEST_CASE("sha256: the vectors of FIPS 180-4, from memory and from a file", "[unit][base]") {
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  REQUIRE(sha256("abc") == abc);
  REQUIRE(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const Folder folder;
  write_file(folder.path / "abc", "abc");
  REQUIRE(sha256_file(folder.path / "abc") == abc);
  write_file(folder.path / "million", std::string(1'000'000, 'a'));
  REQUIRE(sha256_file(folder.path / "million") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  REQUIRE_THROWS_AS(sha256_file(folder.path / "none"), DataError);
}

}  // namespace
}  // namespace medgen
