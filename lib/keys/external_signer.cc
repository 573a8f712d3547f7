// keys/external_signer.cc: signatures made by another program, for keys that never leave an HSM or
// a KMS.
//
// The message is handed over as a file in memory rather than a pipe: nothing to feed, no SIGPIPE
// when the program does not read, and programs that need the size of their input (openssl pkeyutl
// -rawin) work.
// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include "keys/keys.h"

namespace tensorpatch::keys {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kOutputLimit = 4096;    // bytes of standard output; a signature has 64
constexpr size_t kErrorTailLimit = 512;  // bytes of standard error that a message shows

tl::unexpected<Error> signer_failed(std::string message, std::string hint = {}) {
  return fail(TENSORPATCH_E_SIGNER, std::move(message), std::move(hint));
}

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { close(); }
  void close() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }
  int get() const { return number_; }

 private:
  int number_ = -1;
};

// Words separated by blanks. Single quotes keep everything; within double quotes a backslash
// escapes what it escapes in a shell; outside of quotes it escapes any character.
Result<std::vector<std::string>> split_command(std::string_view command) {
  std::vector<std::string> words;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (c == '\0') return fail(TENSORPATCH_E_USAGE, "the signer command holds a zero byte");
    if (quote == 0 && std::string_view(" \t\n").find(c) != std::string_view::npos) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    if (c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == '\\' && quote != '\'') {
      if (i + 1 == command.size()) {
        return fail(TENSORPATCH_E_USAGE, "the signer command ends in a backslash");
      }
      const char next = command[i + 1];
      if (quote == '"' && std::string_view("\"\\$`").find(next) == std::string_view::npos) {
        words.back() += c;
      } else {
        words.back() += next;
        ++i;
      }
    } else {
      words.back() += c;
    }
  }
  if (quote != 0) {
    return fail(TENSORPATCH_E_USAGE, "the signer command has a quote that is not closed");
  }
  if (words.empty()) return fail(TENSORPATCH_E_USAGE, "the signer command is empty");
  return words;
}

std::string error_text(int number) {
  return std::strerror(number);
}

Result<Descriptor> make_input(base::Bytes message) {
  Descriptor file(memfd_create("message", MFD_CLOEXEC));
  if (file.get() < 0) return signer_failed("cannot make the signer's input: " + error_text(errno));
  while (!message.empty()) {
    const ssize_t written = write(file.get(), message.data(), message.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return signer_failed("cannot fill the signer's input: " + error_text(errno));
    message = message.subspan(static_cast<size_t>(written));
  }
  lseek(file.get(), 0, SEEK_SET);
  return file;
}

struct Pipe {
  Descriptor read_end;
  Descriptor write_end;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return signer_failed("cannot make a pipe for the signer: " + error_text(errno));
  }
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

// A running program. Destroyed before it was waited for, it is killed; it never stays a zombie.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (reaped_) return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  // False when the program is still running at the deadline.
  bool wait_until(Clock::time_point deadline) {
    while (true) {
      const pid_t result = waitpid(pid_, &status_, WNOHANG);
      if (result == pid_) return reaped_ = true;
      if (result < 0 && errno != EINTR) {  // reaped elsewhere: SIGCHLD is ignored
        status_ = 0;
        return reaped_ = true;
      }
      if (Clock::now() >= deadline) return false;
      poll(nullptr, 0, 5);  // it has closed its output, so it ends soon
    }
  }

  // Empty after exit 0.
  std::string failure() const {
    if (WIFSIGNALED(status_)) {
      return "was ended by signal " + std::to_string(WTERMSIG(status_)) + " (" +
             strsignal(WTERMSIG(status_)) + ")";
    }
    const int code = WEXITSTATUS(status_);
    return code == 0 ? "" : "exited with status " + std::to_string(code);
  }

 private:
  pid_t pid_;
  int status_ = 0;
  bool reaped_ = false;
};

// What the program wrote; of standard error only the end is kept.
struct Output {
  std::string standard_output;
  std::string error_tail;
};

// Standard error in one printable line, for a message.
std::string as_one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool is_control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    if (!is_control) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line.empty() ? "" : ": " + line;
}

// Reads what is there and keeps it in `text`; closes the descriptor at its end.
void read_some(Descriptor& from, std::string& text) {
  char buffer[1024];
  const ssize_t count = read(from.get(), buffer, sizeof buffer);
  if (count > 0) {
    text.append(buffer, static_cast<size_t>(count));
  } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
    from.close();
  }
}

