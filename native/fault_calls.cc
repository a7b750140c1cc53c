// The requests of shims (wire.h), as the fault server takes them. Nothing in a request is believed:
// what does not fit is refused, and who breaks the protocol loses the connection.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "fault_server.h"

namespace fauxdax {

namespace {

// Above all addresses of programs (four-level page tables).
constexpr uint64_t kAddressMax = uint64_t{1} << 47;
constexpr uint64_t kInoMax = uint64_t{1} << 53;
constexpr uint64_t kFallocateModeMax = 0x7f;

bool IsPages(uint64_t value) { return (value & (kPageBytes - 1)) == 0; }

bool IsFileRange(uint64_t offset, uint64_t length_bytes) {
  return offset <= kFileBytesMax && length_bytes <= kFileBytesMax - offset;
}

// A call of a mapping, recorded for a scope: what this thread records meanwhile is of it.
class Recording {
 public:
  Recording(Recorder* recorder, const MappingCall& call) : recorder_(recorder) {
    if (recorder_ == nullptr) return;
    number_ = recorder_->Begin(call);
    before_ = Recorder::Serve(number_);
  }
  ~Recording() {
    if (recorder_ == nullptr) return;
    (void)Recorder::Serve(before_);
    recorder_->End(number_, 0);
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  Recorder* const recorder_;
  uint64_t number_ = 0;
  uint64_t before_ = 0;
};

}  // namespace

bool FaultServer::IsUserRange(uint64_t address, uint64_t length_bytes) {
  return IsPages(address) && IsPages(length_bytes) && length_bytes > 0 && address < kAddressMax &&
         length_bytes <= kAddressMax - address;
}

void FaultServer::TakeRequest(Channel* channel) {
  const uint64_t channel_number = channel->number;
  wire_request request;
  int passed_fd = -1;
  PacketPeer sender = {-1, 0, -1};
  const int error = ReceivePacket(channel->fd, &request, sizeof(request), &passed_fd, &sender);
  if (error == EAGAIN) return;
  if (channel->is_offered) {
    // Who it is; which user does not matter any more.
    channel->is_offered = false;
    channel->peer.pid = sender.pid;
    channel->peer.pidfd = std::exchange(sender.pidfd, -1);
    (void)SetTellsSender(channel->fd, false);
  }
  if (sender.pidfd >= 0) close(sender.pidfd);
  FaultClient* client = FindClient(channel->client);
  const bool broken = error != 0 || request.magic != WIRE_MAGIC || channel->call != 0 ||
                      (passed_fd >= 0 && request.call != WIRE_HELLO);
  if (broken) {
    if (passed_fd >= 0) close(passed_fd);
    // The end of a thread's channel is nothing; anything else is no shim of ours.
    if (error != ENOTCONN && client != nullptr) return Doom(client, "it broke the protocol");
    return CloseChannel(channel_number);
  }
  // Said only now: a connection that is closed with a request unread loses what was said.
  const int refusal = channel->peer.uid != uid_         ? EPERM
                      : request.version != WIRE_VERSION ? EPROTONOSUPPORT
                                                        : 0;
  if (refusal != 0) {
    if (passed_fd >= 0) close(passed_fd);
    SendReply(channel_number, refusal, 0);
    if (channels_.contains(channel_number)) CloseChannel(channel_number);
    return;
  }
  if (client == nullptr) {
    if (request.call == WIRE_HELLO) return Hello(channel, request, passed_fd);
    return CloseChannel(channel_number);
  }
  switch (request.call) {
    case WIRE_MAP:
      return AskMap(channel, client, request);
    case WIRE_UNMAP:
      return Unmap(channel, client, request);
    case WIRE_SYNC:
      return AskSync(channel, client, request);
    case WIRE_FALLOCATE:
      return AskFallocate(channel, client, request);
    case WIRE_FLUSH:
      return Flush(channel, client, request);
    case WIRE_FILES:
      if (!published_) return SendReply(channel_number, EOPNOTSUPP, 0);
      return SendReply(channel_number, 0, 0, {published_->fd()});
    case WIRE_WRITES:
      return AddQueue(channel, client);
    case WIRE_HOLD:
      return Hold(channel, client, request);
    case WIRE_BELLS:
      return AddBells(channel, client, request);
    case WIRE_CHANNEL:
      return SendChannel(channel, client->number());
    case WIRE_CHILD:
      return SendChannel(channel, 0);
    case WIRE_USERFAULT:
      return SendUserfault(channel);
    case WIRE_PROC:
      return SendProc(channel, client);
    default:
      if (passed_fd >= 0) close(passed_fd);  // of a second HELLO
      return Doom(client, "it broke the protocol");
  }
}

void FaultServer::Hello(Channel* channel, const wire_request& request, int uffd) {
  const uint64_t channel_number = channel->number;
  int error = 0;
  if (uffd < 0 || request.flags != 0) error = EINVAL;
  if (error == 0) error = Userfault::Check(uffd);
  if (error == 0 && (clients_.size() >= kClientsMax || channel->peer.pidfd < 0)) error = EAGAIN;
  const uint64_t number = last_client_ + 1;
  int calls_fd = -1;
  if (error == 0) error = MakeChannel(number, &calls_fd);
  if (error == 0 && !Watch(uffd, kUserfault | number)) error = ENOMEM;
  if (error != 0) {
    if (uffd >= 0) close(uffd);
    if (calls_fd >= 0) close(calls_fd);
    return SendReply(channel_number, error, 0);
  }
  last_client_ = number;
  // Another channel was added.
  channel = &channels_.at(channel_number);
  const auto pid = static_cast<uint32_t>(channel->peer.pid);
  auto client = std::make_unique<FaultClient>(number, pid, request.tid, channel->fd, uffd,
                                              std::exchange(channel->peer.pidfd, -1));
  FaultClient* const added = client.get();
  clients_.emplace(number, std::move(client));
  channel->client = number;
  channel->is_helper = true;
  Push({.type = FaultEvent::Type::kAttached, .client = number, .pid = pid});
  const uint64_t mode = published_ ? WIRE_MODE_DATA : WIRE_MODE_RECORDED;
  const wire_reply reply = {0, 0, {mode, 0, 0}};
  if (SendPacket(channel->fd, &reply, sizeof(reply), {region_fd_, empty_fd_, calls_fd}) != 0) {
    Doom(added, "its helper does not read");
  }
  close(calls_fd);
}

int FaultServer::MakeChannel(uint64_t client, int* their_fd) {
  if (channels_.size() >= kChannelsMax) return EAGAIN;
  int fd = -1;
  int error = MakePackets(&fd, their_fd);
  if (error != 0) return error;
  const bool is_offered = client == 0;
  if (is_offered) error = SetTellsSender(fd, true);
  const uint64_t number = ++last_channel_;
  if (error == 0 && !Watch(fd, kChannel | number)) error = ENOMEM;
  if (error != 0) {
    close(fd);
    close(std::exchange(*their_fd, -1));
    return error;
  }
  const PacketPeer peer = {0, geteuid(), -1};
  channels_.emplace(
      number,
      Channel{
          .number = number, .fd = fd, .peer = peer, .client = client, .is_offered = is_offered});
  return 0;
}

void FaultServer::SendChannel(Channel* channel, uint64_t client) {
  const uint64_t number = channel->number;
  int their_fd = -1;
  const int error = MakeChannel(client, &their_fd);
  if (error != 0) return SendReply(number, error, 0);
  SendReply(number, 0, 0, {their_fd});
  close(their_fd);
}

void FaultServer::SendUserfault(Channel* channel) {
  const int fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (fd < 0) return SendReply(channel->number, errno, 0);
  SendReply(channel->number, 0, 0, {fd});
  close(fd);
}

void FaultServer::SendProc(Channel* channel, FaultClient* client) {
  const std::string folder = "/proc/" + std::to_string(client->pid());
  const int pagemap_fd = open((folder + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC);
  const int memory_fd = open((folder + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  int error = pagemap_fd < 0 || memory_fd < 0 ? errno : 0;
  // Its number may be another's by now.
  if (error == 0 && client->HasEnded()) error = ESRCH;
  if (error == 0) {
    SendReply(channel->number, 0, 0, {pagemap_fd, memory_fd});
  } else {
    SendReply(channel->number, error, 0);
  }
  if (pagemap_fd >= 0) close(pagemap_fd);
  if (memory_fd >= 0) close(memory_fd);
}

uint64_t FaultServer::AddCall(Channel* channel, FaultClient* client) {
  channel->call = ++last_call_;
  calls_.emplace(last_call_, Call{.client = client->number(), .channel = channel->number});
  return last_call_;
}

void FaultServer::AddQueue(Channel* channel, FaultClient* client) {
  if (!queued_) return SendReply(channel->number, EOPNOTSUPP, 0);
  int fd = -1;
  const int error = queued_->AddQueue(client->number(), &fd);
  if (error != 0) return SendReply(channel->number, error, 0);
  SendReply(channel->number, 0, 0, {queued_->counts_fd(), fd});
  close(fd);
}

void FaultServer::AskMap(Channel* channel, FaultClient* client, const wire_request& request) {
  const auto [address, length_bytes, ino, offset, unused] = request.arguments;
  (void)unused;
  const bool is_valid =
      IsUserRange(address, length_bytes) && IsPages(offset) && IsFileRange(offset, length_bytes) &&
      ino > 0 && ino < kInoMax &&
      (request.flags & ~(WIRE_MAP_SHARED | WIRE_MAP_SYNC | WIRE_MAP_OWN)) == 0 &&
      (request.flags & (WIRE_MAP_SHARED | WIRE_MAP_OWN)) != (WIRE_MAP_SHARED | WIRE_MAP_OWN);
  bool is_free = is_valid && !client->HasParts(address, length_bytes);
  size_t asked = 0;
  for (const auto& [number, call] : calls_) {
    if (call.client != client->number() || !call.is_map) continue;
    asked++;
    const uint64_t end = call.mapping.address + (call.mapping.page_count << kPageShift);
    if (call.mapping.address < address + length_bytes && end > address) is_free = false;
  }
  if (!is_free) return SendReply(channel->number, EINVAL, 0);
  if (client->part_count() + asked >= FaultClient::kPartsMax) {
    return SendReply(channel->number, ENOMEM, 0);
  }
  const uint64_t number = AddCall(channel, client);
  Call& call = calls_.at(number);
  call.is_map = true;
  call.mapping.client = client;
  call.mapping.ino = ino;
  call.mapping.address = address;
  call.mapping.file_page = offset >> kPageShift;
  call.mapping.page_count = length_bytes >> kPageShift;
  call.mapping.is_shared = request.flags & WIRE_MAP_SHARED;
  call.mapping.is_sync = request.flags & WIRE_MAP_SYNC;
  Push({.type = FaultEvent::Type::kMap,
        .client = client->number(),
        .call = number,
        .pid = client->pid(),
        .address = address,
        .length_bytes = length_bytes,
        .ino = ino,
        .offset = offset,
        .flags = request.flags});
}

void FaultServer::Unmap(Channel* channel, FaultClient* client, const wire_request& request) {
  const uint64_t address = request.arguments[0];
  const uint64_t length_bytes = request.arguments[1];
  if (!IsUserRange(address, length_bytes)) return SendReply(channel->number, EINVAL, 0);
  // Cutting a hole makes two parts of one.
  if (client->part_count() >= 2 * FaultClient::kPartsMax || events_.size() >= kEventsMax) {
    return Doom(client, "it has too many parts of mappings");
  }
  RemoveParts(client, address, address + length_bytes);
  SendReply(channel->number, 0, 0);
}

void FaultServer::Hold(Channel* channel, FaultClient* client, const wire_request& request) {
  const uint64_t address = request.arguments[0];
  const uint64_t length_bytes = request.arguments[1];
  const bool is_valid = length_bytes == 0 || IsUserRange(address, length_bytes);
  if (is_valid) client->Hold(address, address + length_bytes);
  SendReply(channel->number, is_valid ? 0 : EINVAL, 0);
}

void FaultServer::AskSync(Channel* channel, FaultClient* client, const wire_request& request) {
  const MemoryRange range = {request.arguments[0], request.arguments[1]};
  FaultEvent event;
  int error;
  if (SyncAtOnce(client, range, request.tid, &error, &event)) {
    return SendReply(channel->number, error, 0);
  }
  event.call = AddCall(channel, client);
  Push(std::move(event));
}

bool FaultServer::SyncAtOnce(FaultClient* client, const MemoryRange& range, uint32_t tid,
                             int* error, FaultEvent* event) {
  const auto& [address, length_bytes] = range;
  *error = EINVAL;
  if (!IsUserRange(address, length_bytes)) return true;
  *event = {.type = FaultEvent::Type::kSync, .client = client->number(), .tid = tid};
  client->ForEachPart(address, address + length_bytes, [&](const FaultClient::Part& part) {
    event->parts.push_back({part.mapping->number, part.mapping->PageAt(part.address),
                            (part.end - part.address) >> kPageShift});
  });
  *error = event->parts.empty() ? ENOMEM : 0;
  return *error != 0 || WriteBackSettled(event->parts);
}

void FaultServer::AskFallocate(Channel* channel, FaultClient* client, const wire_request& request) {
  const auto [ino, mode, offset, length_bytes, unused] = request.arguments;
  (void)unused;
  if (ino == 0 || ino >= kInoMax || mode > kFallocateModeMax || length_bytes == 0) {
    return SendReply(channel->number, EINVAL, 0);
  }
  if (!IsFileRange(offset, length_bytes)) return SendReply(channel->number, EFBIG, 0);
  const uint64_t number = AddCall(channel, client);
  Push({.type = FaultEvent::Type::kFallocate,
        .client = client->number(),
        .call = number,
        .tid = request.tid,
        .length_bytes = length_bytes,
        .ino = ino,
        .offset = offset,
        .flags = mode});
}

void FaultServer::Flush(Channel* channel, FaultClient* client, const wire_request& request) {
  const uint64_t address = request.arguments[0];
  const uint64_t length_bytes = request.arguments[1];
  if (address > kAddressMax || length_bytes > kAddressMax - address ||
      (request.flags & ~static_cast<uint32_t>(WIRE_FLUSH_DRAIN)) != 0) {
    return SendReply(channel->number, EINVAL, 0);
  }
  // Each of the recorded calls below looks for stores, too; and without a recording the order of
  // stores to other lines means nothing.
  if (recorder_ && !(request.flags & WIRE_FLUSH_DRAIN)) region_->Sweep();
  const uint64_t end = address + length_bytes;
  const uint64_t end_page = (end + kPageBytes - 1) & ~(kPageBytes - 1);
  client->ForEachPart(address & ~(kPageBytes - 1), end_page, [&](const FaultClient::Part& part) {
    const FaultMapping& mapping = *part.mapping;
    // What a store to a private mapping changed is not the file's.
    if (!mapping.is_shared) return;
    const auto flush = [&](const ShownRun& run) {
      FlushRun(mapping, run, address, end, request.tid);
    };
    const uint64_t file_page = mapping.PageAt(part.address);
    const uint64_t page_count = (part.end - part.address) >> kPageShift;
    mapping.shown.ForEach(file_page, page_count, flush);
    client->ForEachShownBefore(mapping, file_page, page_count, flush);
  });
  if (request.flags & WIRE_FLUSH_DRAIN) {
    const Recording recording(recorder_.get(),
                              {MappingOperation::kDrain, client->pid(), request.tid, 0, 0, 0, 0});
    region_->Fence(request.tid);
  }
  SendReply(channel->number, 0, 0);
}

void FaultServer::FlushRun(const FaultMapping& mapping, const ShownRun& run, uint64_t address,
                           uint64_t end, uint32_t tid) {
  const uint64_t run_address = mapping.AddressOf(run.file_page);
  const uint64_t from = std::max(run_address, address);
  const uint64_t to = std::min(run_address + (run.page_count << kPageShift), end);
  if (from >= to) return;
  const uint64_t in_run = from - run_address;
  const Recording recording(recorder_.get(),
                            {MappingOperation::kFlush, mapping.client->pid(), tid, mapping.ino,
                             (run.file_page << kPageShift) + in_run, to - from, 0});
  region_->Flush((run.region_page << kPageShift) + in_run, to - from, tid);
}

}  // namespace fauxdax
