// The daemon's end of all shims (wire.h): who is connected, where their mappings lie, what they
// show. What it can decide over an unchanged map it does at once; the rest becomes events for
// JavaScript, whose answers come as calls.
//
// A thread of its own takes what comes (fault_server_thread.cc, fault_calls.cc); the JavaScript
// thread calls the public functions (fault_server.cc). One mutex protects everything. Nobody waits
// for a process while holding it: sends do not block, and memory of processes is changed without it
// (fault_memory.cc), in order and by the thread alone, so that letting a noted store through comes
// before every writeProtect() after the note. Lock order: this mutex, the recorder's, those of the
// region.
//
// Coherence comes first: a process that cannot be made to see a change is killed.
#ifndef FAUXDAX_FAULT_SERVER_H_
#define FAUXDAX_FAULT_SERVER_H_

#include <linux/userfaultfd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "fault_client.h"
#include "fault_event.h"
#include "fault_mapping.h"
#include "file_table.h"
#include "interval_set.h"
#include "packet_socket.h"
#include "published_files.h"
#include "queued_writes.h"
#include "region.h"
#include "store_groups.h"
#include "wire.h"

namespace fauxdax {

// Why a client is gone that did nothing wrong.
inline constexpr char kEnded[] = "it ended";

struct FaultServerCounters {
  uint64_t clients;
  uint64_t mappings;
  uint64_t faults;
  uint64_t caught_stores;
  uint64_t held_stores;
  uint64_t settled_syncs;
  uint64_t rung_syncs;
  uint64_t commands;
  uint64_t queued_writes;  // stored
};

struct FaultServerParts {
  std::shared_ptr<Region> region;
  std::shared_ptr<Recorder> recorder;  // null: nothing is recorded
  FileTable* files;                    // outlives the server
  int64_t silence_ns_max;              // a helper that is silent for that long is killed
};

class FaultServer {
 public:
  // Called on any thread when Take() has something again; the server's mutex is not held.
  using Tell = void (*)(void* owner);

  // Listens at `socket_path` and starts the thread. Errors: those of bind(2); EOPNOTSUPP when the
  // region lies on no tmpfs.
  static int Open(const std::string& socket_path, FaultServerParts parts, Tell tell, void* owner,
                  std::unique_ptr<FaultServer>* out);
  ~FaultServer();
  FaultServer(const FaultServer&) = delete;
  FaultServer& operator=(const FaultServer&) = delete;

  // All of these on the JavaScript thread; FaultServer of lib/addon/fault_server.ts says what they
  // do. Calls, mappings and clients that are gone are no error.
  std::vector<FaultEvent> Take();
  // False when a mapping has that number already.
  [[nodiscard]] bool Map(uint64_t call, uint64_t mapping, int error);
  void Reply(uint64_t call, int error);
  uint64_t Show(uint64_t mapping, uint64_t file_page, uint64_t page_count, uint32_t kind,
                uint64_t region_page, uint32_t flags);
  void Wake(uint64_t mapping, uint64_t file_page, uint64_t page_count);
  uint64_t WriteProtect(uint64_t mapping, uint64_t file_page, uint64_t page_count, bool on);
  bool IsProtected(uint64_t number);
  void ProtectOrKill(int64_t wait_ns_max);
  void CatchStores(uint64_t ino, uint64_t file_page, uint64_t page_count, bool on, bool is_huge);
  IntervalSet TakeDirtied(uint64_t ino);
  void Settled(uint64_t ino);
  void Unsettled();
  FaultServerCounters counters();

  // Ends the thread. False when it does not within that time because the kernel lets it not change
  // the memory of a process: then neither it nor this object may be destroyed.
  [[nodiscard]] bool Stop(int64_t wait_ns_max);

  // Commands of a batch are sent at its end, by the JavaScript thread; others soon.
  void BeginBatch();
  void EndBatch();

