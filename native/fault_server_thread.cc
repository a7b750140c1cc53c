// The thread of the fault server: faults, commands done, connections; requests are in
// fault_calls.cc. It waits for nothing but epoll_wait(2), so that the message about an mremap(2) is
// always read at once: the helper that makes one waits for that.
#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "check.h"
#include "fault_server.h"
#include "monotonic.h"

namespace fauxdax {

namespace {

constexpr int kReadyMax = 64;
constexpr int kTickMs = 1000;
constexpr int kKeptTickMs = 1;
// Messages of one process at a time; then the others have their turn.
constexpr int kMessagesMax = 64;

}  // namespace

bool FaultServer::Watch(int fd, uint64_t what) {
  epoll_event wanted = {};
  wanted.events = EPOLLIN;
  wanted.data.u64 = what;
  return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &wanted) == 0;
}

void FaultServer::Run() {
  pthread_setname_np(pthread_self(), "fauxdax-faults");
  epoll_event ready[kReadyMax];
  int64_t looked_ns = MonotonicNs();
  bool keeps = false;
  while (!stop_) {
    const int count = epoll_wait(epoll_fd_, ready, kReadyMax, keeps ? kKeptTickMs : kTickMs);
    CHECK(count >= 0 || errno == EINTR, "epoll waits");
    for (int i = 0; i < count && !stop_; i++) {
      const Turn turn(this, Turn::Of::kThread);
      MakeChanges();
      Serve(ready[i].data.u64, ready[i].events);
    }
    const int64_t now_ns = MonotonicNs();
    keeps = kept_until_ns_ != 0;
    if (keeps && now_ns >= kept_until_ns_) {
      const Turn turn(this, Turn::Of::kThread);
      MakeChanges();
      EndKeeping();
      keeps = kept_until_ns_ != 0;
    }
    if (now_ns - looked_ns < int64_t{kTickMs} * 1'000'000) continue;
    looked_ns = now_ns;
    const Turn turn(this, Turn::Of::kThread);
    FindSilent();
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  is_running_ = false;
  made_.notify_all();
}

void FaultServer::Serve(uint64_t what, uint32_t events) {
  if (what == kListener) return Accept();
  if (what == kKick) {
    uint64_t kicks;
    (void)!read(kick_fd_, &kicks, sizeof(kicks));
    SendCommands();
    for (const auto& [number, client] : clients_) {
      if (client->userfault().has_read_ahead()) TakeMessages(client.get());
    }
    return;
  }
  if (!(what & kUserfault)) return ServeChannel(what & ~kChannel);
  // What was closed meanwhile is found no more.
  FaultClient* client = FindClient(what & ~kUserfault);
  if (client == nullptr) return;
  if (events & EPOLLERR) return Doom(client, "its userfaultfd may block");
  TakeMessages(client);
}

void FaultServer::ServeChannel(uint64_t number) {
  const auto found = channels_.find(number);
  if (found == channels_.end()) return;
  Channel* channel = &found->second;
  if (channel->is_helper) {
    TakeDone(channel);
  } else {
    TakeRequest(channel);
  }
}

void FaultServer::Accept() {
  int fd = -1;
  PacketPeer peer = {};
  if (AcceptPackets(listener_fd_, &fd, &peer) != 0) return;
  if (peer.pidfd < 0 || channels_.size() >= kChannelsMax || events_.size() >= kEventsMax) {
    const wire_reply reply = {EAGAIN, 0, {}};
    (void)SendPacket(fd, &reply, sizeof(reply), {});
    close(fd);
    if (peer.pidfd >= 0) close(peer.pidfd);
    return;
  }
  const uint64_t number = ++last_channel_;
  channels_.emplace(number, Channel{.number = number, .fd = fd, .peer = peer});
  if (!Watch(fd, kChannel | number)) CloseChannel(number);
}

void FaultServer::TakeMessages(FaultClient* client) {
  uffd_msg message;
  for (int taken = 0; taken < kMessagesMax && client->doom.empty(); taken++) {
    const int error = client->userfault().Read(&message);
    if (error == EAGAIN) return;
    if (error != 0) return Doom(client, "its userfaultfd broke");
    // Having read it is all that the mremap(2) of the helper waits for.
    if (message.event == UFFD_EVENT_PAGEFAULT) Fault(client, message);
  }
  if (client->userfault().has_read_ahead()) Kick();
}

void FaultServer::Fault(FaultClient* client, const uffd_msg& message) {
  const uint64_t address = message.arg.pagefault.address & ~(kPageBytes - 1);
  const uint64_t flags = message.arg.pagefault.flags;
  if (client->bells && client->bells->Holds(address)) return Ring(client, address);
  const FaultClient::Part* part = client->Find(address);
  // Of a mapping that is gone: the thread finds what is there now.
  if (part == nullptr) return client->userfault().Wake(address, kPageBytes);
  FaultMapping* mapping = part->mapping;
  const uint64_t file_page = mapping->PageAt(address);
  const bool is_protected = flags & UFFD_PAGEFAULT_FLAG_WP;
  if (is_protected && CatchStore(client, mapping, file_page)) return;
  if (!client->Tell(address)) return;
  faults_++;
  Push({.type = FaultEvent::Type::kFault,
        .client = client->number(),
        .tid = message.arg.pagefault.feat.ptid,
        .part = {mapping->number, file_page, 1},
        .is_write = (flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0,
        .is_protected = is_protected});
}

bool FaultServer::CatchStore(FaultClient* client, FaultMapping* mapping, uint64_t file_page) {
  const uint64_t address = mapping->AddressOf(file_page);
  const auto caught = caught_.find(mapping->ino);
  const bool is_caught = mapping->is_shared && !mapping->is_sync && caught != caught_.end() &&
                         caught->second.pages.Contains(file_page, 1);
  if (mapping->is_shared && !is_caught) return false;
  if (client->IsCommanded(*mapping, file_page) ||
      (!mapping->is_shared && client->IsHeld(address))) {
    // The helper may be looking which pages are the process's own: none may become so meanwhile.
    client->HoldBack(address);
    held_stores_++;
    return true;
  }
  ShownRun stored = {file_page, 1, 0};
  std::vector<MemoryRange> storable;
  if (mapping->is_shared) {
    ShownRun run;
    if (!mapping->shown.Find(file_page, &run)) return false;
    stored = StoredTogether(caught->second, run, file_page);
    HideKept(mapping->ino, &caught->second);
    // Before the store: what the page holds now is what it held.
    region_->WatchPages(stored.region_page, stored.page_count);
    caught->second.dirtied.Add(stored.file_page, stored.page_count);
    storable = NoteGroup(&caught->second, *mapping, file_page);
    const auto lock = files_->SharedLock();
    FileMap* file = files_->Find(mapping->ino);
    if (file != nullptr) caught->second.touched_ns = MonotonicNs();
    if (file != nullptr && file->TouchMtimeFinely(files_->clock())) {
      files_->NoteTouched(file);
    }
  }
  caught_stores_++;
  if (ShowHuge(client, mapping, stored)) {
    client->HoldBack(address);
  } else {
    // Last, for the thread that waits for it goes on.
    storable.push_back({mapping->AddressOf(stored.file_page), stored.page_count << kPageShift});
  }
  const int error = Unprotect(client, storable);
  if (error != 0 && error != ESRCH) Doom(client, "its memory could not be made storable");
  return true;
}

void FaultServer::TakeDone(Channel* channel) {
  FaultClient* client = FindClient(channel->client);
  CHECK(client != nullptr, "a helper's channel goes with its client");
  wire_done done = {};
  int passed_fd = -1;
  const int error = ReceivePacket(channel->fd, &done, sizeof(done), &passed_fd);
  if (error == EAGAIN) return;
  if (passed_fd >= 0) close(passed_fd);
  if (error == ENOTCONN) return Doom(client, kEnded);
  const bool makes_sense = done.error >= 0 && done.collisions <= WIRE_COMMANDS_MAX;
  const bool is_broken = error != 0 || passed_fd >= 0 || !makes_sense;
  const bool is_awaited = !is_broken && NoteDone(client, done);
  if (is_broken || !client->Done(done.number, MonotonicNs())) {
    return Doom(client, "its helper broke the protocol");
  }
  if (is_awaited) {
    Push({.type = FaultEvent::Type::kDone,
          .client = client->number(),
          .number = done.number,
          .error = done.error,
          .collisions = done.collisions});
  }
  SendCommands(client);
}

void FaultServer::FindSilent() {
  const int64_t now_ns = MonotonicNs();
  for (const auto& [number, client] : clients_) {
    if (client->SilentNs(now_ns) < silence_ns_max_) continue;
    client->Kill();
    Doom(client.get(), "killed: it left commands undone for " +
                           std::to_string(silence_ns_max_ / 1'000'000'000) + " s");
  }
}

}  // namespace fauxdax
