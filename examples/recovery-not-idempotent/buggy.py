"""
A savings book. Each deposit is appended to the file `log` and its number printed. Each start
recovers first: it adds what is logged to the file `balance`, then empties the log.
"""
import os
import re


def sync_directory():
    directory = os.open('.', os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def read(name):
    return open(name, errors='replace').read() if os.path.exists(name) else ''


def recover():
    """Returns the balance, and the number of the last deposit in it."""
    balance, last = map(int, read('balance').split() or (0, 0))
    for number, amount in re.findall(r'^(\d+) (\d+)\n', read('log'), re.M):
        balance += int(amount)
        last = int(number)
    with open('balance.tmp', 'w') as file:
        print(balance, last, file=file, flush=True)
        os.fsync(file.fileno())
    os.rename('balance.tmp', 'balance')
    sync_directory()
    with open('log', 'w') as log:
        os.fsync(log.fileno())
    sync_directory()
    return balance, last


if __name__ == '__main__':
    _, last = recover()
    with open('log', 'a') as log:
        for number in range(last + 1, last + 4):
            print(number, 10, file=log, flush=True)
            os.fsync(log.fileno())
            print(number, flush=True)
