// Intel's Software Developer's Manual, volume 2, appendix A (opcode maps) and chapter 2 (ModRM,
// SIB, VEX, EVEX).
#include "shim_decode.h"

#include <stdbool.h>

#define LENGTH_MAX 15

// What follows an opcode.
enum {
  kNothing = 0,
  kModrm = 1,
  kByte = 2,     // an immediate byte
  kWord = 4,     // two
  kOperand = 8,  // two or four, by the operand size
  kDouble = 16,  // four
  kUnknown = 32,
};

struct cursor {
  const uint8_t* at;
  size_t available;
  size_t length;
  bool has_operand_prefix;
  bool has_address_prefix;
  bool is_wide;  // REX.W
};

static int Next(struct cursor* cursor) {
  return cursor->length < cursor->available ? cursor->at[cursor->length++] : -1;
}

static bool IsPrefix(int byte) {
  return byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3 ||
         byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x26 || byte == 0x64 ||
         byte == 0x65;
}

static int OneByteMap(int opcode) {
  if (opcode < 0x40) {
    static const int kinds[8] = {kModrm, kModrm,   kModrm,   kModrm,
                                 kByte,  kOperand, kUnknown, kUnknown};
    return kinds[opcode & 7];
  }
  if (opcode >= 0x50 && opcode <= 0x5f) return kNothing;
  if (opcode >= 0x70 && opcode <= 0x7f) return kByte;
  if (opcode >= 0x84 && opcode <= 0x8f) return kModrm;
  if (opcode >= 0x90 && opcode <= 0x9f) return opcode == 0x9a ? kUnknown : kNothing;
  if (opcode >= 0xb0 && opcode <= 0xb7) return kByte;
  if (opcode >= 0xd8 && opcode <= 0xdf) return kModrm;
  if (opcode >= 0xe0 && opcode <= 0xe7) return kByte;
  switch (opcode) {
    case 0x63:
    case 0xf6:
    case 0xf7:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xfe:
    case 0xff:
      return kModrm;
    case 0x6b:
    case 0x80:
    case 0x83:
    case 0xc0:
    case 0xc1:
    case 0xc6:
      return kModrm | kByte;
    case 0x69:
    case 0x81:
    case 0xc7:
      return kModrm | kOperand;
    case 0x68:
    case 0xa9:
      return kOperand;
    case 0x6a:
    case 0xa8:
    case 0xcd:
    case 0xeb:
      return kByte;
    case 0xe8:
    case 0xe9:
      return kDouble;
    case 0xc2:
    case 0xca:
      return kWord;
    case 0xc8:
      return kWord | kByte;
    case 0x60:
    case 0x61:
    case 0x62:
    case 0x82:
    case 0xce:
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xea:
      return kUnknown;
    default:
      return kNothing;
  }
}

// Vector instructions of this map with an immediate byte are the same with VEX and EVEX.
static bool HasShuffleByte(int opcode) {
  return (opcode >= 0x70 && opcode <= 0x73) || opcode == 0xc2 || (opcode >= 0xc4 && opcode <= 0xc6);
}

static int TwoByteMap(int opcode) {
  if (HasShuffleByte(opcode)) return kModrm | kByte;
  if (opcode >= 0x80 && opcode <= 0x8f) return kDouble;
  if (opcode >= 0xc8 && opcode <= 0xcf) return kNothing;
  if (opcode >= 0x30 && opcode <= 0x37) return kNothing;
  switch (opcode) {
    case 0x0f:
    case 0xa4:
    case 0xac:
    case 0xba:
      return kModrm | kByte;
    case 0x05:
    case 0x06:
    case 0x07:
    case 0x08:
    case 0x09:
    case 0x0b:
    case 0x0e:
    case 0x77:
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa8:
    case 0xa9:
    case 0xaa:
      return kNothing;
    default:
      return kModrm;
  }
}

// Of VEX and EVEX: the map that their prefix names.
static int VectorMap(int map, int opcode, bool is_vex) {
  if (map == 1 && is_vex && opcode == 0x77) return kNothing;
  if (map == 1) return HasShuffleByte(opcode) ? kModrm | kByte : kModrm;
  if (map == 3) return kModrm | kByte;
  return map == 2 || map == 5 || map == 6 ? kModrm : kUnknown;
}

