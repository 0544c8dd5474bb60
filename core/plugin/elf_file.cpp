// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/elf_file.h"

#include "core/base/error.h"

#include <elf.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <string_view>

namespace medgen {
namespace {

namespace fs = std::filesystem;

#if defined(__x86_64__)
constexpr Elf64_Half kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half kMachine = EM_AARCH64;
#else
#error "medgen runs on x86-64 and aarch64"
#endif

constexpr std::uint64_t kMaxTableBytes = 256u << 20;

/// Bounds-checked reads of the file's tables.
class ElfReader {
 public:
  explicit ElfReader(const fs::path& path) : path_(path), file_(path, std::ios::binary) {
    std::error_code error;
    size_ = fs::file_size(path, error);
    if (error || !file_) throw PluginError("{}: cannot be read", path.string());
  }

  [[noreturn]] void fail(std::string_view what) const {
    throw PluginError("{}: {}: build the plugin as a shared library for this machine", path_.string(), what);
  }

  template <typename T>
  std::vector<T> table(std::uint64_t offset, std::uint64_t bytes) {
    if (offset > size_ || bytes > size_ - offset || bytes > kMaxTableBytes) fail("the file is cut short or damaged");
    std::vector<T> rows(bytes / sizeof(T));
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(reinterpret_cast<char*>(rows.data()), static_cast<std::streamsize>(rows.size() * sizeof(T)));
    if (!file_) fail("the file cannot be read to its end");
    return rows;
  }

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  std::ifstream file_;
  std::uint64_t size_ = 0;
};

Elf64_Ehdr read_header(ElfReader& reader) {
  std::error_code error;
  if (fs::file_size(reader.path(), error) < sizeof(Elf64_Ehdr) || error) reader.fail("is no ELF file");
  const auto header = reader.table<Elf64_Ehdr>(0, sizeof(Elf64_Ehdr)).front();
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) reader.fail("is no ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != kMachine) {
    reader.fail("is made for another kind of machine");
  }
  if (header.e_type != ET_DYN) reader.fail("is no shared library");
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shnum == 0) reader.fail("has no section table");
  return header;
}

std::string string_at(const std::vector<char>& strings, std::uint64_t offset) {
  if (offset >= strings.size()) return {};
  const std::string_view rest(strings.data() + offset, strings.size() - offset);
  return std::string(rest.substr(0, rest.find('\0')));
}

std::vector<std::string> split_run_path(std::string_view list, const std::string& origin) {
  std::vector<std::string> folders;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(':'), list.size());
    std::string folder(list.substr(0, end));
    for (const std::string_view word : {"${ORIGIN}", "$ORIGIN"}) {
      if (const std::size_t at = folder.find(word); at != std::string::npos) folder.replace(at, word.size(), origin);
    }
    if (!folder.empty()) folders.push_back(std::move(folder));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return folders;
}

bool is_exported(const Elf64_Sym& symbol) {
  const auto visibility = ELF64_ST_VISIBILITY(symbol.st_other);
  const auto binding = ELF64_ST_BIND(symbol.st_info);
  return symbol.st_shndx != SHN_UNDEF && binding != STB_LOCAL &&
         (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

}  // namespace

ElfFile read_elf(const fs::path& path) {
  ElfReader reader(path);
  const Elf64_Ehdr header = read_header(reader);
  ElfFile file;
  for (const auto& segment : reader.table<Elf64_Phdr>(header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr))) {
    if (segment.p_type == PT_GNU_STACK) file.executable_stack = (segment.p_flags & PF_X) != 0;
  }
  const auto sections = reader.table<Elf64_Shdr>(header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr));
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_DYNAMIC && section.sh_type != SHT_DYNSYM) continue;
    if (section.sh_link >= sections.size()) reader.fail("the section table is damaged");
    const Elf64_Shdr& names = sections[section.sh_link];
    const auto strings = reader.table<char>(names.sh_offset, names.sh_size);
    if (section.sh_type == SHT_DYNAMIC) {
      for (const auto& entry : reader.table<Elf64_Dyn>(section.sh_offset, section.sh_size)) {
        if (entry.d_tag == DT_NEEDED) file.needed.push_back(string_at(strings, entry.d_un.d_val));
        if (entry.d_tag == DT_RUNPATH || entry.d_tag == DT_RPATH)
          file.run_path = split_run_path(string_at(strings, entry.d_un.d_val), path.parent_path().string());
      }
    } else {
      for (const auto& symbol : reader.table<Elf64_Sym>(section.sh_offset, section.sh_size)) {
        if (is_exported(symbol)) file.exported.push_back(string_at(strings, symbol.st_name));
      }
    }
  }
  return file;
}

}  // namespace medgen
