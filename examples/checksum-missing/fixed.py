"""
A write-ahead log of documents in the file `wal`, which is made of zeroes beforehand: records of 320
bytes, a header and a document as JSON. Prints the number of each document that is logged.
recover() is what a start after a crash does: it reads the records up to the first unused one.
"""
import json
import os
import struct
import zlib

RECORD_BYTES = 320
HEADER = struct.Struct('<III')  # number, checksum, length


def checksum(document):
    return zlib.crc32(document)


def append(log, number, document):
    header = HEADER.pack(number, checksum(document), len(document))
    os.pwrite(log, header + document, (number - 1) * RECORD_BYTES)
    os.fdatasync(log)


def recover():
    documents = []
    with open('wal', 'rb') as log:
        while record := log.read(RECORD_BYTES):
            number, expected, length = HEADER.unpack_from(record)
            document = record[HEADER.size : HEADER.size + length]
            if number != len(documents) + 1 or checksum(document) != expected:
                break
            documents.append(json.loads(document))
    return documents


if __name__ == '__main__':
    log = os.open('wal', os.O_RDWR)
    for number in range(1, 5):
        append(log, number, json.dumps({'number': number, 'words': ['word'] * 30}).encode())
        print(number, flush=True)
