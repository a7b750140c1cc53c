/** What pages hold when some of their stores are durable (lib/crash/fold/page_history.ts). */
import t from 'tap';
import { PageHistories } from '../../lib/crash/fold/page_history.js';
import { FILESYSTEM_THREAD } from '../../lib/trace/event.js';
import { LINE_BYTES, PAGE_BYTES } from '../../lib/units.js';

t.test('what a thread made durable stays when an older store of the page is', async (t) => {
  const pages = new PageHistories(() => new Uint8Array(PAGE_BYTES));
  const whole = Buffer.alloc(PAGE_BYTES, 'a');
  pages.store(1, { offset: 0, bytes: whole, callId: 1, isFlushed: true });
  const bytes = Buffer.alloc(LINE_BYTES, 'b');
  pages.store(2, { offset: 0, bytes, callId: 2, isFlushed: false });
  pages.flush(3, { offset: 0, lengthBytes: LINE_BYTES, callId: 2, thread: 7 });
  pages.fence(4, 7);
  const text = (position: number) => Buffer.from(pages.at(0, position).durable).toString('latin1');
  const empty = '\0'.repeat(PAGE_BYTES - LINE_BYTES);
  t.equal(text(4), 'b'.repeat(LINE_BYTES) + empty);
  pages.fence(5, FILESYSTEM_THREAD);
  t.equal(text(5), 'b'.repeat(LINE_BYTES) + 'a'.repeat(PAGE_BYTES - LINE_BYTES));
});