 private:
  // What the thread waits for: these, a channel or the faults of a client.
  static constexpr uint64_t kListener = 0;
  static constexpr uint64_t kKick = 1;
  static constexpr uint64_t kChannel = uint64_t{1} << 62;
  static constexpr uint64_t kUserfault = uint64_t{1} << 63;
  static constexpr size_t kChannelsMax = 8192;
  static constexpr size_t kClientsMax = 1024;
  // Told and not taken; beyond that nobody new is let in.
  static constexpr size_t kEventsMax = 1 << 17;

  // A connection: nobody's until it says HELLO, or made for a process that has.
  struct Channel {
    uint64_t number;
    int fd;
    PacketPeer peer;
    uint64_t client = 0;
    bool is_helper = false;
    bool is_offered = false;  // its peer is who says HELLO
    uint64_t call = 0;        // asked and not answered
  };
  struct Call {
    uint64_t client;
    uint64_t channel = 0;
    bool is_map = false;
    FaultMapping mapping = {};              // of a map
    std::optional<Bells::Asked> bell = {};  // asked there, and not by a channel
  };
  struct Caught {
    // Syncs of a file, each within a tick of the one before, after which the next is expected.
    static constexpr uint32_t kSyncsInARow = 16;

    IntervalSet pages;
    IntervalSet huge;  // of these, whole 2 MiB that are one entry
    IntervalSet dirtied;
    StoreGroups groups;
    // Taken from `dirtied` by WriteBackSettled(), not flushed yet.
    IntervalSet protecting;
    // Of `dirtied`: left storable by a sync, because mtime is of this very tick of its clock.
    IntervalSet kept;
    bool is_kept_shown = false;  // to processes: `kept` is all of `dirtied`
    int64_t touched_ns = 0;      // when a caught store moved mtime since it was settled, monotonic
    int64_t synced_ns = 0;       // the last settled sync
    uint32_t syncs_in_a_row = 0;
    // What is in `dirtied` is all that an msync of the file has to do. Ends with whatever makes
    // pages storable past us, takes dirt away or changes the map.
    bool is_settled = false;

    bool is_synced_often() const { return syncs_in_a_row >= kSyncsInARow; }
  };
  struct MemoryRange {
    uint64_t address;
    uint64_t length_bytes;
  };
  // Something to be done to the memory of a process; of kRegister the reply, when it is done.
  struct MemoryChange {
    enum class Kind { kRegister, kProtect, kUnprotect, kWake, kFill };
    Kind kind;
    uint64_t client;
    MemoryRange whole;                // kRegister, kWake, kFill; of kUnprotect what is woken
    std::vector<MemoryRange> ranges;  // kProtect, kUnprotect
    uint64_t channel = 0;             // kRegister
    uint64_t mapping = 0;             // kRegister
    uint64_t number = 0;
  };
  // The mutex, held; at its end JavaScript is told what is new. On the thread, who is doomed goes.
  class Turn;

  FaultServer(FaultServerParts parts, Tell tell, void* owner);
  int Listen(const std::string& socket_path);

  // fault_server.cc, with the mutex held.
  FaultClient* FindClient(uint64_t number);
  FaultMapping* FindMapping(uint64_t number);
  void Push(FaultEvent event);
  // The client goes at the end of this turn.
  void Doom(FaultClient* client, const std::string& reason);
  void Reap();
  void Remove(FaultClient* client);
  void CloseChannel(uint64_t number);
  // JavaScript makes pages of its file storable.
  void Unsettle(const FaultMapping& mapping);
  // Forgets a part of a mapping, and the mapping with its last one.
  void RemoveParts(FaultClient* client, uint64_t address, uint64_t end);
  // Stores found from here on are those of the only process with mappings, if there is one.
  void SetMapper();
  void SendReply(uint64_t channel, int error, uint64_t value,
                 std::initializer_list<int> passed_fds = {});
  void SendCommands();
  void SendCommands(FaultClient* client);
  void Kick();
  // When the thread is to do something before it waits again.
  void KickIfDoomed();

