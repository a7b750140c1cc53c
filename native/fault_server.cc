#include "fault_server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "check.h"
#include "monotonic.h"
#include "own_thread.h"

namespace fauxdax {

namespace {

// Only shared memory of the kernel's own can be write-protected with messages.
int OpenRegion(const std::string& path, int* fd) {
  const int opened = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (opened < 0) return errno;
  struct statfs status;
  if (fstatfs(opened, &status) == 0 && status.f_type == TMPFS_MAGIC) {
    *fd = opened;
    return 0;
  }
  close(opened);
  return EOPNOTSUPP;
}

// A file of no bytes, for ever.
int OpenEmpty(int* fd) {
  const int made = memfd_create("fauxdax-bus", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made < 0) return errno;
  *fd = made;
  return fcntl(made, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0 ? 0 : errno;
}

void CloseFd(int fd) {
  if (fd >= 0) close(fd);
}

}  // namespace

int FaultServer::Open(const std::string& socket_path, FaultServerParts parts, Tell tell,
                      void* owner, std::unique_ptr<FaultServer>* out) {
  std::unique_ptr<FaultServer> server(new FaultServer(std::move(parts), tell, owner));
  const int error = server->Listen(socket_path);
  if (error == 0) *out = std::move(server);
  return error;
}

FaultServer::FaultServer(FaultServerParts parts, Tell tell, void* owner)
    : region_(std::move(parts.region)),
      recorder_(std::move(parts.recorder)),
      files_(parts.files),
      uid_(geteuid()),
      silence_ns_max_(parts.silence_ns_max),
      tell_(tell),
      owner_(owner),
      huge_pages_(region_->page_count() / kPagesPerHuge + 1) {}

int FaultServer::Listen(const std::string& socket_path) {
  int error = OpenRegion(region_->path(), &region_fd_);
  if (error == 0) error = OpenEmpty(&empty_fd_);
  if (error != 0) return error;
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  kick_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (epoll_fd_ < 0 || kick_fd_ < 0) return errno;
  error = ListenForPackets(socket_path, &listener_fd_);
  if (error != 0) return error;
  socket_path_ = socket_path;
  if (!region_->sees_changes()) {
    error = PublishedFiles::Make(&published_);
    if (error != 0) return error;
    error = QueuedWrites::Make(files_, published_.get(), region_.get(), &queued_);
    if (error != 0) return error;
    region_->MirrorPoison(published_->poisoned_pages());
    published_->ShowFlushInstruction(region_->flush_instruction());
    files_->SetPublished(published_.get(), queued_.get());
  }
  if (!Watch(listener_fd_, kListener) || !Watch(kick_fd_, kKick)) return errno;
  is_running_ = true;
  thread_ = StartThread([this] { Run(); });
  return 0;
}

bool FaultServer::Stop(int64_t wait_ns_max) {
  if (!thread_.joinable()) return true;
  stop_ = true;
  Kick();
  std::unique_lock<std::mutex> lock(mutex_);
  const auto is_over = [this] { return !is_running_; };
  if (!made_.wait_for(lock, std::chrono::nanoseconds(wait_ns_max), is_over)) return false;
  lock.unlock();
  thread_.join();
  return true;
}

FaultServer::~FaultServer() {
  if (thread_.joinable()) {
    stop_ = true;
    Kick();
    thread_.join();
  }
  if (published_) {
    region_->MirrorPoison(nullptr);
    files_->SetPublished(nullptr, nullptr);
  }
  for (const auto& [number, channel] : channels_) {
    close(channel.fd);
    CloseFd(channel.peer.pidfd);
  }
  if (!socket_path_.empty()) (void)unlink(socket_path_.c_str());
  for (const int fd : {listener_fd_, kick_fd_, epoll_fd_, region_fd_, empty_fd_}) CloseFd(fd);
}

FaultServer::Turn::~Turn() {
  // The thread may be using a client while it does not hold the mutex.
  if (of_ == Of::kThread) {
    server_->Reap();
  } else {
    server_->KickIfDoomed();
  }
  const bool tells = !server_->events_.empty() && !server_->told_;
  if (tells) server_->told_ = true;
  lock_.unlock();
  if (tells) server_->tell_(server_->owner_);
}

FaultClient* FaultServer::FindClient(uint64_t number) {
  const auto found = clients_.find(number);
  return found == clients_.end() ? nullptr : found->second.get();
}

FaultMapping* FaultServer::FindMapping(uint64_t number) {
  const auto found = mappings_.find(number);
  return found == mappings_.end() ? nullptr : found->second.get();
}

void FaultServer::Push(FaultEvent event) { events_.push_back(std::move(event)); }

void FaultServer::Kick() {
  const uint64_t one = 1;
  // Fails only when it is full of kicks.
  (void)!write(kick_fd_, &one, sizeof(one));
}

void FaultServer::KickIfDoomed() {
  if (!doomed_.empty()) Kick();
}

void FaultServer::Doom(FaultClient* client, const std::string& reason) {
  if (!client->doom.empty()) return;
  client->doom = reason;
  doomed_.push_back(client->number());
}

void FaultServer::Reap() {
  for (const uint64_t number : std::exchange(doomed_, {})) Remove(FindClient(number));
}

void FaultServer::Remove(FaultClient* client) {
  const uint64_t number = client->number();
  if (client->any_command()) {
    Push({.type = FaultEvent::Type::kDone,
          .client = number,
          .number = client->last_number(),
          .error = ESRCH});
  }
  Push({.type = FaultEvent::Type::kGone, .client = number, .reason = client->doom});
  std::erase_if(calls_, [&](const auto& call) { return call.second.client == number; });
  std::erase_if(mappings_, [&](const auto& entry) { return entry.second->client == client; });
  std::vector<uint64_t> channels;
  for (const auto& [channel_number, channel] : channels_) {
    if (channel.client == number) channels.push_back(channel_number);
  }
  for (const uint64_t channel : channels) CloseChannel(channel);
  SetMapper();
  if (queued_) queued_->RemoveQueue(number);
  clients_.erase(number);
}

void FaultServer::CloseChannel(uint64_t number) {
  const auto found = channels_.find(number);
  CHECK(found != channels_.end(), "a channel is closed once");
  close(found->second.fd);
  CloseFd(found->second.peer.pidfd);
  channels_.erase(found);
}

void FaultServer::RemoveParts(FaultClient* client, uint64_t address, uint64_t end) {
  std::vector<FaultMapping*> touched;
  client->RemoveParts(address, end, [&](FaultMapping* mapping, uint64_t page, uint64_t count) {
    mapping->shown.Clear(page, count);
    touched.push_back(mapping);
    Push({.type = FaultEvent::Type::kUnmapped, .part = {mapping->number, page, count}});
  });
  client->Wake(address, end - address);
  for (FaultMapping* mapping : touched) {
    bool any_left = false;
    client->ForEachPartOf(*mapping, mapping->file_page, mapping->page_count,
                          [&](const FaultClient::Part&) { any_left = true; });
    if (any_left || FindMapping(mapping->number) == nullptr) continue;
    client->Forget(mapping);
    mappings_.erase(mapping->number);
    SetMapper();
  }
}

void FaultServer::SetMapper() {
  if (!recorder_) return;
  uint32_t only = 0;
  for (const auto& [number, mapping] : mappings_) {
    const uint32_t pid = mapping->client->pid();
    if (only != 0 && only != pid) {
      only = 0;
      break;
    }
    only = pid;
  }
  if (only == mapper_) return;
  // What was stored before was stored by those before.
  region_->Sweep();
  mapper_ = only;
  recorder_->SetMapper(only);
}

void FaultServer::SendReply(uint64_t channel_number, int error, uint64_t value,
                            std::initializer_list<int> passed_fds) {
  const auto found = channels_.find(channel_number);
  if (found == channels_.end()) return;
  found->second.call = 0;
  const wire_reply reply = {error, 0, {value, 0, 0}};
  const int fd = found->second.fd;
  if (SendPacket(fd, &reply, sizeof(reply), passed_fds) == 0) return;
  // It is being closed, or nobody reads: its process is told by losing the connection.
  CloseChannel(channel_number);
}

void FaultServer::SendCommands() {
  for (const uint64_t number : std::exchange(to_send_, {})) {
    FaultClient* client = FindClient(number);
    if (client != nullptr) SendCommands(client);
  }
}

void FaultServer::SendCommands(FaultClient* client) {
  const int error = client->SendCommands(MonotonicNs());
  if (error != 0) Doom(client, error == ENOTCONN ? kEnded : "its helper does not read");
}

std::vector<FaultEvent> FaultServer::Take() {
  const Turn turn(this);
  told_ = false;
  return std::exchange(events_, {});
}

bool FaultServer::Map(uint64_t call_number, uint64_t mapping_number, int error) {
  const Turn turn(this);
  const auto found = calls_.find(call_number);
  if (found == calls_.end() || !found->second.is_map) return true;
  if (error == 0 && mappings_.contains(mapping_number)) return false;
  const Call call = std::move(found->second);
  calls_.erase(found);
  FaultClient* client = FindClient(call.client);
  CHECK(client != nullptr, "calls go with their client");
  if (error != 0) {
    SendReply(call.channel, error, 0);
    return true;
  }
  auto mapping = std::make_unique<FaultMapping>(call.mapping);
  mapping->number = mapping_number;
  client->AddPart(mapping.get());
  Queue({.kind = MemoryChange::Kind::kRegister,
         .client = call.client,
         .whole = {mapping->address, mapping->page_count << kPageShift},
         .ranges = {},
         .channel = call.channel,
         .mapping = mapping_number});
  mappings_.emplace(mapping_number, std::move(mapping));
  SetMapper();
  return true;
}

void FaultServer::Reply(uint64_t call_number, int error) {
  const Turn turn(this);
  const auto found = calls_.find(call_number);
  if (found == calls_.end() || found->second.is_map) return;
  const Call call = found->second;
  calls_.erase(found);
  if (call.bell) return AnswerBell(call, error);
  SendReply(call.channel, error, 0);
}

uint64_t FaultServer::Show(uint64_t mapping_number, uint64_t file_page, uint64_t page_count,
                           uint32_t kind, uint64_t region_page, uint32_t flags) {
  const Turn turn(this);
  FaultMapping* mapping = FindMapping(mapping_number);
  if (mapping == nullptr || !mapping->Covers(file_page, page_count)) return 0;
  FaultClient* client = mapping->client;
  bool any_there = false;
  client->ForEachPartOf(*mapping, file_page, page_count,
                        [&](const FaultClient::Part&) { any_there = true; });
  if (!any_there || !client->doom.empty()) return 0;
  if (flags & WIRE_STORABLE) Unsettle(*mapping);
  const uint64_t number = client->Command(mapping, {file_page, page_count, region_page}, kind,
                                          flags, FaultClient::Asker::kJavaScript);
  if (number == 0) {
    Doom(client, "too many commands wait for it");
    client->Kill();
    return 0;
  }
  commands_++;
  to_send_.push_back(client->number());
  if (!batching_ && to_send_.size() == 1) Kick();
  return number;
}

void FaultServer::Unsettle(const FaultMapping& mapping) {
  if (!mapping.is_shared) return;
  const auto found = caught_.find(mapping.ino);
  if (found != caught_.end()) Unkeep(mapping.ino, &found->second);
}

void FaultServer::CatchStores(uint64_t ino, uint64_t file_page, uint64_t page_count, bool on,
                              bool is_huge) {
  const Turn turn(this);
  if (on) {
    Caught& caught = caught_[ino];
    caught.pages.Add(file_page, page_count);
    if (is_huge) caught.huge.Add(file_page, page_count);
    return;
  }
  const auto found = caught_.find(ino);
  if (found == caught_.end()) return;
  Caught& caught = found->second;
  Unkeep(ino, &caught);
  caught.pages.Remove(file_page, page_count);
  // A chunk that is not whole any more is none: whoever asks asks for all of it.
  caught.huge.Remove(file_page, page_count);
  if (caught.pages.empty() && caught.dirtied.empty() && caught.protecting.empty()) {
    caught_.erase(found);
  }
}

void FaultServer::Settled(uint64_t ino) {
  const Turn turn(this);
  const auto found = caught_.find(ino);
  if (found == caught_.end()) return;
  found->second.is_settled = true;
  // What mtime is by the stores so far may have been taken over, and nobody would be told again.
  found->second.touched_ns = 0;
}

void FaultServer::Unsettled() {
  uint64_t last = 0;
  {
    const Turn turn(this);
    for (auto& [ino, caught] : caught_) last = std::max(last, Unkeep(ino, &caught));
  }
  // Whoever is answered next may store next, and is to find it in mtime.
  if (last != 0) (void)IsProtected(last);
}

FaultServerCounters FaultServer::counters() {
  const Turn turn(this);
  return {clients_.size(), mappings_.size(), faults_,
          caught_stores_,  held_stores_,     settled_syncs_,
          rung_syncs_,     commands_,        queued_ ? queued_->stored() : 0};
}

void FaultServer::BeginBatch() {
  const Turn turn(this);
  batching_ = true;
}

void FaultServer::EndBatch() {
  const Turn turn(this);
  batching_ = false;
  SendCommands();
}

}  // namespace fauxdax
