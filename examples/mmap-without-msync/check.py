"""No counter is behind what was acknowledged."""
import os
import struct
import sys

acked = {}
for line in open(os.environ['FAUXDAX_ACKED']):
    page, count = map(int, line.split())
    acked[page] = count
try:
    content = open('visits', 'rb').read()
except FileNotFoundError:
    sys.exit('visits is gone' if acked else 0)
for page, count in acked.items():
    (found,) = struct.unpack_from('<Q', content, page * 8)
    if found < count:
        sys.exit(f'visits: {count} visits of page {page} were counted, {found} are there')
