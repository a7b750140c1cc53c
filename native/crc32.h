// CRC-32 as zip and zlib have it (polynomial EDB88320, reflected). Any thread.
#ifndef FAUXDAX_CRC32_H_
#define FAUXDAX_CRC32_H_

#include <cstddef>
#include <cstdint>

namespace fauxdax {

uint32_t Crc32(const uint8_t* bytes, size_t length_bytes);

}  // namespace fauxdax

#endif  // FAUXDAX_CRC32_H_
