// terminal.cc: standard streams, signals and the terminal's echo through POSIX calls.
// SPDX-License-Identifier: Apache-2.0
#include "terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace tensorpatch::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kBarAfter = 1s;
constexpr auto kBarEvery = 100ms;
constexpr uint64_t kBarWidth = 30;
constexpr size_t kMaxPasswordSize = 1024;

volatile sig_atomic_t interrupted = 0;

extern "C" void on_interrupt(int) {
  interrupted = 1;
}

void print(std::FILE* stream, std::string_view text) {
  if (!text.empty()) std::fwrite(text.data(), 1, text.size(), stream);
}

// Turns the echo of a terminal off for as long as it lives.
class SilentTerminal {
 public:
  explicit SilentTerminal(int descriptor) : descriptor_(descriptor) {
    is_changed_ = ::tcgetattr(descriptor, &before_) == 0;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    if (is_changed_) ::tcsetattr(descriptor, TCSAFLUSH, &silent);
  }
  ~SilentTerminal() {
    if (is_changed_) ::tcsetattr(descriptor_, TCSAFLUSH, &before_);
  }

 private:
  int descriptor_;
  termios before_{};
  bool is_changed_ = false;
};

Result<std::string> ask_password() {
  const int descriptor = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (descriptor < 0) {
    return fail(TENSORPATCH_E_KEY, "the key is protected and there is no terminal to ask on",
                "put its password into the environment variable TENSORPATCH_PASSWORD");
  }
  std::string password;
  bool is_complete = false;
  {
    const SilentTerminal silent(descriptor);
    constexpr std::string_view kQuestion = "password of the key: ";
    [[maybe_unused]] auto asked = ::write(descriptor, kQuestion.data(), kQuestion.size());
    char letter = 0;
    while (password.size() < kMaxPasswordSize && ::read(descriptor, &letter, 1) == 1) {
      is_complete = letter == '\n';
      if (is_complete) break;
      password.push_back(letter);
    }
    [[maybe_unused]] auto ended = ::write(descriptor, "\n", 1);
  }
  ::close(descriptor);
  if (!is_complete) return fail(TENSORPATCH_E_CANCELLED, "no password was given");
  return password;
}

}  // namespace

int exit_code(tensorpatch_status status) {
  if (status == TENSORPATCH_E_USAGE || status == TENSORPATCH_E_ARGUMENT) return 2;
  if (status >= 48 && status < 64) return 3;
  if (status >= 64 && status < 80) return 4;
  if (status >= 80 && status < 96) return 5;
  if (status == TENSORPATCH_E_INTERRUPTED) return 6;
  return status < 16 ? 0 : 1;
}

Terminal::Terminal() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal_number : {SIGINT, SIGTERM}) ::sigaction(signal_number, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // a signer that does not read is an error, not our end
}

Terminal::~Terminal() {
  clear_bar();
}

void Terminal::result(std::string_view text, const Json& json) {
  clear_bar();
  if (json_) {
    print(stdout, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    print(stdout, text);
  }
  std::fflush(stdout);
}

void Terminal::note(std::string_view text) {
  clear_bar();
  print(stderr, std::string(text) + "\n");
}

void Terminal::warning(std::string_view text) {
  note("tensorpatch: warning: " + std::string(text));
}

int Terminal::error(const Error& error, const Json& facts) {
  note("tensorpatch: error: " + error.message);
  if (!error.hint.empty()) note("hint: " + error.hint);
  const int code = exit_code(error.code);
  if (json_) {
    Json json = {{"status", static_cast<int>(error.code)},
                 {"name", tensorpatch_status_text(error.code)},
                 {"exit_code", code},
                 {"message", error.message},
                 {"hint", error.hint}};
    json.update(facts);
    result({}, {{"error", json}});
  }
  return code;
}

toolkit::ProgressCallback Terminal::progress() {
  return [this](const toolkit::Progress& progress) { return show(progress); };
}

bool Terminal::is_interrupted() const {
  return interrupted != 0;
}

bool Terminal::show(const toolkit::Progress& progress) {
  const auto now = std::chrono::steady_clock::now();
  static const bool is_terminal = ::isatty(STDERR_FILENO) == 1;
  if (is_terminal && now - begin_ >= kBarAfter && now - drawn_ >= kBarEvery) {
    drawn_ = now;
    has_bar_ = true;
    std::string line = "\r\x1b[K" + std::string(progress.stage);
    if (progress.total != 0) {
      const double share =
          std::min(1.0, static_cast<double>(progress.done) / static_cast<double>(progress.total));
      const auto filled = static_cast<size_t>(share * static_cast<double>(kBarWidth));
      line += " [" + std::string(filled, '#') + std::string(kBarWidth - filled, ' ') + "] " +
              std::to_string(static_cast<int>(share * 100)) + " %";
    }
    print(stderr, line);
    std::fflush(stderr);
  }
  return !is_interrupted();
}

void Terminal::clear_bar() {
  if (!has_bar_) return;
  print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  has_bar_ = false;
}

Result<size_t> Terminal::read_input(std::span<uint8_t> data) {
  while (!is_interrupted()) {
    const ssize_t count = ::read(STDIN_FILENO, data.data(), data.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) {
      return fail(TENSORPATCH_E_IO,
                  "cannot read standard input (error " + std::to_string(errno) + ")");
    }
  }
  return fail(TENSORPATCH_E_CANCELLED, "interrupted by a signal");
}

Result<std::string> Terminal::read_all_input(size_t limit) {
  std::string content;
  std::array<uint8_t, 4096> piece{};
  for (;;) {
    auto count = read_input(piece);
    if (!count) return tl::unexpected(count.error());
    if (*count == 0) return content;
    content.append(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(*count));
    if (content.size() > limit) {
      return fail(TENSORPATCH_E_LIMIT,
                  "standard input is larger than " + std::to_string(limit) + " bytes");
    }
  }
}

Result<std::string> Terminal::password() {
  if (const char* from_environment = std::getenv("TENSORPATCH_PASSWORD")) return from_environment;
  return ask_password();
}

}  // namespace tensorpatch::cli