// Reads both pipes until the program has closed them.
Result<Output> collect(Pipe output_pipe, Pipe error_pipe, Clock::time_point deadline) {
  Output output;
  Descriptor& from_output = output_pipe.read_end;
  Descriptor& from_error = error_pipe.read_end;
  output_pipe.write_end.close();
  error_pipe.write_end.close();
  while (from_output.get() >= 0 || from_error.get() >= 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return signer_failed("did not finish in time" + as_one_line(output.error_tail));
    pollfd waits[] = {{from_output.get(), POLLIN, 0}, {from_error.get(), POLLIN, 0}};
    const int ready = poll(waits, 2, static_cast<int>(std::min<int64_t>(left, 60'000)));
    if (ready <= 0) continue;  // a signal, or time to look at the clock
    if (waits[0].revents != 0) read_some(from_output, output.standard_output);
    if (waits[1].revents != 0) read_some(from_error, output.error_tail);
    if (output.standard_output.size() > kOutputLimit) {
      return signer_failed("wrote more than " + std::to_string(kOutputLimit) +
                           " bytes to standard output");
    }
    if (output.error_tail.size() > kErrorTailLimit) {
      output.error_tail.erase(0, output.error_tail.size() - kErrorTailLimit);
    }
  }
  return output;
}

Result<pid_t> start(std::vector<std::string>& words, const Descriptor& input,
                    const Pipe& output_pipe, const Pipe& error_pipe) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output_pipe.write_end.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, error_pipe.write_end.get(), STDERR_FILENO);
  pid_t pid = 0;
  const int status = posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (status != 0) {
    return signer_failed("cannot be started: " + error_text(status),
                         "the command is a program and its arguments; no shell runs it");
  }
  return pid;
}

// Standard output of the program after it exited with 0.
Result<std::string> run(std::vector<std::string>& words, base::Bytes message,
                        Clock::time_point deadline) {
  const Result<Descriptor> input = make_input(message);
  if (!input) return tl::unexpected(input.error());
  Result<Pipe> output_pipe = make_pipe();
  if (!output_pipe) return tl::unexpected(output_pipe.error());
  Result<Pipe> error_pipe = make_pipe();
  if (!error_pipe) return tl::unexpected(error_pipe.error());

  const Result<pid_t> pid = start(words, *input, *output_pipe, *error_pipe);
  if (!pid) return tl::unexpected(pid.error());
  Child child(*pid);
  const Result<Output> output = collect(std::move(*output_pipe), std::move(*error_pipe), deadline);
  if (!output) return tl::unexpected(output.error());
  if (!child.wait_until(deadline)) return signer_failed("did not finish in time");
  if (const std::string failure = child.failure(); !failure.empty()) {
    return signer_failed(failure + as_one_line(output->error_tail));
  }
  return output->standard_output;
}

}  // namespace

Result<Signature> sign_with_command(const std::string& command, const PublicKey& key,
                                    base::Bytes message, std::chrono::milliseconds patience) {
  Result<std::vector<std::string>> words = split_command(command);
  if (!words) return tl::unexpected(words.error());
  Result<std::string> output = run(*words, message, Clock::now() + patience);
  if (!output) {
    Error error = output.error();
    error.message = "the signer " + words->front() + " " + error.message;
    return tl::unexpected(std::move(error));
  }
  const Signature signature =
      make_signature(key, {reinterpret_cast<const uint8_t*>(output->data()), output->size()});
  if (signature.bytes.size() != 64) {
    const bool is_p256 = key.algorithm == TENSORPATCH_ECDSA_P256_SHA256;
    return signer_failed("the signer " + words->front() + " wrote " +
                             std::to_string(signature.bytes.size()) + " bytes; " +
                             (is_p256 ? "an ECDSA P-256 signature is DER or has 64"
                                      : "a raw Ed25519 signature has 64"),
                         "it must write the signature itself, not base64 or hex, and nothing else");
  }
  if (!verify(key, message, signature)) {
    return signer_failed(
        "the signer " + words->front() + " made a signature that does not verify",
        "is the public key that of the signer's key, and was all of the input signed");
  }
  return signature;
}

}  // namespace tensorpatch::keys
