import t from 'tap';
import { formatSize, parseSize } from '../../tools/size.js';

t.test('a size is a number with a unit of 1024', async (t) => {
  const table: [string, number][] = [
    ['0', 0],
    ['4096', 4096],
    ['4096B', 4096],
    ['1K', 1024],
    ['1k', 1024],
    ['512M', 512 * 2 ** 20],
    ['512MiB', 512 * 2 ** 20],
    ['512MB', 512 * 2 ** 20],
    ['1G', 2 ** 30],
    ['1.5G', 1.5 * 2 ** 30],
    ['1T', 2 ** 40],
    ['4P', 2 ** 52],
  ];
  for (const [text, bytes] of table) t.equal(parseSize(text), bytes, text);
});

t.test('what is no size is refused with what was typed', async (t) => {
  for (const text of ['', 'G', '-1', '1X', '1 G', '1e9', '0x10', '1.5', '1.0001K', '5P', '1GG']) {
    t.throws(() => parseSize(text), { name: 'UsageError', message: `'${text}'` }, text);
  }
});

t.test('a size is printed short and read back the same where it is round', async (t) => {
  const table: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.50 KiB'],
    [11.5 * 2 ** 20, '11.5 MiB'],
    [999.9 * 2 ** 20, '1000 MiB'],
    [2 ** 30, '1 GiB'],
    [2 ** 52, '4 PiB'],
  ];
  for (const [bytes, text] of table) t.equal(formatSize(bytes), text);
  t.equal(parseSize(formatSize(2 ** 30).replace(' ', '')), 2 ** 30);
});
