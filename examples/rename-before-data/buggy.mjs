// Saves a configuration four times: writes conf.json.tmp, renames it over conf.json, syncs the
// directory, and prints the version that is saved.
import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from 'node:fs';

function syncPath(path) {
  const descriptor = openSync(path, 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}

function save(config) {
  writeFileSync('conf.json.tmp', JSON.stringify(config));
  renameSync('conf.json.tmp', 'conf.json');
  syncPath('.');
}

for (let version = 1; version <= 4; version++) {
  save({ version, listen: '0.0.0.0:8080', workers: version * 2 });
  console.log(version);
}
