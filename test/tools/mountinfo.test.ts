import { mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import {
  canonical,
  formatDevice,
  mountAt,
  mountOf,
  parseMountinfo,
} from '../../tools/mountinfo.js';

t.test('mountinfo lines are parsed with optional fields and octal escapes', async (t) => {
  const text = [
    '25 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw',
    '40 25 0:52 / /mnt/a\\040b rw,nosuid shared:7 master:2 - fuse.fauxdax /img\\134x\\011y rw',
    '41 25 0:53 / /mnt/c rw - fuse.fauxdax /img2 rw,user_id=0',
    'nonsense',
    '',
  ].join('\n');
  t.same(parseMountinfo(text), [
    { device: '8:1', dir: '/', fsType: 'ext4', source: '/dev/sda1' },
    { device: '0:52', dir: '/mnt/a b', fsType: 'fuse.fauxdax', source: '/img\\x\ty' },
    { device: '0:53', dir: '/mnt/c', fsType: 'fuse.fauxdax', source: '/img2' },
  ]);
});

t.test('a device number is split as glibc encodes it', async (t) => {
  t.equal(formatDevice(0x801n), '8:1');
  t.equal(formatDevice(52n), '0:52');
  t.equal(formatDevice(0x12345n), '291:69');
  t.equal(formatDevice(((0xabcn << 12n) << 8n) | 0x34n), `0:${(0xabc << 8) | 0x34}`);
  t.equal(formatDevice((1n << 44n) | 0x100n), `${(1 << 12) + 1}:0`);
});

t.test('the device of a path is one that the kernel lists for its mount', async (t) => {
  const device = formatDevice(statSync('/proc', { bigint: true }).dev);
  const { readFileSync } = await import('node:fs');
  const entries = parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
  t.ok(entries.some((entry) => entry.dir === '/proc' && entry.device === device));
});

t.test('what is not in a fauxdax mount is in none', async (t) => {
  t.equal(mountOf('/proc/self/mountinfo').mount, undefined);
  t.equal(mountAt('/'), undefined);
  t.throws(() => mountOf('/nonexistent'), { code: 'ENOENT' });
});

t.test('a path is made canonical also where its last name cannot be examined', async (t) => {
  const base = mkdtempSync(join(tmpdir(), 'fauxdax-test-'));
  t.teardown(() => rmSync(base, { recursive: true }));
  symlinkSync(base, join(base, 'loop'));
  t.equal(canonical(join(base, 'loop', 'loop')), canonical(base));
  t.equal(canonical(join(base, 'missing', 'x')), join(base, 'missing', 'x'));
  symlinkSync('self', join(base, 'self'));
  t.equal(canonical(join(base, 'self')), join(canonical(base), 'self'));
});
