"""Every message that the queue counts is there, and it counts all that were acknowledged."""
import os
import struct
import sys

FIRST_OFFSET, MESSAGE_BYTES = 4096, 256

acked = len(open(os.environ['FAUXDAX_ACKED']).readlines())
try:
    content = open('queue', 'rb').read()
except FileNotFoundError:
    sys.exit(f'queue is gone, {acked} messages were queued' if acked else 0)
(count,) = struct.unpack_from('<Q', content, 0)
if count < acked:
    sys.exit(f'queue: {acked} messages were queued, it counts {count}')
for number in range(1, count + 1):
    start = FIRST_OFFSET + (number - 1) * MESSAGE_BYTES
    found = content[start : start + MESSAGE_BYTES].rstrip(b'\0')
    if found != b'message %d' % number:
        sys.exit(f'queue: it counts {count} messages, number {number} is {found!r}')
