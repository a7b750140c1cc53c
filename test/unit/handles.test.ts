import t from 'tap';
import { handleOf, isDirect, syncOf, syncOfFlags } from '../../fs/handles.js';

const O_DSYNC = 0o10000;
const O_SYNC = 0o4010000;
const O_DIRECT = 0o40000;

t.test('a handle says how the file was opened', async (t) => {
  for (const [flags, direct, sync] of [
    [0, false, undefined],
    [2 | O_DSYNC, false, 'odsync'],
    [2 | O_SYNC, false, 'osync'],
    [1 | O_DIRECT, true, undefined],
    [1 | O_DIRECT | O_DSYNC, true, 'odsync'],
    [1 | O_DIRECT | O_SYNC, true, 'osync'],
  ] as const) {
    const handle = handleOf(flags);
    t.equal(isDirect(handle), direct, flags.toString(8));
    t.equal(syncOf(handle), sync);
    t.equal(syncOfFlags(flags), sync);
  }
});
