#!/bin/bash
# LevelDB through classic-level of npm: writes with sync and without.
. "$(dirname "$0")/prelude.sh"
npm_package classic-level@3.0.0

cat >"$packages/put.cjs" <<'JS'
const { ClassicLevel } = require('classic-level');
const sync = process.argv[2] === 'sync';
(async () => {
  const db = new ClassicLevel('db');
  for (let number = 1; number <= 5; number++) {
    await db.put(`key ${number}`, 'value '.repeat(50) + number, { sync });
    console.log(number);
  }
})();
JS
cat >"$packages/check.cjs" <<'JS'
const { existsSync, readFileSync } = require('node:fs');
const { ClassicLevel } = require('classic-level');
(async () => {
  const acked = readFileSync(process.env.FAUXDAX_ACKED, 'utf8').split('\n').filter(Boolean);
  const db = new ClassicLevel('db');
  await db.open();
  const found = new Set();
  for await (const [key, value] of db.iterator()) {
    const number = key.split(' ')[1];
    if (value !== 'value '.repeat(50) + number) throw new Error(`${key} is ${value}`);
    found.add(number);
  }
  const lost = acked.filter((number) => !found.has(number));
  if (lost.length > 0) throw new Error(`acknowledged and lost: ${lost}`);
  await db.close();
})().catch((error) => {
  console.error(`${error.message}${error.cause ? `: ${error.cause.message}` : ''}`);
  process.exit(1);
});
JS

try 'LevelDB, sync: false, dax' 1 --model dax \
  --workload "node '$packages/put.cjs' nosync" --check "node '$packages/check.cjs'"
# A new database: CURRENT names its first MANIFEST, which is not synced.
for expected in dax:0 sector:1; do
  try "LevelDB, sync: true, ${expected%:*}" "${expected#*:}" --model "${expected%:*}" \
    --workload "node '$packages/put.cjs' sync" --check "node '$packages/check.cjs'"
done
finish
