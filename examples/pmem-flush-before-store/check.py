# The valid version is whole, and is the one that was acknowledged or the next.
import os
import struct
import sys

with open(os.environ["FAUXDAX_ACKED"]) as acked:
    saved = [0] + [int(line) for line in acked.read().split()]
data = b""
if os.path.exists("account"):
    with open("account", "rb") as file:
        data = file.read()
if len(data) < 192:
    sys.exit(f"account: {saved[-1]} was saved" if saved[-1] else 0)
valid = struct.unpack_from("<Q", data)[0]
balance, inverse = struct.unpack_from("<QQ", data, 64 + 64 * valid)
if (balance != 0 or inverse != 0) and balance ^ inverse != 2**64 - 1:
    sys.exit(f"account: version {valid} is half written")
if balance not in (saved[-1], saved[-1] + 100):
    sys.exit(f"account: {saved[-1]} was saved, {balance} is valid")
