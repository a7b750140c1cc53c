#include "thread_flushes.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "check.h"

namespace fauxdax {

const uint8_t* ThreadFlushes::Last(uint64_t line) const {
  const auto found = lines_.find(line);
  if (found == lines_.end()) return nullptr;
  const auto of_thread = [](const Flushed& flushed) { return flushed.thread != 0; };
  const auto last = std::find_if(found->second.rbegin(), found->second.rend(), of_thread);
  return last == found->second.rend() ? nullptr : last->bytes.data();
}

void ThreadFlushes::Flush(uint32_t thread, uint64_t line, const uint8_t* bytes) {
  CHECK(thread != 0, "the filesystem's flushes are Undecided's");
  Order& order = lines_[line];
  const auto before = Find(&order, thread);
  if (before != order.end()) order.erase(before);
  lines_of_thread_[thread].insert(line);
  std::memcpy(order.emplace_back(Flushed{thread, {}}).bytes.data(), bytes, kLineBytes);
}

std::unordered_set<uint64_t> ThreadFlushes::TakeLines(uint32_t thread) {
  auto found = lines_of_thread_.extract(thread);
  return found.empty() ? std::unordered_set<uint64_t>() : std::move(found.mapped());
}

std::optional<ThreadFlushes::Fenced> ThreadFlushes::Fence(uint32_t thread, uint64_t line) {
  const auto found = lines_.find(line);
  if (found == lines_.end()) return std::nullopt;
  Order& order = found->second;
  const auto flushed = Find(&order, thread);
  if (flushed == order.end()) return std::nullopt;
  const auto by_filesystem = Find(&order, 0);
  const bool is_before_filesystem = by_filesystem != order.end() && by_filesystem > flushed;
  const Fenced fenced = {flushed->bytes, is_before_filesystem};
  EraseUpTo(line, &order, flushed);
  return fenced;
}

void ThreadFlushes::FlushByFilesystem(uint64_t line) {
  const auto found = lines_.find(line);
  if (found == lines_.end()) return;
  Order& order = found->second;
  const auto before = Find(&order, 0);
  if (before != order.end()) order.erase(before);
  order.push_back({0, {}});
}

void ThreadFlushes::FenceByFilesystem(uint64_t line) {
  const auto found = lines_.find(line);
  if (found == lines_.end()) return;
  const auto flushed = Find(&found->second, 0);
  if (flushed != found->second.end()) EraseUpTo(line, &found->second, flushed);
}

void ThreadFlushes::Clear() {
  lines_.clear();
  lines_of_thread_.clear();
}

ThreadFlushes::Order::iterator ThreadFlushes::Find(Order* order, uint32_t thread) {
  const auto by_thread = [&](const Flushed& flushed) { return flushed.thread == thread; };
  return std::find_if(order->begin(), order->end(), by_thread);
}

void ThreadFlushes::EraseUpTo(uint64_t line, Order* order, Order::iterator last) {
  order->erase(order->begin(), last + 1);
  const auto by_filesystem = [](const Flushed& flushed) { return flushed.thread == 0; };
  if (std::all_of(order->begin(), order->end(), by_filesystem)) lines_.erase(line);
}

}  // namespace fauxdax
