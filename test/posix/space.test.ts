// Space: allocation, holes, copies, sparse files, and a filesystem that is full.
import t from 'tap';
import {
  calls,
  checkTable,
  makeMount,
  makePlace,
  needsMount,
  plainDir,
  type Row,
} from './mounted.js';

const tables: [title: string, rows: Row[]][] = [
  [
    'fallocate reserves, extends unless told to keep the size, and reads as zeros',
    [
      ['open A f rdwr+creat', '0'],
      ['fallocate A none 0 10000', '0'],
      ['fstat A sb', '10000 1'],
      ['read A 20000 0', '<%00*10000>'],
      ['fallocate A keep 8192 100000', '0'],
      ['fstat A s', '10000'],
      ['write A data 5000', '4'],
      ['fallocate A none 4096 4096', '0'],
      ['read A 6 4999', '%00data%00'],
      ['ftruncate A 60000', '0'],
      ['read A 10 50000', '<%00*10>'],
      ['fallocate A none -1 10', 'EINVAL'],
      ['fallocate A none 0 0', 'EINVAL'],
      ['open B f rd', '0'],
      ['fallocate B none 0 10', 'EBADF'],
      ['mkdir d', '0'],
      ['open B d rd', '0'],
      ['fallocate B none 0 10', 'EBADF'],
    ],
  ],
  [
    'a punched range reads as zeros to the byte, and frees whole pages',
    [
      ['open A f rdwr+creat', '0'],
      ['write A x*20000', '20000'],
      ['fsync A', '0'],
      ['fallocate A punch+keep 100 50', '0'],
      ['read A 54 98', 'xx<%00*50>xx'],
      ['fallocate A punch+keep 4000 9000', '0'],
      ['read A 9002 3999', 'x<%00*9000>x'],
      ['seek A 4096 data', '12288'],
      ['seek A 0 hole', '4096'],
      ['fallocate A punch+keep 19000 50000', '0'],
      ['fstat A s', '20000'],
      ['read A 2000 18999', 'x<%00*1000>'],
      ['fallocate A punch+keep 0 20480', '0'],
      ['fstat A sb', '20000 0'],
      ['seek A 0 data', 'ENXIO'],
      ['seek A 0 hole', '0'],
      ['fallocate A punch 0 4096', 'EOPNOTSUPP'],
    ],
  ],
  [
    'a zeroed range reads as zeros and extends unless told to keep the size',
    [
      ['open A f rdwr+creat', '0'],
      ['write A x*10000', '10000'],
      ['fallocate A zero 10 20', '0'],
      ['read A 24 8', 'xx<%00*20>xx'],
      ['fallocate A zero 4000 5000', '0'],
      ['read A 5002 3999', 'x<%00*5000>x'],
      ['fallocate A zero+keep 9990 5000', '0'],
      ['fstat A s', '10000'],
      ['read A 100 9985', 'xxxxx<%00*10>'],
      ['fallocate A zero 9990 5010', '0'],
      ['fstat A s', '15000'],
    ],
  ],
  [
    'SEEK_DATA and SEEK_HOLE walk a sparse file',
    [
      ['open A f rdwr+creat', '0'],
      ['write A data 1048576', '4'],
      ['fsync A', '0'],
      ['seek A 0 data', '1048576'],
      ['seek A 0 hole', '0'],
      ['seek A 1048577 data', '1048577'],
      ['seek A 1048576 hole', '1048580'],
      ['seek A 1048580 data', 'ENXIO'],
      ['seek A 1048580 hole', 'ENXIO'],
      ['seek A -1 data', 'ENXIO'],
      ['ftruncate A 2097152', '0'],
      ['seek A 1048576 hole', '1052672'],
      ['seek A 1052672 data', 'ENXIO'],
      ['seek A 2097151 hole', '2097151'],
      ['seek A 0 cur', '2097151'],
      ['seek A -1 set', 'EINVAL'],
      ['seek A 10 end', '2097162'],
    ],
  ],
  [
    'copy_file_range copies within the filesystem, up to the end of the source',
    [
      ['open A f rdwr+creat', '0'],
      ['open B g rdwr+creat', '0'],
      ['write A abcdefgh*2000', '16000'],
      ['copy A 1 B 0 7', '7'],
      ['read B 100 0', 'bcdefgh'],
      ['copy A 15996 B 5000 100', '4'],
      ['fstat B s', '5004'],
      ['read B 100 4996', '%00%00%00%00efgh'],
      ['copy A 16000 B 0 10', '0'],
      ['copy A 20000 B 0 10', '0'],
      ['copy A 0 A 8192 4096', '4096'],
      ['read A 8 8192', 'abcdefgh'],
      ['copy A 0 A 100 200', 'EINVAL'],
      ['open C g rd', '0'],
      ['copy A 0 C 0 10', 'EBADF'],
      ['open C g wr+append', '0'],
      ['copy A 0 C 0 10', 'EBADF'],
      ['copy C 0 A 0 10', 'EBADF'],
    ],
  ],
  [
    'a file of terabytes with little in it takes little space',
    [
      ['open A f rdwr+creat', '0'],
      ['ftruncate A 8796093022208', '0'],
      ['fstat A sb', '8796093022208 0'],
      ['write A end 8796093022205', '3'],
      ['write A middle 4398046511104', '6'],
      ['read A 8 4398046511102', '%00%00middle'],
      ['read A 8 8796093022204', '%00end'],
      ['fsync A', '0'],
      ['seek A 0 data', '4398046511104'],
      ['seek A 4398046515200 data', '8796093018112'],
      ['fallocate A punch+keep 0 8796093022208', '0'],
      ['seek A 0 data', 'ENXIO'],
      ['fstat A sb', '8796093022208 0'],
    ],
  ],
  [
    'data written with O_DIRECT, O_SYNC and O_DSYNC is what others read',
    [
      ['open A f rdwr+creat+direct', '0'],
      ['write A d*8192 0', '8192'],
      ['open B f rdwr', '0'],
      ['read B 10 8186', 'dddddd'],
      ['write B b*10 4090', '10'],
      ['read A 4096 4096', 'bbbb<d*4092>'],
      ['open C f rdwr+sync', '0'],
      ['write C s 0', '1'],
      ['open D f rdwr+dsync', '0'],
      ['write D t 1', '1'],
      ['read A 4096 0', 'st<d*4088>bbbbbb'],
    ],
  ],
];