// AMD's, which look like POP with a register that it does not have.
static int XopMap(struct cursor* cursor) {
  const int map = Next(cursor) & 31;
  Next(cursor);
  if (Next(cursor) < 0) return kUnknown;
  return map == 8 ? kModrm | kByte : map == 9 ? kModrm : map == 10 ? kModrm | kDouble : kUnknown;
}

static int Opcode(struct cursor* cursor, int opcode, bool has_rex) {
  const bool is_vex = opcode == 0xc4 || opcode == 0xc5;
  if ((is_vex || opcode == 0x62) && !has_rex) {
    const int payload = Next(cursor);
    int map = opcode == 0xc5 ? 1 : opcode == 0xc4 ? payload & 31 : payload & 7;
    if (opcode != 0xc5) Next(cursor);
    if (opcode == 0x62) Next(cursor);
    const int vector_opcode = Next(cursor);
    return vector_opcode < 0 ? kUnknown : VectorMap(map, vector_opcode, is_vex);
  }
  if (opcode == 0x8f && cursor->length < cursor->available && (cursor->at[cursor->length] & 0x38)) {
    return XopMap(cursor);
  }
  if (opcode != 0x0f) return OneByteMap(opcode);
  const int second = Next(cursor);
  if (second < 0) return kUnknown;
  if (second != 0x38 && second != 0x3a) return TwoByteMap(second);
  if (Next(cursor) < 0) return kUnknown;
  return second == 0x38 ? kModrm : kModrm | kByte;
}

// Addressing bytes behind a ModRM byte.
static size_t AddressBytes(struct cursor* cursor, int modrm) {
  const int mod = modrm >> 6;
  const int rm = modrm & 7;
  if (mod == 3) return 0;
  if (rm != 4) return mod == 1 ? 1 : mod == 2 || rm == 5 ? 4 : 0;
  const int sib = Next(cursor);
  if (sib < 0) return LENGTH_MAX;
  return mod == 1 ? 1 : mod == 2 || (sib & 7) == 5 ? 4 : 0;
}

size_t DecodeLength(const uint8_t* at, size_t available) {
  struct cursor cursor = {.at = at, .available = available < LENGTH_MAX ? available : LENGTH_MAX};
  int opcode = Next(&cursor);
  for (; IsPrefix(opcode); opcode = Next(&cursor)) {
    if (opcode == 0x66) cursor.has_operand_prefix = true;
    if (opcode == 0x67) cursor.has_address_prefix = true;
  }
  const bool has_rex = (opcode & ~15) == 0x40;
  if (has_rex) {
    cursor.is_wide = (opcode & 8) != 0;
    opcode = Next(&cursor);
  }
  if (opcode < 0) return 0;
  const int follows = Opcode(&cursor, opcode, has_rex);
  if (follows & kUnknown) return 0;
  size_t rest = 0;
  const size_t operand_bytes = cursor.has_operand_prefix && !cursor.is_wide ? 2 : 4;
  if (follows & kModrm) {
    const int modrm = Next(&cursor);
    if (modrm < 0) return 0;
    rest += AddressBytes(&cursor, modrm);
    // TEST is the one of its group with an immediate.
    const bool is_test = ((modrm >> 3) & 7) < 2;
    if (opcode == 0xf6 && is_test) rest += 1;
    if (opcode == 0xf7 && is_test) rest += operand_bytes;
  }
  if (follows & kByte) rest += 1;
  if (follows & kWord) rest += 2;
  if (follows & kDouble) rest += 4;
  if (follows & kOperand) rest += operand_bytes;
  if (opcode >= 0xa0 && opcode <= 0xa3) rest += cursor.has_address_prefix ? 4 : 8;
  if (opcode >= 0xb8 && opcode <= 0xbf) rest += cursor.is_wide ? 8 : operand_bytes;
  const size_t length = cursor.length + rest;
  return length <= cursor.available ? length : 0;
}
