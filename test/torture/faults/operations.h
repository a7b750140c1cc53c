// What a worker does, one call each, to one of the files; it draws what else it needs.
#ifndef FAULTS_OPERATIONS_H_
#define FAULTS_OPERATIONS_H_

#include <stdint.h>

// mappings.c
void DoLoad(int file);
void DoStore(int file);
void DoLoadWild(int file);
void DoFsync(int file);
void DoMsync(int file);
/** As a database: stores to a few pages and a sync, again and again. */
void DoCommits(int file);
void DoMap(int file);
void DoUnmap(int file);
void DoRemap(int file);
void DoProtect(int file);
void DoAdvise(int file);

// transfers.c
void DoRead(int file);
void DoWrite(int file);
void DoCopy(int file);
/** New stamps in all of them; they are locked, and the file has them or grows by them. */
void WriteLines(int file, uint64_t from, uint64_t count);

// extents.c
void DoPunchHole(int file);
void DoZeroRange(int file);
void DoAllocate(int file);
void DoTruncate(int file);
void DoExtend(int file);
void DoCollapse(int file);
void DoInsert(int file);

#endif  // FAULTS_OPERATIONS_H_
