"""How the report looks, and the pointer's read-out: the one style sheet and the one script."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #16202c; --soft: #5b6876; --line: #dfe4ea;
    --grid: #edf0f3;
  --accent: #2563eb; --warm: 220, 38, 38; --cool: 37, 99, 235;
  --c0: #2563eb; --c1: #d9730d; --c2: #0c8a5f; --c3: #9333ea;
  --c4: #d02c5c; --c5: #0886a3; --c6: #8a6a0f; --c7: #5b6676;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11161c; --card: #1a2129; --ink: #e7ecf2; --soft: #9aa7b5; --line: #2d3742;
      --grid: #242d37;
    --accent: #7aa8ff; --warm: 248, 113, 113; --cool: 96, 150, 250;
    --c0: #6ea3ff; --c1: #ff9f4a; --c2: #3ccf97; --c3: #c490ff;
    --c4: #ff7d9f; --c5: #40c8e4; --c6: #d9b64a; --c7: #a3afbd;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  -webkit-text-size-adjust: 100%;
}
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 56px; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.08rem; margin: 34px 0 12px; }
header p { margin: 4px 0 0; color: var(--soft); }
.card, .chart, details {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; min-width: 0;
}
.tiles { display: grid; gap: 10px; margin-top: 18px;
  grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); }
.tiles .tile { padding: 11px 14px; margin: 0; }
.tile b { display: block; font-size: 1.4rem; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .84rem; }
.legend { display: flex; flex-wrap: wrap; gap: 5px 18px; margin: 0 0 12px; padding: 0;
  list-style: none;
  font-size: .88rem; }
.legend li { overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 18px; height: 0; margin-right: 6px; vertical-align: middle;
  border-top: 3px solid currentColor; border-radius: 2px; position: relative; }
.swatch.dot::after { content: ""; position: absolute; left: 5px; top: -5.5px; width: 8px;
  height: 8px;
  border-radius: 50%; background: currentColor; }
.swatch.dashed { border-top-style: dashed; border-radius: 0; }
.swatch.thin { border-top-width: 2px; opacity: .6; }
.swatch + span { color: var(--ink); }
.charts { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%,
  350px), 1fr)); }
.chart { margin: 0; padding: 12px 14px 8px; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 12px; }
figcaption small { flex-basis: 100%; color: var(--soft); min-height: 1.45em; }
.final { display: flex; gap: 12px; font-size: .88rem; font-variant-numeric: tabular-nums; }
.plot { display: grid; grid-template-columns: 46px minmax(0, 1fr); grid-template-rows: 178px 22px;
  margin-top: 8px; touch-action: pan-y; }
.area { position: relative; border-bottom: 1px solid var(--line);
  border-left: 1px solid var(--line); }
.area svg { display: block; width: 100%; height: 100%; overflow: visible; }
.x, .y { position: relative; font-size: 11px; color: var(--soft);
  font-variant-numeric: tabular-nums; }
.x { grid-column: 2; }
.x span { position: absolute; top: 4px; transform: translateX(-50%); white-space: nowrap; }
.x .begin { transform: none; }
.x .end { transform: translateX(-100%); }
.y span { position: absolute; right: 6px; transform: translateY(-50%); white-space: nowrap; }
path { fill: none; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.grid { stroke: var(--grid); stroke-width: 1; }
.reference { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 2 4; }
.note { position: absolute; right: 4px; transform: translateY(-105%); font-size: 11px;
  color: var(--soft);
  background: var(--card); padding: 0 3px; border-radius: 3px; opacity: .92; }
.beyond { position: absolute; left: 26px; font-size: 11px; white-space: nowrap;
  background: var(--card); padding: 0 3px; border-radius: 3px; opacity: .92; }
.top { top: 1px; } .bottom { bottom: 1px; }
.raw { stroke-width: 1; opacity: .26; }
.train { stroke-width: 1.8; }
.held { stroke-width: 2.2; }
.runs .chart:has(.held) .train { stroke-width: 1.3; opacity: .6; }
.dashed { stroke-dasharray: 6 4; }
.dots { stroke-width: 6.5; stroke-linecap: round; }
.c0 { stroke: var(--c0); color: var(--c0); } .c1 { stroke: var(--c1); color: var(--c1); }
.c2 { stroke: var(--c2); color: var(--c2); } .c3 { stroke: var(--c3); color: var(--c3); }
.c4 { stroke: var(--c4); color: var(--c4); } .c5 { stroke: var(--c5); color: var(--c5); }
.c6 { stroke: var(--c6); color: var(--c6); } .c7 { stroke: var(--c7); color: var(--c7); }
.cursor { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--soft); opacity: .7;
  pointer-events: none; }
.tip { position: absolute; top: calc(100% + 24px); z-index: 2; pointer-events: none;
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 5px 8px;
  max-width: 100%; font-size: 12px; line-height: 1.4; font-variant-numeric: tabular-nums;
  box-shadow: 0 3px 12px rgb(0 0 0 / 14%); }
.tip div { display: flex; align-items: center; }
.tip .swatch { flex: none; }
.tip span { color: var(--ink); white-space: nowrap; }
.tip .name { overflow: hidden; text-overflow: ellipsis; margin-right: 8px; }
.tip .figure { margin-left: auto; }
.scroll { overflow-x: auto; }
.card.scroll { width: fit-content; min-width: min(100%, 480px); max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px; text-align: left; border-bottom: 1px solid var(--grid);
  vertical-align: top; }
tr:last-child td { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 600; border-bottom-color: var(--line);
  white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
td.best { font-weight: 700; }
td.key { white-space: nowrap; }
.scroll td.key { position: sticky; left: 0; background: var(--card); }
td.value { overflow-wrap: anywhere; min-width: 8em; }
code, pre, td.value, td.key.code { font-family: ui-monospace, "SF Mono", Menlo, Consolas,
  "DejaVu Sans Mono", monospace;
  font-size: .84rem; }
details { margin-top: 10px; overflow: hidden; }
summary { padding: 10px 14px; cursor: pointer; font-weight: 600; overflow-wrap: anywhere; }
details h3 { font-size: .95rem; margin: 6px 14px 8px; }
details .card { margin: 0 14px 14px; width: auto; }
details .card.scroll { width: fit-content; min-width: 0; max-width: calc(100% - 28px); }
.block { padding: 14px; overflow-x: auto; }
.block > :first-child { margin-top: 0; } .block > :last-child { margin-bottom: 0; }
.block pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.block.flush { padding: 0; }
.tokens { display: flex; flex-wrap: wrap; gap: 8px 4px; margin: 0 0 16px; }
.token { display: inline-flex; flex-direction: column; align-items: center; min-width: 1.9em;
  padding: 2px 5px; border-radius: 5px; background: rgba(var(--warm), var(--p));
    line-height: 1.35; }
.token small { opacity: .78; font-size: .68rem; font-variant-numeric: tabular-nums; }
.token .was { min-height: 1.35em; text-decoration: line-through; }
.token.replaced > b { border-bottom: 2px solid currentColor; }
.token b { font-weight: 400; white-space: pre; } .token.replaced b { font-weight: 700; }
.matrix td, .matrix th { text-align: right; }
.matrix td { background: rgba(var(--cool), var(--p)); border: 1px solid var(--card); }
.text { margin: 0 0 10px; max-width: 76ch; white-space: pre-line; }
details .text { margin: 0 14px 10px; }
.scroll + .block, .block + .block { margin-top: 10px; }
.warning { color: var(--soft); }
@media (max-width: 560px) {
  main { padding: 18px 14px 40px; }
  h1 { font-size: 1.28rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); }
  .tile b { font-size: 1.18rem; }
  th, td { padding: 6px 9px; }
  .runs td.key:not(.code) { white-space: normal; overflow-wrap: anywhere; min-width: 7.5em;
    max-width: 38vw; }
}
@media print { body { background: none; } .chart, .card { break-inside: avoid; } }
"""

