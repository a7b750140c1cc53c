"""Every accepted order is in the journal."""
import os
import re
import sys

acked = [int(line) for line in open(os.environ['FAUXDAX_ACKED'])]
try:
    journal = open('journal', errors='replace').read()
except FileNotFoundError:
    journal = ''
found = {int(number) for number in re.findall(r'^order (\d+): \d+ pieces$', journal, re.M)}
lost = [number for number in acked if number not in found]
if lost:
    sys.exit(f'journal: accepted and not there: order {", ".join(map(str, lost))}')
