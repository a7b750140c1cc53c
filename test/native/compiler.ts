/** What a compiler can do here, asked of it. */
import { spawnSync } from 'node:child_process';

/** The reason when it cannot do what `flag` asks for; false when it can. */
export function lacking(compiler: string, flag: string): string | false {
  const words = ['-x', 'c', '-', flag, '-o', '/dev/null'];
  const { status } = spawnSync(compiler, words, { input: 'int main(void) { return 0; }' });
  return status !== 0 && `${compiler} ${flag} does not work here`;
}