# Without it the page shows all curves and tables; it adds the values under the pointer.
SCRIPT = """
for (const figure of document.querySelectorAll('.chart')) {
  const area = figure.querySelector('.area');
  const data = JSON.parse(figure.querySelector('script').textContent);
  const cursor = Object.assign(document.createElement('div'), {className: 'cursor', hidden: true});
  const tip = Object.assign(document.createElement('div'), {className: 'tip', hidden: true});
  area.append(cursor, tip);
  const nearest = (points, step) => {
    let low = 0, high = points.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[middle][0] <= step) low = middle; else high = middle;
    }
    return Math.abs(points[low][0] - step) <= Math.abs(points[high][0] - step) ? points[low]
      : points[high];
  };
  const move = event => {
    const box = area.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const pointed = data.x[0] + share * (data.x[1] - data.x[0]);
    const curves = data.curves.filter(curve => curve.points.length);
    if (!curves.length) return;
    const found = curves.map(curve => nearest(curve.points, pointed));
    const step = found.reduce((a, b) => Math.abs(b[0] - pointed) < Math.abs(a[0] - pointed)
      ? b : a)[0];
    tip.replaceChildren(`step ${step.toLocaleString('en')}`);
    curves.forEach((curve, i) => {
      if (i >= 12) return;
      const line = document.createElement('div');
      const swatch = Object.assign(document.createElement('i'), {className: 'swatch'});
      line.className = 'c' + curve.color % 8;
      const part = (name, text) => Object.assign(document.createElement('span'),
        {className: name, textContent: text});
      line.append(swatch, part('name', curve.label),
        part('figure', Number(found[i][1].toPrecision(4))));
      tip.append(line);
    });
    const position = (step - data.x[0]) / (data.x[1] - data.x[0]) * box.width;
    cursor.style.left = position + 'px';
    tip.style.left = '0';  // so that it is measured unsqueezed
    cursor.hidden = tip.hidden = false;
    const left = Math.min(position - tip.offsetWidth / 2, box.width - tip.offsetWidth);
    tip.style.left = Math.max(0, left) + 'px';
  };
  area.addEventListener('pointermove', move);
  area.addEventListener('pointerdown', move);
  area.addEventListener('pointerleave', () => { cursor.hidden = tip.hidden = true; });
}
"""
