"""Runs the recovery of the program named, and looks for every document that was acknowledged."""
import os
import sys

directory, name = os.path.split(sys.argv[1])
sys.path.insert(0, directory)
program = __import__(os.path.splitext(name)[0])

acked = [int(line) for line in open(os.environ['FAUXDAX_ACKED'])]
if not os.path.exists('wal'):
    sys.exit('wal is gone' if acked else 0)
try:
    documents = program.recover()
except ValueError as error:
    sys.exit(f'wal: recovery does not understand what it reads: {error}')
found = {document['number'] for document in documents}
lost = [number for number in acked if number not in found]
if lost:
    sys.exit(f'wal: logged and not there: document {", ".join(map(str, lost))}')
