// One stream of what a recorded program says: a FIFO that its writers fill and we empty without
// ever waiting, cut into lines. Used by one thread at a time: the recorder orders the calls.
#ifndef FAUXDAX_OUTPUT_H_
#define FAUXDAX_OUTPUT_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace fauxdax {

class Output {
 public:
  // A longer line becomes several.
  static constexpr size_t kLineBytesMax = size_t{1} << 18;
  // Most that one Take() gives.
  static constexpr size_t kTakeBytesMax = kLineBytesMax + (size_t{1} << 16);

  // Opens the FIFO for reading; it needs no writer yet. 0 or a positive errno.
  static int Open(const std::string& path, uint32_t stream, Output* out);
  Output() = default;
  ~Output();
  Output(Output&& other) noexcept;
  Output& operator=(Output&&) = delete;

  uint32_t stream() const { return stream_; }

  // Calls take(lines) with whole lines, joined by line feeds, for what is in the FIFO now. All that
  // was written to it before this call has been taken when it returns, but for an unfinished line.
  template <typename Take>
  void Drain(Take take);
  // The unfinished line, as one; false when there is none.
  bool TakeRest(std::string* line);

 private:
  // Reads once; false when the FIFO is empty.
  bool Read();
  // Moves whole lines out of rest_; false when there are none.
  bool TakeLines(std::string* lines);

  int fd_ = -1;
  uint32_t stream_ = 0;
  size_t capacity_bytes_ = 0;
  size_t read_bytes_ = 0;  // by the last Read()
  std::string rest_;       // what came after the last line's end
};

template <typename Take>
void Output::Drain(Take take) {
  std::string lines;
  // What was there at the beginning is at most what a FIFO holds: a busy writer cannot keep us.
  for (size_t drained_bytes = 0; drained_bytes < capacity_bytes_ && Read();) {
    drained_bytes += read_bytes_;
    while (TakeLines(&lines)) take(lines);
  }
}

}  // namespace fauxdax

#endif  // FAUXDAX_OUTPUT_H_
