#!/bin/bash
# Packages of npm that save a JSON file: lowdb, write-file-atomic and conf. Two questions for each:
# is the file ever broken, and is what was acknowledged there?
. "$(dirname "$0")/prelude.sh"

if [ "${1:-}" = check ]; then # check whole|acked FILE
  python3 - "$2" "$3" <<'PY'
import json
import os
import sys

question, name = sys.argv[1:]
acked = max((int(line) for line in open(os.environ['FAUXDAX_ACKED'])), default=0)
text = open(name).read() if os.path.exists(name) else '{"version": 0}'
try:
    version = json.loads(text)['version']
except ValueError as error:
    sys.exit(f'{name}: {len(text)} bytes that are no JSON: {error}')
if question == 'acked' and version < acked:
    sys.exit(f'{name}: version {acked} was acknowledged, version {version} is there')
PY
  exit
fi

# ask PACKAGE FILE whole|acked MODEL EXPECTED
ask() {
  try "$1: $3? $4" "$5" --model "$4" --workload "node '$packages/save.mjs'" \
    --check "'$self' check $3 $2"
}

# save_with: stdin is the start of a program, with save(data) that may be awaited.
save_with() {
  {
    cat
    echo "for (let version = 1; version <= 4; version++) {"
    echo "  await save({ version, list: Array(50).fill(version) });"
    echo "  console.log(version);"
    echo "}"
  } >"$packages/save.mjs"
}

npm_package lowdb@7.0.1
save_with <<'JS'
import { JSONFile } from 'lowdb/node';
const save = (data) => new JSONFile('db.json').write(data);
JS
ask lowdb db.json whole dax 0
ask lowdb db.json whole sector 1
ask lowdb db.json acked dax 1

npm_package write-file-atomic@7.0.0
save_with <<'JS'
import writeFileAtomic from 'write-file-atomic';
const save = (data) => writeFileAtomic('data.json', JSON.stringify(data));
JS
ask write-file-atomic data.json whole sector 0
ask write-file-atomic data.json whole posix 0
ask write-file-atomic data.json acked dax 1

npm_package conf@15.0.2
save_with <<'JS'
import Conf from 'conf';
const conf = new Conf({ cwd: '.', projectName: 'example' });
const save = (data) => conf.set(data);
JS
ask conf config.json whole sector 0
ask conf config.json whole posix 0
ask conf config.json acked dax 1
finish
