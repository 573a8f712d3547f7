// toolkit/paths.cc: see paths.h.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/paths.h"

#include <cctype>
#include <cerrno>
#include <system_error>

#include "base/file.h"

namespace tensorpatch::toolkit {
namespace {

// Also for files that do not exist yet.
bool is_same(const Path& a, const Path& b) {
  if (base::is_same_file(a, b)) return true;
  std::error_code error_a;
  std::error_code error_b;
  const Path whole_a = std::filesystem::weakly_canonical(std::filesystem::absolute(a), error_a);
  const Path whole_b = std::filesystem::weakly_canonical(std::filesystem::absolute(b), error_b);
  return !error_a && !error_b && whole_a == whole_b;
}

}  // namespace

std::string quoted(const Path& path) {
  return "'" + path.string() + "'";
}

tl::unexpected<Error> system_error(const std::string& what) {
  std::string reason = std::generic_category().message(errno);
  if (!reason.empty()) {
    reason[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(reason[0])));
  }
  return fail(TENSORPATCH_E_IO, "cannot " + what + ": " + reason);
}

Result<void> check_distinct(const Paths& paths) {
  for (size_t i = 0; i < paths.outputs.size(); ++i) {
    const Path& output = paths.outputs[i];
    if (output.empty()) continue;
    for (const Path& input : paths.inputs) {
      if (!input.empty() && is_same(output, input)) {
        return fail(TENSORPATCH_E_USAGE, quoted(output) + " would be read and written at once",
                    "choose another name for the output");
      }
    }
    for (size_t j = 0; j < i; ++j) {
      if (!paths.outputs[j].empty() && is_same(output, paths.outputs[j])) {
        return fail(TENSORPATCH_E_USAGE, quoted(output) + " is the name of two outputs",
                    "choose another name for one of them");
      }
    }
  }
  return {};
}

Result<void> check_free(const Path& output, Existing existing) {
  std::error_code error;
  const auto status = std::filesystem::symlink_status(output, error);
  if (existing == Existing::kReplace || !std::filesystem::exists(status)) return {};
  return fail(TENSORPATCH_E_EXISTS, quoted(output) + " exists already",
              "give --force to replace it, or choose another name");
}

}  // namespace tensorpatch::toolkit
