// tests/faults/campaign.cc: a program that runs as many schedules as there is time for.
//
// usage: campaign [--count N] [--kind NAME] [--seed FIRST] [--sweeps]
// Runs N random schedules (default 10,000) of each kind, or of one, with the seeds FIRST,
// FIRST + 1, ... With --sweeps, before them: one cut at every operation and every failing operation
// and read, for several geometries, and every pair of cuts for one. Prints what was counted as a
// table in Markdown; a schedule that fails is printed with its seed, and the exit code is 1.
// `campaign --kind NAME --seed SEED --count 1` runs it again.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>

#include "faults/sweeps.h"

namespace tensorpatch::test {
namespace {

struct Options {
  uint64_t count = 10000;
  uint64_t seed = 1;
  std::string_view kind;
  bool sweeps = false;
};

struct Counts {
  uint64_t schedules = 0, failed = 0, starts = 0, cuts = 0, resumes = 0, faults = 0, operations = 0,
           ended_new = 0;
  double seconds = 0;

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
  void add(const Counts& other) {
    schedules += other.schedules;
    failed += other.failed;
    starts += other.starts;
    cuts += other.cuts;
    resumes += other.resumes;
    faults += other.faults;
    operations += other.operations;
    ended_new += other.ended_new;
    seconds += other.seconds;
  }
};

// Rows of the table, and their sum.
class Table {
 public:
  Table() {
    std::printf(
        "| schedules of | schedules | failed | starts | power cuts | resumes | other faults "
        "| operations of the flash | ended with new | CPU seconds |\n"
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n");
  }
  void add(const std::string& name, const Counts& counts) {
    print(name, counts);
    total_.add(counts);
  }
  // Whether nothing failed.
  bool finish() const {
    print("all", total_);
    return total_.failed == 0;
  }

 private:
  static void print(const std::string& name, const Counts& counts) {
    std::printf("| %s |", name.c_str());
    for (const uint64_t number :
         {counts.schedules, counts.failed, counts.starts, counts.cuts, counts.resumes,
          counts.faults, counts.operations, counts.ended_new}) {
      std::printf(" %s |", grouped(number).c_str());
    }
    std::printf(" %.0f |\n", counts.seconds);
    std::fflush(stdout);
  }
  static std::string grouped(uint64_t number) {
    std::string text = std::to_string(number);
    for (size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
    return text;
  }
  Counts total_;
};

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

void report(const std::string& what, const Verdict& verdict) {
  if (verdict.wrong.empty()) return;
  std::fprintf(stderr, "%s: %s\n", what.c_str(), verdict.wrong.c_str());
}

void run_random(const ScheduleKind& kind, const Options& options, Table& table) {
  const double begin = cpu_seconds();
  Counts counts;
  for (uint64_t seed = options.seed; seed < options.seed + options.count; ++seed) {
    const Verdict verdict = kind.run(seed);
    counts.add(verdict);
    report(std::string(kind.name) + ", seed " + std::to_string(seed), verdict);
  }
  counts.seconds = cpu_seconds() - begin;
  table.add(std::string(kind.name) + ": random", counts);
}

using Sweep = void (*)(const SweptLife&, const FlashGeometry&, const Visit&);

struct NamedSweep {
  const char* name;
  Sweep sweep;
  std::span<const FlashGeometry> geometries;
};

void run_sweep(const SweptLife& life, const NamedSweep& named, Table& table) {
  const double begin = cpu_seconds();
  Counts counts;
  for (const FlashGeometry& geometry : named.geometries) {
    named.sweep(life, geometry, [&](const SchedulePlan& plan, const Verdict& verdict) {
      counts.add(verdict);
      report(std::string(life.name) + ", " + text_of(plan), verdict);
      return true;
    });
  }
  counts.seconds = cpu_seconds() - begin;
  table.add(std::string(life.name) + ": " + named.name, counts);
}

void run_sweeps(const SweptLife& life, Table& table) {
  static constexpr FlashGeometry kSmallest[] = {{256, 0, 32, 0xFF, true}};
  run_sweep(life, {"one cut", sweep_cuts, swept_geometries()}, table);
  run_sweep(life, {"one failing operation or read", sweep_failures, swept_geometries()}, table);
  run_sweep(life, {"two cuts", sweep_pairs, kSmallest}, table);
}

bool parse(int count, char** arguments, Options& options) {
  const auto number = [](std::string_view text, uint64_t& value) {
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
    return end.ec == std::errc() && end.ptr == text.data() + text.size();
  };
  for (int i = 1; i < count; ++i) {
    const std::string_view name = arguments[i];
    if (name == "--sweeps") {
      options.sweeps = true;
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
    std::fprintf(stderr, "usage: campaign [--count N] [--kind NAME] [--seed FIRST] [--sweeps]\n");
    return 2;
  }
  const auto is_asked = [&](std::string_view name) {
    return options.kind.empty() || options.kind == name;
  };
  const auto kinds = schedule_kinds();
  if (std::ranges::none_of(kinds, [&](const ScheduleKind& kind) { return is_asked(kind.name); })) {
    std::fprintf(stderr, "there is no such kind\n");
    return 2;
  }
  Table table;
  for (const SweptLife& life : swept_lives()) {
    const std::string_view name = life.name;
    if (options.sweeps && is_asked(name.substr(0, name.find(',')))) run_sweeps(life, table);
  }
  for (const ScheduleKind& kind : kinds) {
    if (is_asked(kind.name)) run_random(kind, options, table);
  }
  return table.finish() ? 0 : 1;
}

}  // namespace
}  // namespace tensorpatch::test

int main(int count, char** arguments) {
  return tensorpatch::test::run(count, arguments);
}
