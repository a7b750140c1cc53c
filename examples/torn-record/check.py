"""The money in the ledger is what it was at the start, and every acknowledged transfer is in it."""
import os
import struct
import sys

ACCOUNTS, START, SLOT_BYTES = 128, 100, 4096

acked = len(open(os.environ['FAUXDAX_ACKED']).readlines())
try:
    content = open('ledger', 'rb').read()
except FileNotFoundError:
    sys.exit(f'ledger is gone, {acked} transfers were acknowledged' if acked else 0)
(slot,) = struct.unpack_from('<Q', content, 0)
balances = struct.unpack_from(f'<{ACCOUNTS}q', content, (slot + 1) * SLOT_BYTES)
wanted = ACCOUNTS * START
if sum(balances) != wanted:
    sys.exit(f'ledger: the balances add up to {sum(balances)}, not {wanted}')
transfers = sum(balance < START for balance in balances)
if transfers < acked:
    sys.exit(f'ledger: {acked} transfers were acknowledged, {transfers} are there')
