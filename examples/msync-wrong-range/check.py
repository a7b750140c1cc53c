"""Every sample that was acknowledged is in the log."""
import os
import sys

SAMPLE_BYTES = 1024

acked = [int(line) for line in open(os.environ['FAUXDAX_ACKED'])]
try:
    content = open('samples', 'rb').read()
except FileNotFoundError:
    content = b''
for number in acked:
    wanted = b'sample %d\0' % number
    start = (number - 1) * SAMPLE_BYTES
    found = content[start : start + SAMPLE_BYTES]
    if not found.startswith(wanted):
        sys.exit(f'samples: number {number} was stored, {found[:len(wanted)]!r} is there')