  // fault_memory.cc, with the mutex held; MakeChanges() and those that return an error on the
  // thread, and they let go of it meanwhile.
  uint64_t Append(MemoryChange change);
  // The same, and has the thread make it.
  uint64_t Queue(MemoryChange change);
  void MakeChanges();
  void Finish(const MemoryChange& change, int error);
  // Where a mapping shows the region in a range, or does so until a command under way is done.
  static std::vector<MemoryRange> ShownMemory(const FaultMapping& mapping, uint64_t file_page,
                                              uint64_t page_count);
  [[nodiscard]] int Unprotect(FaultClient* client, const std::vector<MemoryRange>& ranges);
  [[nodiscard]] int Register(FaultClient* client, const MemoryRange& range);
  // A page, with zeroes, which lets go on who waits for it.
  void Fill(FaultClient* client, uint64_t address);

  // fault_server_thread.cc, on the thread, with the mutex held but for Run().
  void Run();
  void Serve(uint64_t what, uint32_t events);
  void Accept();
  void ServeChannel(uint64_t number);
  void TakeMessages(FaultClient* client);
  void Fault(FaultClient* client, const uffd_msg& message);
  // True when the store was noted and let through, or will be tried again.
  bool CatchStore(FaultClient* client, FaultMapping* mapping, uint64_t file_page);
  void TakeDone(Channel* channel);
  void FindSilent();
  bool Watch(int fd, uint64_t what);

  // fault_together.cc, on the thread, with the mutex held.
  //
  // The pages that a store to one of them is to dirty, all of a run that the mapping shows.
  ShownRun StoredTogether(const Caught& caught, const ShownRun& run, uint64_t file_page) const;
  // Notes clean pages that were stored to with this one the last time as stored to; where they are.
  std::vector<MemoryRange> NoteGroup(Caught* caught, const FaultMapping& mapping,
                                     uint64_t file_page) const;
  // Has the process show pages that were noted anew, storable; false where letting stores through
  // is as well. Until it has, whoever takes what was stored leaves them noted.
  bool ShowHuge(FaultClient* client, FaultMapping* mapping, const ShownRun& run);
  // What that came to. Whether JavaScript waits for any of the commands that are done.
  bool NoteDone(FaultClient* client, const wire_done& done);

  // fault_writeback.cc, on the thread, with the mutex held; lets go of it meanwhile. What was
  // stored to the parts is flushed and fenced; false, and all is noted as before, when that takes
  // JavaScript.
  [[nodiscard]] bool WriteBackSettled(const std::vector<FaultPart>& parts);
  [[nodiscard]] bool WriteBack(const FaultPart& part);
  // The same for noted pages of a settled file: protected, flushed, fenced.
  [[nodiscard]] bool WriteBackPages(uint64_t ino, const IntervalSet& taken);
  // Writes back what is kept and whose time is over.
  void EndKeeping();
  // Whether the file is settled and no process is being shown any of it; its entry.
  bool IsSettled(uint64_t ino);
  Caught* FindSettled(uint64_t mapping);
  // Flushed and fenced; false when the map is about to change.
  [[nodiscard]] bool FlushPages(uint64_t ino, const IntervalSet& pages);
  // Processes may flush what is kept by themselves from here on, if that is all there is to do.
  void ShowKept(uint64_t ino, Caught* caught);
  // Any thread, before anything else is stored to or has to be committed: a sync comes here.
  void HideKept(uint64_t ino, Caught* caught);
  // Any thread: has pages protected wherever they are shown; the number of the last change, or 0.
  uint64_t AppendProtection(uint64_t ino, const IntervalSet& pages);
  // JavaScript thread: the file is settled no more, and nothing is kept. The same number.
  uint64_t Unkeep(uint64_t ino, Caught* caught);

