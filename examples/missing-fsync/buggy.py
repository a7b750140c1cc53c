"""A journal of orders: appends each to the file `journal` and prints its number as accepted."""
import os


def sync_directory():
    directory = os.open('.', os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


with open('journal', 'a') as journal:
    sync_directory()
    for number in range(1, 5):
        journal.write(f'order {number}: {number * 3} pieces\n')
        journal.flush()
        print(number, flush=True)
