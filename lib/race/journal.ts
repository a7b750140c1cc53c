/**
 * What the steps of a schedule did, in words, for whoever prints it: the ports of the lab note it here.
 * While nobody prints, nothing is made.
 */

export class Journal {
  isKept = false;
  private lines: string[] = [];

  note(text: () => string): void {
    if (this.isKept) this.lines.push(text());
  }

  /** The lines since the last call. */
  take(): string[] {
    const { lines } = this;
    this.lines = [];
    return lines;
  }
}
