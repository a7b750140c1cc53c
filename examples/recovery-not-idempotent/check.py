"""Runs the recovery of the program named; then each deposit is in the balance, and once."""
import os
import sys

directory, name = os.path.split(sys.argv[1])
sys.path.insert(0, directory)
program = __import__(os.path.splitext(name)[0])

acked = len(open(os.environ['FAUXDAX_ACKED']).readlines())
balance, last = program.recover()
if last < acked:
    sys.exit(f'log: {acked} deposits were acknowledged, recovery found {last}')
if balance != last * 10:
    sys.exit(f'balance: it is {balance} after {last} deposits of 10')