for (const [title, rows] of tables) {
  t.test(title, async (t) => checkTable(t, makePlace(t).dir, rows));
}

t.test('statfs names the filesystem and counts what is used and freed', async (t) => {
  const { dir } = makePlace(t);
  const answers = calls(dir, [
    'statfs .',
    'open A f rdwr+creat',
    'free .',
    'fallocate A none 0 8388608',
    'free .',
    'ftruncate A 0',
    'fsync A',
    'free .',
  ]);
  if (plainDir === undefined) t.equal(answers[0], '65735546', 'FUSE');
  const [before, taken, after] = [answers[2], answers[4], answers[7]].map(Number);
  t.ok((before ?? 0) - (taken ?? 0) >= 2048, `8 MiB are 2048 pages: ${before} → ${taken}`);
  t.ok((after ?? 0) - (taken ?? 0) >= 2048, `and come back: ${taken} → ${after}`);
});

t.test('a full filesystem says ENOSPC, loses nothing, and recovers', needsMount, async (t) => {
  const { dir } = makeMount(t, '16M');
  checkTable(t, dir, [
    ['open A keep rdwr+creat', '0'],
    ['write A k*4096', '4096'],
    ['fsync A', '0'],
    ['open B big rdwr+creat', '0'],
    ['fallocate B none 0 67108864', 'ENOSPC'],
  ]);
  const fill = Array.from({ length: 20 }, (_, piece) => `write B f*1048576 ${piece * 1048576}`);
  const answers = calls(dir, ['open B big rdwr', ...fill]).slice(1);
  t.equal(answers[0], '1048576');
  t.equal(answers.at(-1), 'ENOSPC');
  checkTable(t, dir, [
    ['open A keep rdwr', '0'],
    ['read A 5000 0', '<k*4096>'],
    ['write A over 100', '4'],
    ['fsync A', '0'],
    ['open C new wr+creat', '0'],
    ['write C n*65536', /^(ENOSPC|\d{1,5})$/],
    ['unlink new', '0'],
    ['unlink big', '0'],
    ['fsync A', '0'],
    ['open B big rdwr+creat', '0'],
    ['write B f*2097152', '2097152'],
    ['read B 10 2097142', '<f*10>'],
    ['read A 110 0', '<k*100>overkkkkkk'],
    ['fsync B', '0'],
  ]);
});
