// Turns the reply slots of lib/frame.ts, and the bytes beside them, into the kernel's answers.
// JavaScript thread, no state.
#ifndef FAUXDAX_ENCODE_H_
#define FAUXDAX_ENCODE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "device.h"

namespace fauxdax {

// Where an answer's numbers and bytes come from.
struct ReplySource {
  const double* frame;
  const uint8_t* bytes;
  // READDIR: bytes that addEntry packed. Other operations count theirs in the frame.
  size_t entry_bytes;
};

// Answers a request that the script has finished: `status` is 0 or a positive errno, and
// `answer_bytes_max` what DecodeRequest() said. More bytes than that are ERANGE.
void AnswerFromFrame(Device* device, uint64_t unique, uint32_t opcode, int status,
                     uint32_t answer_bytes_max, const ReplySource& source);

// Packs one directory entry with the attributes in `frame` behind `target`, as READDIRPLUS wants it
// when `plus`. Returns its bytes, or 0 when `room_bytes` are too few.
size_t PackEntry(bool plus, std::string_view name, uint64_t cookie, const double* frame,
                 uint8_t* target, size_t room_bytes);

}  // namespace fauxdax

#endif  // FAUXDAX_ENCODE_H_
