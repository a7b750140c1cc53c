import t from 'tap';
import { mountOptionWords, parseMountOptions } from '../../fs/options.js';

t.test('the words of mount options give the same options again', async (t) => {
  const table = [
    ['', 'rw,dax=inode,commit=5,durable=process'],
    ['ro,noatime,nodev', 'ro,dax=inode,commit=5,durable=process,noatime,nodev'],
    [
      'crashable,canary,bug=reuse-before-commit,bug=commit-before-data,commit=0.5',
      'rw,crashable,canary,dax=inode,commit=0.5,durable=process,bug=reuse-before-commit,' +
        'bug=commit-before-data',
    ],
    [
      'dax,durable=host,transport=fuse-native,allow_other',
      'rw,allow_other,dax=always,commit=5,durable=host,transport=fuse-native',
    ],
  ] as const;
  for (const [typed, said] of table) {
    const options = parseMountOptions([typed]);
    t.equal(mountOptionWords(options).join(','), said, typed);
    t.same(parseMountOptions([said]), options, said);
  }
});
