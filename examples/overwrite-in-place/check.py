"""settings.json is whole, and as new as the last save that was acknowledged."""
import json
import os
import sys

acked = max((int(line) for line in open(os.environ['FAUXDAX_ACKED'])), default=0)
try:
    text = open('settings.json').read()
except FileNotFoundError:
    sys.exit(f'settings.json is gone, version {acked} was saved' if acked else 0)
try:
    version = json.loads(text)['version']
except ValueError as error:
    sys.exit(f'settings.json: {len(text)} bytes that are no JSON: {error}')
if version < acked:
    sys.exit(f'settings.json: version {acked} was saved, version {version} is there')
