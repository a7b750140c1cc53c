// Turns a request of the kernel into the call frame of lib/frame.ts. JavaScript thread, no state.
#ifndef FAUXDAX_DECODE_H_
#define FAUXDAX_DECODE_H_

#include <cstddef>
#include <cstdint>

#include "device.h"

namespace fauxdax {

// A name as the kernel sent it, without its final zero byte; bytes is nullptr when there is none.
struct NameBytes {
  const uint8_t* bytes = nullptr;
  size_t length_bytes = 0;
};

struct Decoded {
  // Positive: answer this errno and ask nobody. EIO for a request that is not of its opcode's form.
  int error = 0;
  NameBytes name;
  NameBytes name2;
  // What the answer may hold at most: the size asked for by READ, READDIR, xattrs and IOCTL.
  uint32_t answer_bytes_max = 0;
};

// Fills the request slots, and says which names go along. `buffer` is where the request starts: the
// payload slot counts bytes from there. `setxattr_extended` is what INIT negotiated. FORGETs have a
// decoder of their own.
// Errors: EIO; ENAMETOOLONG; EFBIG for a range that ends beyond kFileBytesMax.
Decoded DecodeRequest(const Request& request, const uint8_t* buffer, bool setxattr_extended,
                      double* frame);

// FORGET and BATCH_FORGET. Fills the frame with the pairs from index `first` on; returns the index
// to go on with, or 0 when all are taken.
size_t DecodeForgets(const Request& request, size_t first, double* frame);

}  // namespace fauxdax

#endif  // FAUXDAX_DECODE_H_
