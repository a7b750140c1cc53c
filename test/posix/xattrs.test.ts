// Extended attributes: the four namespaces, flags, sizes.
import t from 'tap';
import { checkTable, makePlace, needsMount, type Row } from './mounted.js';

/** A capability set of no capabilities; the kernel looks at its form. */
const CAPABILITY = `%01%00%00%02${'%00'.repeat(16)}`;

const tables: [title: string, rows: Row[]][] = [
  [
    'attributes are set, read, listed and removed',
    [
      ['open A f wr+creat', '0'],
      ['listxattr f', ''],
      ['getxattr f user.a', 'ENODATA'],
      ['setxattr f user.a one', '0'],
      ['setxattr f trusted.b two', '0'],
      ['setxattr f security.c %00%01%ff', '0'],
      ['getxattr f user.a', 'one'],
      ['getxattr f trusted.b', 'two'],
      ['getxattr f security.c', '%00%01%ff'],
      ['setxattr f user.a longer-value', '0'],
      ['getxattr f user.a', 'longer-value'],
      ['getxattr f user.a 3', 'ERANGE'],
      ['getxattr f user.a 0', '12'],
      ['setxattr f user.empty -*0', '0'],
      ['getxattr f user.empty', ''],
      ['removexattr f user.a', '0'],
      ['removexattr f user.a', 'ENODATA'],
      ['getxattr f user.a', 'ENODATA'],
      ['removexattr f user.empty', '0'],
      ['removexattr f trusted.b', '0'],
      ['listxattr f', 'security.c'],
    ],
  ],
  [
    'CREATE wants a new attribute and REPLACE an old one',
    [
      ['mkdir d', '0'],
      ['setxattr d user.a v replace', 'ENODATA'],
      ['setxattr d user.a v create', '0'],
      ['setxattr d user.a w create', 'EEXIST'],
      ['setxattr d user.a w replace', '0'],
      ['getxattr d user.a', 'w'],
    ],
  ],
  [
    'names outside the namespaces and without a suffix are refused',
    [
      ['open A f wr+creat', '0'],
      ['setxattr f bogus.a v', 'EOPNOTSUPP'],
      ['getxattr f bogus.a', 'EOPNOTSUPP'],
      ['setxattr f user. v', 'EINVAL'],
      ['getxattr f user. 0', 'EINVAL'],
      [`setxattr f user.${'n'.repeat(250)} v`, '0'],
      [`setxattr f user.${'n'.repeat(251)} v`, 'ERANGE'],
    ],
  ],
  [
    'user attributes are for files and directories only',
    [
      ['symlink x l', '0'],
      ['setxattr l user.a v', 'EPERM'],
      ['setxattr l trusted.a v', '0'],
      ['getxattr l trusted.a', 'v'],
      ['mknod p fifo 644', '0'],
      ['setxattr p user.a v', 'EPERM'],
      ['setxattr p trusted.a v', '0'],
    ],
  ],
  [
    'attributes belong to the file and go with it',
    [
      ['open A f wr+creat', '0'],
      ['setxattr f user.a v', '0'],
      ['link f g', '0'],
      ['getxattr g user.a', 'v'],
      ['rename f h', '0'],
      ['getxattr h user.a', 'v'],
      ['unlink g', '0'],
      ['unlink h', '0'],
      ['open A f wr+creat+excl', '0'],
      ['listxattr f', ''],
    ],
  ],
  [
    "a file's bytes change, and its capabilities are gone, root's or not",
    [
      ['open A f wr+creat', '0'],
      ['write A twelve-bytes', '12'],
      [`setxattr f security.capability ${CAPABILITY}`, '0'],
      ['write A over 0', '4'],
      ['getxattr f security.capability', 'ENODATA'],
      ['write A over 0', '4'],
      [`setxattr f security.capability ${CAPABILITY}`, '0'],
      ['write A over 0', '4'],
      ['getxattr f security.capability', 'ENODATA'],
      [`setxattr f security.capability ${CAPABILITY}`, '0'],
      ['truncate f 4', '0'],
      ['getxattr f security.capability', 'ENODATA'],
    ],
  ],
];

for (const [title, rows] of tables) {
  t.test(title, async (t) => checkTable(t, makePlace(t).dir, rows));
}

t.test('a value may have 64 KiB and no more', needsMount, async (t) => {
  checkTable(t, makePlace(t).dir, [
    ['open A f wr+creat', '0'],
    ['setxattr f user.big v*65536', '0'],
    ['getxattr f user.big', '<v*65536>'],
    ['setxattr f user.big v*65537', 'E2BIG'],
    ['setxattr f user.other w*60000', '0'],
    ['getxattr f user.big', '<v*65536>'],
  ]);
});
