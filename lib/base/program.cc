// base/program.cc: posix_spawn with pipes, and a watch on the clock.
// SPDX-License-Identifier: Apache-2.0
#include "base/program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace tensorpatch::base {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kErrorTailLimit = 512;  // bytes of standard error that a message shows

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

// A running program. Destroyed before it was waited for, it is killed; it never stays a zombie.
class Child {
 public:
  Child(pid_t pid, ProgramGroup group) : pid_(pid), group_(group) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (reaped_) return;
    kill(group_ == ProgramGroup::kOwn ? -pid_ : pid_, SIGKILL);
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
  ProgramGroup group_;
  int status_ = 0;
  bool reaped_ = false;
};

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

std::string error_text(int number) {
  return std::strerror(number);
}

// One run, whose failures have one code.
class Runner {
 public:
  Runner(const ProgramRun& run, tensorpatch_status failed)
      : run_(run), failed_(failed), deadline_(Clock::now() + run.patience) {}

  Result<ProgramEnd> run() {
    const Result<Descriptor> input = make_input();
    if (!input) return tl::unexpected(input.error());
    Result<Pipe> output_pipe = make_pipe();
    if (!output_pipe) return tl::unexpected(output_pipe.error());
    Result<Pipe> error_pipe = make_pipe();
    if (!error_pipe) return tl::unexpected(error_pipe.error());
    const Result<pid_t> pid = start(*input, *output_pipe, *error_pipe);
    if (!pid) return tl::unexpected(pid.error());
    Child child(*pid, run_.group);
    auto end = collect(std::move(*output_pipe), std::move(*error_pipe));
    if (!end) return end;
    if (!child.wait_until(deadline_)) return failed("did not finish in time");
    end->failure = child.failure();
    return end;
  }

 private:
  struct Pipe {
    Descriptor read_end;
    Descriptor write_end;
  };

  tl::unexpected<Error> failed(std::string message, std::string hint = {}) const {
    return fail(failed_, std::move(message), std::move(hint));
  }

  Result<Descriptor> make_input() const {
    Descriptor file(memfd_create("message", MFD_CLOEXEC));
    if (file.get() < 0) return failed("cannot get an input: " + error_text(errno));
    Bytes rest = run_.input;
    while (!rest.empty()) {
      const ssize_t written = write(file.get(), rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return failed("cannot get its input: " + error_text(errno));
      rest = rest.subspan(static_cast<size_t>(written));
    }
    lseek(file.get(), 0, SEEK_SET);
    return file;
  }

  Result<Pipe> make_pipe() const {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return failed("cannot get a pipe: " + error_text(errno));
    return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
  }

  Result<pid_t> start(const Descriptor& input, const Pipe& output_pipe,
                      const Pipe& error_pipe) const {
    std::vector<std::string> words = run_.words;
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output_pipe.write_end.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, error_pipe.write_end.get(), STDERR_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    if (run_.group == ProgramGroup::kOwn) {
      posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    }
    pid_t pid = 0;
    const int status =
        posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (status != 0) {
      return failed("cannot be started: " + error_text(status),
                    "the command is a program and its arguments; no shell runs it");
    }
    return pid;
  }

  // Reads both pipes until the program has closed them.
  Result<ProgramEnd> collect(Pipe output_pipe, Pipe error_pipe) const {
    constexpr int64_t kLookEvery = 100;  // milliseconds
    ProgramEnd end;
    Descriptor& from_output = output_pipe.read_end;
    Descriptor& from_error = error_pipe.read_end;
    output_pipe.write_end.close();
    error_pipe.write_end.close();
    while (from_output.get() >= 0 || from_error.get() >= 0) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
      if (left <= 0) return failed("did not finish in time" + as_one_line(end.error_tail));
      if (run_.go_on && !run_.go_on()) {
        return fail(TENSORPATCH_E_CANCELLED, "stopped before the end");
      }
      pollfd waits[] = {{from_output.get(), POLLIN, 0}, {from_error.get(), POLLIN, 0}};
      const int ready = poll(waits, 2, static_cast<int>(std::min<int64_t>(left, kLookEvery)));
      if (ready <= 0) continue;  // a signal, or time to look at the clock
      if (waits[0].revents != 0) read_some(from_output, end.output);
      if (waits[1].revents != 0) read_some(from_error, end.error_tail);
      if (end.output.size() > run_.output_limit) {
        return failed("wrote more than " + std::to_string(run_.output_limit) +
                      " bytes to standard output");
      }
      if (end.error_tail.size() > kErrorTailLimit) {
        end.error_tail.erase(0, end.error_tail.size() - kErrorTailLimit);
      }
    }
    return end;
  }

  const ProgramRun& run_;
  tensorpatch_status failed_;
  Clock::time_point deadline_;
};

}  // namespace

Result<std::vector<std::string>> split_command(std::string_view command, std::string_view what) {
  std::vector<std::string> words;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (c == '\0') return fail(TENSORPATCH_E_USAGE, std::string(what) + " holds a zero byte");
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
        return fail(TENSORPATCH_E_USAGE, std::string(what) + " ends in a backslash");
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
    return fail(TENSORPATCH_E_USAGE, std::string(what) + " has a quote that is not closed");
  }
  if (words.empty()) return fail(TENSORPATCH_E_USAGE, std::string(what) + " is empty");
  return words;
}

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

Result<ProgramEnd> run_program(const ProgramRun& run, tensorpatch_status failed) {
  return Runner(run, failed).run();
}

}  // namespace tensorpatch::base
