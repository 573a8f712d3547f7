// base/parallel.cc: work on threads that live as long as one call.
//
// The pieces are large (a tensor, a window of bytes), so that starting threads costs nothing beside
// them and no pool has to be kept. A system that refuses more threads gets the work done on fewer.
// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace tensorpatch::base {
namespace {

size_t worker_count(size_t count, unsigned jobs) {
  const size_t wanted = jobs != 0 ? jobs : std::max(1U, std::thread::hardware_concurrency());
  return std::min(wanted, count);
}

// Starts up to `wanted` threads that run `body`; fewer when the system has no more. They are joined
// when the vector ends.
template <class Body>
std::vector<std::jthread> start_threads(size_t wanted, const Body& body) {
  std::vector<std::jthread> threads;
  threads.reserve(wanted);
  try {
    while (threads.size() < wanted) threads.emplace_back(body);
  } catch (const std::system_error&) {
    // What was started is enough.
  }
  return threads;
}

// The state of one parallel_ordered. Slots of `ready` are indexed by piece modulo the window.
class OrderedWork {
 public:
  OrderedWork(size_t count, size_t window) : count_(count), ready_(window, 0) {}

  // Makes pieces until none is left. Runs on every worker.
  void make_pieces(const std::function<void(size_t)>& make) {
    std::unique_lock lock(mutex_);
    for (;;) {
      room_.wait(lock, [&] {
        return stopped_ || next_made_ == count_ || next_made_ - next_taken_ < ready_.size();
      });
      if (stopped_ || next_made_ == count_) return;
      const size_t piece = next_made_++;
      lock.unlock();
      make(piece);
      lock.lock();
      ready_[piece % ready_.size()] = 1;
      made_.notify_one();
    }
  }

  // Takes every piece in order, on the calling thread, until a take returns false.
  bool take_pieces(const std::function<bool(size_t)>& take) {
    for (size_t piece = 0; piece < count_; ++piece) {
      wait_for(piece);
      if (!take(piece)) return false;
      release(piece);
    }
    return true;
  }

  // Lets the workers end; pieces that are not started yet are not made.
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    room_.notify_all();
  }

 private:
  void wait_for(size_t piece) {
    std::unique_lock lock(mutex_);
    made_.wait(lock, [&] { return ready_[piece % ready_.size()] != 0; });
  }

  void release(size_t piece) {
    const std::lock_guard lock(mutex_);
    ready_[piece % ready_.size()] = 0;
    next_taken_ = piece + 1;
    room_.notify_all();
  }

  const size_t count_;
  std::mutex mutex_;
  std::condition_variable made_;  // a piece became ready
  std::condition_variable room_;  // a piece was taken, or the work ends
  std::vector<char> ready_;
  size_t next_made_ = 0;
  size_t next_taken_ = 0;
  bool stopped_ = false;
};

// Stops the workers however the taking ends, so that they can be joined.
class Stop {
 public:
  explicit Stop(OrderedWork& work) : work_(work) {}
  Stop(const Stop&) = delete;
  Stop& operator=(const Stop&) = delete;
  ~Stop() { work_.stop(); }

 private:
  OrderedWork& work_;
};

}  // namespace

void parallel_for(size_t count, unsigned jobs, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next = 0;
  const auto run = [&] {
    for (size_t i = next++; i < count; i = next++) work(i);
  };
  const size_t workers = worker_count(count, jobs);
  const auto helpers = start_threads(workers > 0 ? workers - 1 : 0, run);
  run();
}

bool parallel_ordered(size_t count, unsigned jobs, size_t window,
                      const std::function<void(size_t)>& make,
                      const std::function<bool(size_t)>& take) {
  OrderedWork work(count, std::clamp<size_t>(window, 1, std::max<size_t>(1, count)));
  const size_t workers = worker_count(count, jobs);
  std::vector<std::jthread> threads;
  if (workers > 1) threads = start_threads(workers, [&] { work.make_pieces(make); });
  if (!threads.empty()) {
    const Stop stop(work);
    return work.take_pieces(take);
  }
  for (size_t i = 0; i < count; ++i) {
    make(i);
    if (!take(i)) return false;
  }
  return true;
}

}  // namespace tensorpatch::base
