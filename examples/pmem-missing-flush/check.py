# Each entry that the count includes is there, and the count includes what was acknowledged.
import os
import struct
import sys

with open(os.environ["FAUXDAX_ACKED"]) as acked:
    saved = len(acked.read().split())
log = b""
if os.path.exists("entries"):
    with open("entries", "rb") as file:
        log = file.read()
count = struct.unpack_from("<Q", log)[0] if len(log) >= 8 else 0
if count < saved:
    sys.exit(f"entries: {saved} were saved, {count} are counted")
for number in range(1, count + 1):
    entry = log[number * 64 : number * 64 + 64].rstrip(b"\0")
    if entry != b"entry %d" % number:
        sys.exit(f"entries: number {number} is counted, {entry} is there")
