// Saves settings four times as the file settings.json, asks for a sync each time, and prints the
// version that is saved.
import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from 'node:fs';

function syncDirectory() {
  const descriptor = openSync('.', 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}

function save(settings) {
  writeFileSync('settings.json.tmp', JSON.stringify(settings), { flush: true });
  renameSync('settings.json.tmp', 'settings.json');
  syncDirectory();
}

for (let version = 1; version <= 4; version++) {
  save({ version, theme: version % 2 ? 'dark' : 'light', fontSize: 10 + version });
  console.log(version);
}
