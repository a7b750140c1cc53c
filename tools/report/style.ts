/**
 * The style sheet of the HTML report. Colours are named once for light and once for dark; what
 * they say is also said in words or shape, for those who do not tell red from green.
 */
export const STYLE = `
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1b1f24; --quiet: #59626e; --rule: #d5dae1;
  --red: #b3261e; --red-soft: #fbe6e4; --green: #1a7338; --green-soft: #e2f3e7;
  --amber: #805300; --amber-soft: #fcefcf; --blue: #0b57b8; --blue-soft: #e3edfb; --cell: #e3e7ec; }
@media (prefers-color-scheme: dark) { :root {
  --page: #121418; --card: #1b1e24; --text: #e3e6ea; --quiet: #9ca6b3; --rule: #343a44;
  --red: #ff8b82; --red-soft: #42201e; --green: #74d594; --green-soft: #17331f;
  --amber: #f0c35e; --amber-soft: #3a2d10; --blue: #8db8fb; --blue-soft: #1a2c48; --cell: #333a45; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 1080px; margin: 0 auto; padding: 20px; }
footer { text-align: center; color: var(--quiet); font-size: 14px; padding: 0 20px 28px; }
h1 { font-size: 24px; line-height: 1.25; margin: 4px 0 8px; }
h2 { font-size: 20px; line-height: 1.3; margin: 0 0 8px; }
h3 { font-size: 16px; margin: 24px 0 4px; }
p { margin: 0 0 8px; }
a { color: var(--blue); }
code, pre, .hex, .entries, .steps .what { font-family: ui-monospace, 'DejaVu Sans Mono', monospace;
  font-size: 13.5px; }
pre { background: var(--page); border: 1px solid var(--rule); border-radius: 6px; padding: 10px 12px;
  margin: 8px 0; white-space: pre-wrap; max-height: 24rem; overflow: auto; }
section, header { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 18px 22px; margin: 0 0 18px; }
.quiet { color: var(--quiet); font-size: 14px; }
.scroll { overflow-x: auto; }
.verdict { border-left: 6px solid var(--amber); }
.verdict.fail { border-left-color: var(--red); } .verdict.pass { border-left-color: var(--green); }
.verdict p:last-child { margin-bottom: 0; }
.stamp { font-weight: 700; letter-spacing: .04em; margin: 0; color: var(--amber); }
.fail .stamp { color: var(--red); } .pass .stamp { color: var(--green); }
.commands { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 16px;
  margin: 0 0 22px; padding: 0 22px; }
.commands dt { color: var(--quiet); } .commands dd { margin: 0; }
details .commands { padding: 8px 0 0; margin: 0; font-size: 14px; }
summary { cursor: pointer; color: var(--quiet); font-size: 14px; margin-top: 12px; }
.badge { display: inline-block; border-radius: 5px; padding: 0 7px; font: 600 12.5px/1.6 system-ui,
  sans-serif; background: var(--cell); color: var(--text); text-decoration: none; white-space: nowrap; }
.badge.error, .badge.lost, .badge.crash, .badge.found { background: var(--red-soft); color: var(--red); }
.badge.warning, .badge.missing { background: var(--amber-soft); color: var(--amber); }
.badge.survived { background: var(--blue-soft); color: var(--blue); }
.badge.said { background: var(--green-soft); color: var(--green); }
.failure { border-left: 6px solid var(--red); }
.id { font-weight: 700; }
.explanation { font-size: 17px; white-space: pre-line; max-width: 46em; }
.needs { background: var(--amber-soft); border-radius: 8px; padding: 10px 14px; margin-top: 12px; }
.steps { list-style: none; margin: 14px 0; padding: 0 0 0 2px; }
.steps li { position: relative; display: grid; grid-template-columns: 84px minmax(0, 1fr) auto;
  gap: 10px; align-items: baseline; padding: 4px 0 4px 22px; border-left: 2px solid var(--rule); }
.steps li::before { content: ''; position: absolute; left: -7px; top: 11px; width: 8px; height: 8px;
  border-radius: 50%; border: 2px solid var(--card); background: var(--quiet); }
.steps li.lost::before { background: var(--red); } .steps li.survived::before { background: var(--blue); }
.steps li.missing::before { background: var(--card); border: 2px dashed var(--amber); }
.steps li.missing .what { font-family: inherit; font-size: 15px; color: var(--amber); }
.steps li.crash .what { font-family: inherit; font-size: 15px; }
.steps li.lost .what { text-decoration: line-through; text-decoration-color: var(--red); }
.steps .badge { justify-self: start; }
.who { color: var(--quiet); font: 13px/1.5 system-ui, sans-serif; }
.sizes { color: var(--quiet); font-size: 14px; }
.pages { margin: 6px 0 12px; } .pages figcaption { font-size: 14px; margin-bottom: 4px; }
.pages table { width: 100%; max-width: 760px; border-collapse: collapse; }
.pages th { font-weight: 400; font-size: 13px; color: var(--quiet); text-align: left; width: 72px;
  padding: 1px 8px 1px 0; white-space: nowrap; }
.pages td { padding: 1px 0; } .pages svg { display: block; width: 100%; height: 14px; }
.same { fill: var(--cell); } .differs { fill: var(--red); }
.hex { border-collapse: collapse; white-space: nowrap; }
.hex th { text-align: left; font-weight: 400; color: var(--quiet); padding: 1px 18px 1px 0; }
.hex td { padding: 1px 22px 1px 0; overflow-wrap: normal; }
.hex .text { margin-left: 10px; color: var(--quiet); white-space: pre; }
mark { background: var(--red-soft); color: var(--red); border-radius: 2px; }
#counts table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-bottom: 10px; }
#counts th, #counts td { text-align: right; padding: 3px 0 3px 28px; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
#counts th:first-child { text-align: left; font-weight: 400; color: var(--quiet); padding-left: 0; }
#counts ul { margin: 0; padding-left: 18px; }
.lints { list-style: none; margin: 0; padding: 0; }
.lints li { display: grid; grid-template-columns: 74px minmax(0, 1fr); gap: 10px; padding: 7px 0;
  align-items: baseline; border-top: 1px solid var(--rule); }
.lints li:first-child { border-top: 0; }
.lints .badge { justify-self: start; }
.overview { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 12px; margin: 10px 0; }
.lanes { display: grid; grid-auto-rows: 1fr; font-size: 13px; color: var(--quiet); line-height: 1; }
.lanes span { align-self: center; }
.overview svg { width: 100%; height: 104px; background: var(--page); border-radius: 6px; }
rect.call { fill: var(--quiet); } rect.sync { fill: var(--amber); } rect.output { fill: var(--green); }
rect.passing { fill: var(--green); } rect.failing { fill: var(--red); } rect.unrun { fill: var(--cell); }
rect.lost { fill: var(--red); } rect.survived { fill: var(--blue); }
.kinds { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; }
.entries { list-style: none; margin: 0; padding: 0; max-height: 34rem; overflow-y: auto;
  border-top: 1px solid var(--rule); }
.entries li { display: grid; grid-template-columns: 108px minmax(0, 1fr) max-content; gap: 12px;
  padding: 2px 8px 2px 6px; border-left: 4px solid transparent; }
.entries .time { color: var(--quiet); text-align: right; font-variant-numeric: tabular-nums; }
.entries .sync .what { color: var(--amber); } .entries .output .what { color: var(--green); }
.entries .crash-point { font-size: 12.5px; } .entries .passing .what { color: var(--quiet); }
.entries .unrun .what { color: var(--quiet); }
.entries .failing { background: var(--red-soft); } .entries .failing .what { color: var(--red); }
.entries .lost { border-left-color: var(--red); } .entries .survived { border-left-color: var(--blue); }
.entries .found { border-left-color: var(--red); }
.entries li:target { outline: 2px solid var(--blue); outline-offset: -2px; }
#timeline:has(#show-call:not(:checked)) li.call, #timeline:has(#show-sync:not(:checked)) li.sync,
#timeline:has(#show-output:not(:checked)) li.output,
#timeline:has(#show-crash-point:not(:checked)) li.crash-point { display: none; }
@media (max-width: 640px) {
  main { padding: 10px; } section, header { padding: 14px; } .commands { padding: 0 14px; gap: 4px 12px; }
  h1 { font-size: 20px; } h2 { font-size: 18px; }
  code, pre, .hex, .entries, .steps .what { font-size: 12.5px; }
  .steps li { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .entries li { grid-template-columns: 78px minmax(0, 1fr); gap: 0 8px; padding-left: 2px; }
  .entries .who { grid-column: 2; } .entries .time { font-size: 11.5px; line-height: 1.7; }
  .hex td { display: block; padding-right: 0; } .hex th { vertical-align: top; padding-right: 10px; }
  .hex thead th:nth-child(n+2) { display: none; }
  .hex tbody td:nth-of-type(1)::before { content: 'expected '; color: var(--quiet); }
  .hex tbody td:nth-of-type(2)::before { content: 'found    '; color: var(--quiet); white-space: pre; }
  .hex tr.quiet td::before { content: none !important; }
  #counts th, #counts td { padding-left: 16px; font-size: 14px; white-space: normal; }
}
@media print { .entries, pre { max-height: none; } body { background: none; } }
`;
