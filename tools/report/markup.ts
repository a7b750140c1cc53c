/**
 * HTML that cannot be broken by what it shows: the tag `html` escapes every value that is not
 * markup itself, after what is invisible in it has been made visible.
 */
import escapeHtml from 'escape-html';
import { visible, visibleLines } from './visible.js';

export class Markup {
  readonly text: string;

  /** @param text trusted: from a literal of this program, or escaped */
  constructor(text: string) {
    this.text = text;
  }
}

type Value = Markup | string | number | undefined | readonly Markup[];

/** Strings are shown as one line, arrays are joined, undefined is nothing. */
export function html(strings: TemplateStringsArray, ...values: Value[]): Markup {
  const parts = values.map((value, index) => `${render(value)}${strings[index + 1]}`);
  return new Markup(`${strings[0]}${parts.join('')}`);
}

/** Several lines, as inside <pre>. */
export function preformatted(text: string): Markup {
  return new Markup(escapeHtml(visibleLines(text)));
}

/** Sentences: what stands between grave accents is set as code. */
export function prose(text: string): Markup {
  const parts = text.split('`');
  // An odd one out is no pair: a name may hold anything.
  if (parts.length % 2 === 0) return html`${text}`;
  return html`${parts.map((part, index) => (index % 2 === 0 ? html`${part}` : html`<code>${part}</code>`))}`;
}

function render(value: Value): string {
  if (value === undefined) return '';
  if (value instanceof Markup) return value.text;
  if (typeof value === 'object') return value.map((one) => one.text).join('');
  return escapeHtml(visible(String(value)));
}
