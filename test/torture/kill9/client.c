// The client of the kill -9 loop. `client write DIR SEED` changes files under DIR and says on
// stdout what it is about to do and what has been made durable; `client state DIR` prints what is
// there.
//
// Lines, one write(2) each, so that a killed client never leaves half a promise:
//   T data NAME=STATE ...    tries: until acknowledged, each file may hold old and new words in any
//   mix T atomic NAME=STATE ...  tries: all names are as before, or all are as said here A what was
//   tried is durable: fsync, fdatasync, msync or O_DSYNC returned E TEXT                   a call
//   failed; the client ends
// STATE is `-` (no such name) or SIZE:CRC:VERSION, VERSION being the user.version attribute, 0 for
// none.
//
// Every 8-byte word of a file is zero or names its file and place: id << 48 | version << 32 |
// offset / 8. So bytes of another file, or from another place, are recognised whatever was lost.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NAME_COUNT 20
#define FILE_BYTES_MAX 131072
#define WORD_BYTES 8

struct file {
  uint64_t id;
  uint32_t version;  // of the words last written
  unsigned attribute;
  int64_t size;
  int links;
  uint8_t bytes[FILE_BYTES_MAX];
};

static struct file* names[NAME_COUNT];
static int directory;
static uint64_t random_state;
static char line[8192];

static uint64_t Random(uint64_t bound) {
  uint64_t value = (random_state += 0x9e3779b97f4a7c15u);
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return (value ^ (value >> 31)) % bound;
}