  // fault_calls.cc, on the thread, with the mutex held. Each answers, or leaves it to JavaScript.
  void TakeRequest(Channel* channel);
  void Hello(Channel* channel, const wire_request& request, int uffd);
  // A further connection of a client, or with none for a child; *their_fd is to be passed on.
  [[nodiscard]] int MakeChannel(uint64_t client, int* their_fd);
  void SendChannel(Channel* channel, uint64_t client);
  void SendUserfault(Channel* channel);
  void SendProc(Channel* channel, FaultClient* client);
  void AskMap(Channel* channel, FaultClient* client, const wire_request& request);
  void Unmap(Channel* channel, FaultClient* client, const wire_request& request);
  void Hold(Channel* channel, FaultClient* client, const wire_request& request);
  void AskSync(Channel* channel, FaultClient* client, const wire_request& request);
  // msync of a range: its error, or false and what JavaScript is to be told.
  bool SyncAtOnce(FaultClient* client, const MemoryRange& range, uint32_t tid, int* error,
                  FaultEvent* event);
  void AskFallocate(Channel* channel, FaultClient* client, const wire_request& request);
  void AddQueue(Channel* channel, FaultClient* client);
  void Flush(Channel* channel, FaultClient* client, const wire_request& request);
  // Flushes a run's part of [address, end), as that thread; the run is the mapping's.
  void FlushRun(const FaultMapping& mapping, const ShownRun& run, uint64_t address, uint64_t end,
                uint32_t tid);
  uint64_t AddCall(Channel* channel, FaultClient* client);
  // Whole pages that a program can have.
  static bool IsUserRange(uint64_t address, uint64_t length_bytes);

  // fault_bells.cc, with the mutex held; the first two on the thread, and let go of it meanwhile.
  void AddBells(Channel* channel, FaultClient* client, const wire_request& request);
  void Ring(FaultClient* client, uint64_t address);
  void AnswerBell(const Call& call, int error);

  const std::shared_ptr<Region> region_;
  const std::shared_ptr<Recorder> recorder_;
  FileTable* const files_;
  const uid_t uid_;  // whose processes may attach
  const int64_t silence_ns_max_;
  const Tell tell_;
  void* const owner_;
  // Null where every read and write is to be seen.
  std::unique_ptr<PublishedFiles> published_;
  std::unique_ptr<QueuedWrites> queued_;
  std::string socket_path_;  // empty until it is ours
  int listener_fd_ = -1;
  int epoll_fd_ = -1;
  int kick_fd_ = -1;
  int region_fd_ = -1;
  int empty_fd_ = -1;

  std::mutex mutex_;  // of all below
  std::unordered_map<uint64_t, Channel> channels_;
  std::unordered_map<uint64_t, std::unique_ptr<FaultClient>> clients_;
  std::unordered_map<uint64_t, std::unique_ptr<FaultMapping>> mappings_;
  std::unordered_map<uint64_t, Call> calls_;
  std::unordered_map<uint64_t, Caught> caught_;  // by inode
  std::vector<bool> huge_pages_;  // where the region has them, as far as clients said
  std::vector<FaultEvent> events_;
  std::vector<uint64_t> doomed_;
  std::vector<uint64_t> to_send_;     // clients with commands to be sent
  std::deque<MemoryChange> changes_;  // the first one may be under way
  uint64_t last_change_ = 0;
  uint64_t made_change_ = 0;     // up to this number they are made
  uint64_t awaited_change_ = 0;  // JavaScript is to be told of it; 0: of none
  std::condition_variable made_;
  bool is_running_ = false;
  bool told_ = false;  // JavaScript knows of the events
  bool batching_ = false;
  uint32_t mapper_ = 0;  // what the recorder was told
  uint64_t last_channel_ = 0;
  uint64_t last_client_ = 0;
  uint64_t last_call_ = 0;
  uint64_t faults_ = 0;
  uint64_t caught_stores_ = 0;
  uint64_t held_stores_ = 0;
  int64_t kept_until_ns_ = 0;  // the first time at which something is kept no more; 0: nothing is
  uint64_t last_kept_ = 0;
  uint64_t settled_syncs_ = 0;
  uint64_t rung_syncs_ = 0;
  uint64_t commands_ = 0;

  std::atomic<bool> stop_{false};
  std::thread thread_;  // last: it uses all of the above
};

class FaultServer::Turn {
 public:
  enum class Of { kJavaScript, kThread };
  explicit Turn(FaultServer* server, Of of = Of::kJavaScript)
      : server_(server), of_(of), lock_(server->mutex_) {}
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  FaultServer* const server_;
  const Of of_;
  std::unique_lock<std::mutex> lock_;
};

}  // namespace fauxdax

#endif  // FAUXDAX_FAULT_SERVER_H_
