// Requests that threads of programs make by ringing a bell (wire_bells.h), on the fault server's
// thread. The bell's page is filled when the request is answered, and until then its thread waits
// in the fault, as killable as any: the daemon waits for nobody.
#include <errno.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "fault_server.h"

namespace fauxdax {

void FaultServer::AddBells(Channel* channel, FaultClient* client, const wire_request& request) {
  const uint64_t channel_number = channel->number;
  const uint64_t address = request.arguments[0];
  constexpr uint64_t kLength = WIRE_BELL_COUNT * kPageBytes;
  // Where every sync goes to JavaScript, a thread of the shim may as well wait for that.
  int error = published_ ? 0 : EOPNOTSUPP;
  if (!IsUserRange(address, kLength) || client->HasParts(address, kLength)) error = EINVAL;
  if (client->bells != nullptr) error = EEXIST;
  int fd = -1;
  if (error == 0) error = Bells::Make(address, &client->bells, &fd);
  if (error != 0) return SendReply(channel_number, error, 0);
  error = Register(client, {address, kLength});
  if (error != 0) client->bells.reset();
  if (error == 0) {
    SendReply(channel_number, 0, 0, {fd});
  } else {
    SendReply(channel_number, error, 0);
  }
  close(fd);
}

void FaultServer::Ring(FaultClient* client, uint64_t address) {
  Bells& bells = *client->bells;
  const size_t bell = bells.At(address);
  if (bells.is_busy(bell)) return;
  Bells::Asked asked;
  if (bells.Read(bell, &asked)) {
    FaultEvent event;
    int error = EINVAL;
    if (asked.call == WIRE_SYNC) {
      rung_syncs_++;
      const MemoryRange range = {asked.arguments[0], asked.arguments[1]};
      if (!SyncAtOnce(client, range, asked.tid, &error, &event)) {
        bells.SetBusy(bell, true);
        event.call = ++last_call_;
        calls_.emplace(event.call, Call{.client = client->number(), .bell = asked});
        return Push(std::move(event));
      }
    }
    bells.Answer(asked, error);
  }
  Fill(client, bells.AddressOf(bell));
}

void FaultServer::AnswerBell(const Call& call, int error) {
  FaultClient* client = FindClient(call.client);
  if (client == nullptr) return;
  client->bells->SetBusy(call.bell->bell, false);
  client->bells->Answer(*call.bell, error);
  Queue({.kind = MemoryChange::Kind::kFill,
         .client = call.client,
         .whole = {client->bells->AddressOf(call.bell->bell), kPageBytes},
         .ranges = {}});
}

}  // namespace fauxdax
