// tests/faults/campaign.cc: a program that runs as many schedules as there is time for.
//
// usage: campaign [--count N] [--kind NAME] [--seed FIRST]
// Runs N schedules (default 10,000) of each kind, or of one, with the seeds FIRST, FIRST + 1, ...
// and, with kind stream or slots, every pair of cuts on a small flash as well when --pairs is
// given. Prints what was counted; a schedule that fails is printed with its seed, and the exit code
// is 1. `campaign --kind NAME --seed SEED --count 1` runs it again.
// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "faults/schedules.h"

namespace tensorpatch::test {
namespace {

struct Options {
  uint64_t count = 10000;
  uint64_t seed = 1;
  std::string_view kind;
  bool pairs = false;
};

struct Counts {
  uint64_t schedules = 0, failed = 0, starts = 0, cuts = 0, resumes = 0, faults = 0, operations = 0,
           ended_new = 0;

  void add(const Verdict& verdict) {
    ++schedules;
    failed += verdict.wrong.empty() ? 0u : 1u;
    starts += verdict.starts;
    cuts += verdict.cuts;
    resumes += verdict.resumes;
    faults += verdict.faults;
    operations += verdict.operations;
    ended_new += verdict.ended_new ? 1u : 0u;
  }
};

void print(const char* name, const Counts& counts, double seconds) {
  std::printf("%-14s %9" PRIu64 " %6" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %8" PRIu64
              " %11" PRIu64 " %9" PRIu64 " %7.0f\n",
              name, counts.schedules, counts.failed, counts.starts, counts.cuts, counts.resumes,
              counts.faults, counts.operations, counts.ended_new, seconds);
  std::fflush(stdout);
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

bool run_kind(const ScheduleKind& kind, const Options& options) {
  const auto begin = std::chrono::steady_clock::now();
  Counts counts;
  for (uint64_t seed = options.seed; seed < options.seed + options.count; ++seed) {
    const Verdict verdict = kind.run(seed);
    counts.add(verdict);
    if (!verdict.wrong.empty()) {
      std::printf("%s, seed %" PRIu64 ": %s\n", kind.name, seed, verdict.wrong.c_str());
    }
  }
  print(kind.name, counts, seconds_since(begin));
  return counts.failed == 0;
}

// Every pair of cuts on a small flash: the second counts from the restart after the first.
bool run_pairs(const char* name, Verdict (*run)(const SchedulePlan&),
               uint64_t (*count)(const SchedulePlan&)) {
  const auto begin = std::chrono::steady_clock::now();
  Counts counts;
  SchedulePlan plan;
  plan.geometry = {256, 0, 32, 0xFF, true};
  const uint64_t operations = count(plan);
  for (uint64_t first = 1; first <= operations; ++first) {
    for (const Cut first_cut : kCuts) {
      for (uint64_t second = 1; second <= operations; ++second) {
        for (const Cut second_cut : kCuts) {
          plan.cuts = {{first, first_cut}, {second, second_cut}};
          const Verdict verdict = run(plan);
          if (verdict.wrong.empty() && verdict.cuts < 2) {
            second = operations;  // it ended before: so it does with later ones
            break;
          }
          counts.add(verdict);
          if (verdict.wrong.empty()) continue;
          std::printf("%s, cuts %" PRIu64 " %s and %" PRIu64 " %s: %s\n", name, first,
                      cut_name(first_cut), second, cut_name(second_cut), verdict.wrong.c_str());
        }
      }
    }
  }
  print(name, counts, seconds_since(begin));
  return counts.failed == 0;
}

bool parse(int count, char** arguments, Options& options) {
  const auto number = [](std::string_view text, uint64_t& value) {
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
    return end.ec == std::errc() && end.ptr == text.data() + text.size();
  };
  for (int i = 1; i < count; ++i) {
    const std::string_view name = arguments[i];
    if (name == "--pairs") {
      options.pairs = true;
      continue;
    }
    if (i + 1 == count) return false;
    const std::string_view value = arguments[++i];
    if (name == "--kind") {
      options.kind = value;
    } else if (name == "--count" ? !number(value, options.count)
                                 : name != "--seed" || !number(value, options.seed)) {
      return false;
    }
  }
  return true;
}

int run(int argument_count, char** arguments) {
  Options options;
  if (!parse(argument_count, arguments, options)) {
    std::fprintf(stderr, "usage: campaign [--count N] [--kind NAME] [--seed FIRST] [--pairs]\n");
    return 2;
  }
  bool held = true;
  bool found = false;
  std::printf("%-14s %9s %6s %9s %9s %9s %8s %11s %9s %7s\n", "kind", "schedules", "failed",
              "starts", "cuts", "resumes", "faults", "operations", "ended new", "seconds");
  for (const ScheduleKind& kind : schedule_kinds()) {
    if (!options.kind.empty() && options.kind != kind.name) continue;
    found = true;
    held = run_kind(kind, options) && held;
  }
  if (options.pairs) {
    held = run_pairs("stream, pairs", run_stream, stream_operations) && held;
    held = run_pairs("slots, pairs", run_slots, slots_operations) && held;
    held = run_pairs("in place, pairs", run_in_place, in_place_operations) && held;
    held = run_pairs("undo, pairs", run_undo, undo_operations) && held;
  }
  if (!found) std::fprintf(stderr, "there is no such kind\n");
  return held && found ? 0 : 1;
}

}  // namespace
}  // namespace tensorpatch::test

int main(int count, char** arguments) {
  return tensorpatch::test::run(count, arguments);
}