static uint32_t Crc(const uint8_t* bytes, int64_t length) {
  static uint32_t table[256];
  if (table[1] == 0) {
    for (uint32_t index = 0; index < 256; index++) {
      uint32_t value = index;
      for (int bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320u ^ (value >> 1) : value >> 1;
      table[index] = value;
    }
  }
  uint32_t crc = ~0u;
  for (int64_t at = 0; at < length; at++) crc = table[(crc ^ bytes[at]) & 255] ^ (crc >> 8);
  return ~crc;
}

static void Say(const char* text) {
  size_t length = strlen(text);
  if (write(1, text, length) != (ssize_t)length) exit(1);
}

static void Fail(const char* call) {
  char text[256];
  snprintf(text, sizeof text, "E %s: %s\n", call, strerror(errno));
  Say(text);
  exit(3);
}

static void Need(int64_t result, const char* call) {
  if (result < 0) Fail(call);
}

static const char* Name(int index) {
  static char text[4][16];
  static int turn;
  turn = (turn + 1) % 4;
  snprintf(text[turn], sizeof text[turn], "f%02d", index);
  return text[turn];
}

static void AddState(int index, const struct file* file) {
  size_t used = strlen(line);
  if (file == NULL) {
    snprintf(line + used, sizeof line - used, " %s=-", Name(index));
  } else {
    snprintf(line + used, sizeof line - used, " %s=%lld:%08x:%u", Name(index),
             (long long)file->size, Crc(file->bytes, file->size), file->attribute);
  }
}

// Announces that every name of this file will have the file's new state.
static void TryData(const struct file* file) {
  strcpy(line, "T data");
  for (int index = 0; index < NAME_COUNT; index++) {
    if (names[index] == file) AddState(index, file);
  }
  strcat(line, "\n");
  Say(line);
}

static void TryNames(int one, const struct file* new_one, int other, const struct file* new_other) {
  strcpy(line, "T atomic");
  AddState(one, new_one);
  if (other >= 0) AddState(other, new_other);
  strcat(line, "\n");
  Say(line);
}

static void SyncDirectory(void) { Need(fsync(directory), "fsync of the directory"); }

static int Open(int index, int flags) {
  int descriptor = openat(directory, Name(index), flags | O_CLOEXEC, 0644);
  Need(descriptor, "open");
  return descriptor;
}

// Puts fresh words into the model; what they are follows from file and place.
static void FillModel(struct file* file, int64_t offset, int64_t length) {
  file->version = (file->version + 1) & 0xffff;
  for (int64_t at = offset; at < offset + length; at += WORD_BYTES) {
    uint64_t word = file->id << 48 | (uint64_t)file->version << 32 | (uint64_t)(at / WORD_BYTES);
    memcpy(file->bytes + at, &word, WORD_BYTES);
  }
  if (offset + length > file->size) file->size = offset + length;
}

static int64_t WriteFrom(int descriptor, const struct file* file, int64_t offset, int64_t length) {
  int64_t done = 0;
  while (done < length) {
    ssize_t count =
        pwrite(descriptor, file->bytes + offset + done, (size_t)(length - done), offset + done);
    Need(count, "pwrite");
    done += count;
  }
  return done;
}

static int64_t WordAligned(uint64_t bound) {
  return (int64_t)Random(bound + 1) & ~(int64_t)(WORD_BYTES - 1);
}

// A range inside the largest file; half of them inside what is there.
static void PickRange(const struct file* file, int64_t* offset, int64_t* length) {
  int64_t bound = file->size > 4096 && Random(2) ? file->size : FILE_BYTES_MAX / 2;
  *offset = WordAligned((uint64_t)bound - WORD_BYTES);
  *length = WORD_BYTES + WordAligned(Random(4) ? 6000 : 40000);
  if (*offset + *length > FILE_BYTES_MAX) *length = FILE_BYTES_MAX - *offset;
}

static void Create(int index) {
  struct file* file = calloc(1, sizeof *file);
  if (file == NULL) exit(1);
  file->id = 1 + Random(65535);
  file->links = 1;
  names[index] = file;
  FillModel(file, 0, WORD_BYTES + WordAligned(30000));
  TryData(file);
  int descriptor = Open(index, O_CREAT | O_EXCL | O_WRONLY);
  WriteFrom(descriptor, file, 0, file->size);
  Need(fsync(descriptor), "fsync");
  close(descriptor);
  SyncDirectory();
}

static void Overwrite(int index) {
  struct file* file = names[index];
  int64_t offset, length;
  PickRange(file, &offset, &length);
  if (Random(4) == 0) {
    offset = file->size & ~(int64_t)(WORD_BYTES - 1);
    if (offset + length > FILE_BYTES_MAX) return;
  }
  FillModel(file, offset, length);
  int how = (int)Random(4);
  TryData(file);
  int descriptor = Open(index, O_WRONLY | (how == 0 ? O_DSYNC : how == 1 ? O_SYNC : 0));
  WriteFrom(descriptor, file, offset, length);
  if (how == 2) Need(fsync(descriptor), "fsync");
  if (how == 3) Need(fdatasync(descriptor), "fdatasync");
  close(descriptor);
}

// Space first, made durable as zeros; then words into it with fdatasync, as databases write their
// logs.
static void Preallocate(int index) {
  struct file* file = names[index];
  int64_t offset = file->size & ~(int64_t)(WORD_BYTES - 1), length = 8192 + WordAligned(16384);
  if (offset + length > FILE_BYTES_MAX) return;
  int descriptor = Open(index, O_WRONLY);
  file->size = offset + length;
  TryData(file);
  Need(fallocate(descriptor, 0, offset, length), "fallocate");
  Need(fsync(descriptor), "fsync");
  Say("A\n");
  for (int piece = 0; piece < 3; piece++) {
    int64_t at = offset + WordAligned((uint64_t)length - WORD_BYTES);
    int64_t count = WORD_BYTES + WordAligned((uint64_t)(offset + length - at - WORD_BYTES));
    FillModel(file, at, count);
    TryData(file);
    WriteFrom(descriptor, file, at, count);
    Need(fdatasync(descriptor), "fdatasync");
    if (piece < 2) Say("A\n");
  }
  close(descriptor);
}

static void StoreMapped(int index) {
  struct file* file = names[index];
  if (file->size < 2 * WORD_BYTES) return;
  int descriptor = Open(index, O_RDWR);
  uint8_t* address =
      mmap(NULL, (size_t)file->size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) Fail("mmap");
  close(descriptor);
  int64_t offset = WordAligned((uint64_t)file->size - 2 * WORD_BYTES);
  int64_t length = WORD_BYTES + WordAligned((uint64_t)(file->size - offset - 2 * WORD_BYTES));
  FillModel(file, offset, length);
  TryData(file);
  memcpy(address + offset, file->bytes + offset, (size_t)length);
  Need(msync(address, (size_t)file->size, MS_SYNC), "msync");
  munmap(address, (size_t)file->size);
}

static void Resize(int index) {
  struct file* file = names[index];
  int64_t size = WordAligned(Random(3) ? (uint64_t)file->size : FILE_BYTES_MAX - WORD_BYTES);
  if (size < file->size) memset(file->bytes + size, 0, (size_t)(file->size - size));
  file->size = size;
  TryData(file);
  int descriptor = Open(index, O_WRONLY);
  Need(ftruncate(descriptor, size), "ftruncate");
  Need(fsync(descriptor), "fsync");
  close(descriptor);
}

static void Punch(int index) {
  struct file* file = names[index];
  int64_t offset, length;
  PickRange(file, &offset, &length);
  memset(file->bytes + offset, 0, (size_t)length);
  TryData(file);
  int descriptor = Open(index, O_WRONLY);
  int mode = Random(2) ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                       : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  Need(fallocate(descriptor, mode, offset, length), "fallocate");
  Need(fsync(descriptor), "fsync");
  close(descriptor);
}

static void SetAttribute(int index) {
  struct file* file = names[index];
  char value[16];
  snprintf(value, sizeof value, "%u", ++file->attribute);
  TryData(file);
  int descriptor = Open(index, O_WRONLY);
  Need(fsetxattr(descriptor, "user.version", value, strlen(value), 0), "fsetxattr");
  Need(fsync(descriptor), "fsync");
  close(descriptor);
}

static void DropName(int index) {
  struct file* file = names[index];
  names[index] = NULL;
  if (file != NULL && --file->links == 0) free(file);
}

static void Rename(int from, int to) {
  if (from == to || names[from] == names[to]) return;
  if (names[to] != NULL && Random(2)) {
    TryNames(from, names[to], to, names[from]);
    Need(renameat2(directory, Name(from), directory, Name(to), RENAME_EXCHANGE), "renameat2");
    struct file* file = names[from];
    names[from] = names[to];
    names[to] = file;
  } else {
    TryNames(from, NULL, to, names[from]);
    Need(renameat(directory, Name(from), directory, Name(to)), "rename");
    DropName(to);
    names[to] = names[from];
    names[from] = NULL;
  }
  SyncDirectory();
}

static void Link(int from, int to) {
  if (names[to] != NULL) return;
  TryNames(to, names[from], -1, NULL);
  Need(linkat(directory, Name(from), directory, Name(to), 0), "link");
  names[to] = names[from];
  names[to]->links++;
  SyncDirectory();
}

static void Unlink(int index) {
  TryNames(index, NULL, -1, NULL);
  Need(unlinkat(directory, Name(index), 0), "unlink");
  DropName(index);
  SyncDirectory();
}

// A new file prepared under another name and moved over the old one: the way programs save.
static void Replace(int index) {
  struct file* file = calloc(1, sizeof *file);
  if (file == NULL) exit(1);
  file->id = 1 + Random(65535);
  file->links = 1;
  FillModel(file, 0, WORD_BYTES + WordAligned(60000));
  int descriptor = openat(directory, "new", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  Need(descriptor, "open");
  WriteFrom(descriptor, file, 0, file->size);
  Need(fsync(descriptor), "fsync");
  close(descriptor);
  TryNames(index, file, -1, NULL);
  Need(renameat(directory, "new", directory, Name(index)), "rename");
  DropName(index);
  names[index] = file;
  SyncDirectory();
}

// Work that nothing promises: keeps the running transaction and the free list moving.
static void Noise(void) {
  char name[16];
  snprintf(name, sizeof name, "n%d", (int)Random(4));
  if (Random(3) == 0) {
    if (unlinkat(directory, name, 0) != 0 && errno != ENOENT) Fail("unlink");
    return;
  }
  struct file* file = calloc(1, sizeof *file);
  if (file == NULL) exit(1);
  file->id = 1 + Random(65535);
  FillModel(file, 0, WORD_BYTES + WordAligned(60000));
  int descriptor = openat(directory, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  Need(descriptor, "open");
  WriteFrom(descriptor, file, 0, file->size);
  close(descriptor);
  free(file);
}

static void Step(void) {
  int index = (int)Random(NAME_COUNT), other = (int)Random(NAME_COUNT);
  if (Random(6) == 0) Noise();
  if (names[index] == NULL) {
    if (Random(3))
      Create(index);
    else
      Replace(index);
    Say("A\n");
    return;
  }
  switch (Random(14)) {
    case 0:
    case 1:
    case 2:
      Overwrite(index);
      break;
    case 3:
    case 4:
      StoreMapped(index);
      break;
    case 5:
    case 6:
      Preallocate(index);
      break;
    case 7:
      Resize(index);
      break;
    case 8:
      Punch(index);
      break;
    case 9:
      Rename(index, other);
      break;
    case 10:
      Link(index, other);
      break;
    case 11:
      Unlink(index);
      break;
    case 12:
      Replace(index);
      break;
    case 13:
      SetAttribute(index);
      break;
  }
  Say("A\n");
}

// Reads a file into `file`; its words must all be its own. Returns NULL or what is wrong.
static const char* Load(const char* name, struct file* file) {
  struct stat status;
  int descriptor = openat(directory, name, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return "cannot be opened";
  if (fstat(descriptor, &status) != 0) return "fstat failed";
  if (status.st_size > FILE_BYTES_MAX) return "is larger than anything written";
  memset(file, 0, sizeof *file);
  file->size = status.st_size;
  for (int64_t done = 0; done < file->size;) {
    ssize_t count = pread(descriptor, file->bytes + done, (size_t)(file->size - done), done);
    if (count <= 0) return "cannot be read";
    done += count;
  }
  char value[16] = "";
  if (fgetxattr(descriptor, "user.version", value, sizeof value - 1) >= 0)
    file->attribute = (unsigned)atoi(value);
  close(descriptor);
  for (int64_t at = 0; at + WORD_BYTES <= file->size; at += WORD_BYTES) {
    uint64_t word;
    memcpy(&word, file->bytes + at, WORD_BYTES);
    if (word == 0) continue;
    if (file->id == 0) file->id = word >> 48;
    if (word >> 48 != file->id) return "holds a word of another file";
    if ((word & 0xffffffffu) != (uint64_t)(at / WORD_BYTES)) return "holds a word of another place";
    uint32_t version = (word >> 32) & 0xffff;
    if (version > file->version) file->version = version;
  }
  return NULL;
}

static void LoadAll(void) {
  ino_t inodes[NAME_COUNT] = {0};
  for (int index = 0; index < NAME_COUNT; index++) {
    struct stat status;
    if (fstatat(directory, Name(index), &status, 0) != 0) continue;
    inodes[index] = status.st_ino;
    for (int before = 0; before < index && names[index] == NULL; before++) {
      if (inodes[before] == status.st_ino) names[index] = names[before];
    }
    if (names[index] == NULL) {
      names[index] = calloc(1, sizeof(struct file));
      if (names[index] == NULL || Load(Name(index), names[index]) != NULL) Fail("loading a file");
      if (names[index]->id == 0) names[index]->id = 1 + Random(65535);
    }
    names[index]->links++;
  }
}

static int State(void) {
  static struct file file;
  int copy = dup(directory);
  DIR* stream = fdopendir(copy);
  if (stream == NULL) Fail("opendir");
  const struct dirent* entry;
  while ((entry = readdir(stream)) != NULL) {
    if (entry->d_name[0] == '.') continue;
    const char* wrong = Load(entry->d_name, &file);
    if (wrong != NULL)
      printf("W %s %s\n", entry->d_name, wrong);
    else
      printf("S %s=%lld:%08x:%u\n", entry->d_name, (long long)file.size, Crc(file.bytes, file.size),
             file.attribute);
  }
  closedir(stream);
  return 0;
}

int main(int count, char** words) {
  if (count < 3) {
    fprintf(stderr, "usage: client write DIR SEED | client state DIR\n");
    return 2;
  }
  directory = open(words[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  Need(directory, "open of the directory");
  if (strcmp(words[1], "state") == 0) return State();
  random_state = count > 3 ? strtoull(words[3], NULL, 10) : 1;
  LoadAll();
  for (;;) Step();
}
