// Native service of READ and WRITE: bytes move between the kernel and the region over a map that is
// already there. Whatever would change a map, a size or a privilege is left to TypeScript.
//
// Either serving thread calls Serve(); it takes no lock but the file's gate (and, on the helper,
// the table's), allocates nothing, and blocks on nothing.
#ifndef FAUXDAX_DATA_SERVICE_H_
#define FAUXDAX_DATA_SERVICE_H_

#include <atomic>
#include <cstdint>

#include "device.h"
#include "file_table.h"
#include "region.h"

namespace fauxdax {

enum class ServingThread { kScript, kHelper };

struct DataCounters {
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> writes{0};
  std::atomic<uint64_t> read_bytes{0};
  std::atomic<uint64_t> write_bytes{0};
};

class DataService {
 public:
  // `files`, `region` and `device` outlive the service. Without a region no file is ever in
  // `files`, and everything is left to the script.
  DataService(FileTable* files, Region* region, Device* device, bool read_only);
  ~DataService();
  DataService(const DataService&) = delete;
  DataService& operator=(const DataService&) = delete;

  // Stores what processes have queued, before anything else. True when the request was a READ or
  // WRITE and is answered; false leaves it to the script.
  bool Serve(const Request& request, ServingThread thread);

  // While on, a WRITE from the page cache is acknowledged and thrown away, for all files.
  void DiscardWriteback(bool on) { discard_writeback_.store(on); }

  const DataCounters& counters() const { return counters_; }

 private:
  bool Read(const Request& request, FileMap* file, ServingThread thread);
  bool Write(const Request& request, const fuse_write_in& in, FileMap* file, ServingThread thread);
  // Answers a read that lies inside the file; called inside its gate. False on a media error.
  bool AnswerRead(uint64_t unique, const FileMap& file, uint64_t offset, uint64_t length_bytes);

  FileTable* const files_;
  Region* const region_;
  Device* const device_;
  const bool read_only_;
  const uint8_t* const zeros_;  // kTransferBytesMax of them
  std::atomic<bool> discard_writeback_{false};
  DataCounters counters_;
};

}  // namespace fauxdax

#endif  // FAUXDAX_DATA_SERVICE_H_
