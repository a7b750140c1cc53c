import t from 'tap';
import { parseHelperArguments } from '../../tools/helper_arguments.js';

t.test('the arguments of mount(8) are understood', async (t) => {
  t.same(parseHelperArguments(['/img', '/mnt']), {
    image: '/img',
    dir: '/mnt',
    lists: [],
    fake: false,
  });
  t.same(
    parseHelperArguments([
      '/img',
      '/mnt',
      '-o',
      'rw,nosuid',
      '-sfv',
      '-t',
      'fuse.fauxdax',
      '-o',
      'ro',
    ]),
    { image: '/img', dir: '/mnt', lists: ['rw,nosuid', 'ro'], fake: true },
  );
});

t.test('other arguments are refused by name', async (t) => {
  const table: [string[], RegExp][] = [
    [['/img'], /usage/],
    [['/img', '/mnt', '/more'], /usage/],
    [['/img', '/mnt', '-o'], /-o needs a value/],
    [['/img', '/mnt', '--bogus'], /unknown option --bogus/],
    [['/img', '/mnt', '-N', '/proc/1/ns/mnt'], /-N/],
  ];
  for (const [args, message] of table) {
    t.throws(() => parseHelperArguments(args), { name: 'UsageError', message }, args.join(' '));
  }
});
