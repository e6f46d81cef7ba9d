// Pictures as SVG of our own: a library that compiles expressions would need what the policy forbids, and these are
// lines, whiskers and dots. Each is an image with its figures in its label; shapes and dashes tell apart what colours do.

import { h, s } from "./dom.js";
import { share, words } from "./figures.js";

export const SIDES = ["organism", "twin", "base"];

function shape(side, x, y, r) {
  if (side === "twin") return s("rect", { class: `fill ${side}`, x: x - r, y: y - r, width: 2 * r, height: 2 * r });
  if (side === "base") {
    return s("path", { class: `fill ${side}`, d: `M${x} ${y - r - 1}l${r + 1} ${r + 1}l${-r - 1} ${r + 1}l${-r - 1} ${-r - 1}z` });
  }
  return s("circle", { class: `fill ${side}`, cx: x, cy: y, r });
}

// Organism, twin and base of one measure over one another, each with its interval; the organism's limits as lines.
export function forest(measure) {
  const points = SIDES.map((side) => [side, measure[side]]).filter(([, e]) => e && e.value !== null);
  if (!points.length) return null;
  const ends = points.flatMap(([, e]) => [e.value, e.low, e.high]).filter((x) => x !== null);
  const isShare = measure.unit === "share";
  const low = isShare ? 0 : Math.min(0, ...ends);
  const high = isShare ? 1 : Math.max(...ends, low + 1e-9);
  const at = (x) => 6 + (168 * (Math.min(high, Math.max(low, x)) - low)) / (high - low);
  const limits = measure.limits.filter((one) => one.who === "organism" && one.of === "organism");
  const label = points.map(([side, e]) => `${side} ${words(e)}`).join(", ");
  return s("svg", { class: "forest", viewBox: "0 0 180 38", role: "img", "aria-label": `${measure.label}: ${label}` },
    s("path", { class: "axis", d: `M${at(low)} 36H${at(high)}` }),
    limits.map((one) => {
      const x = at(one.at_least ?? one.at_most);
      const out = one.at_least === null ? 5 : -5; // towards the side that breaks the limit
      return s("path", { class: "limit", d: `M${x} 2V36M${x} 2h${out}M${x} 36h${out}` });
    }),
    points.map(([side, e], i) => [
      e.low === null ? null : s("path", { class: `stroke ${side}`, d: `M${at(e.low)} ${8 + 11 * i}H${at(e.high)}` }),
      shape(side, at(e.value), 8 + 11 * i, 3.6),
    ]));
}

function ticks(high) {
  const step = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000].find((n) => high / n <= 5) ?? high;
  return Array.from({ length: Math.floor(high / step) + 1 }, (_, i) => i * step);
}

// Lines over steps. Each line: {side, dash, label, points: [{x, value, low, high}]}.
export function lines(title, series, { share: isShare = true, unit = "steps" } = {}) {
  const every = series.flatMap((one) => one.points).filter((p) => p.value !== null && p.value !== undefined);
  if (!every.length) return h("p", { class: "muted" }, `${title}: not measured`);
  const right = Math.max(...every.map((p) => p.x), 1);
  const top = isShare ? 1 : Math.max(...every.map((p) => p.value)) * 1.05 || 1;
  const X = (x) => 38 + (252 * x) / right;
  const Y = (y) => 132 - (118 * Math.min(top, Math.max(0, y))) / top;
  const grid = isShare ? [0, 0.5, 1] : [0, top / 2, top];
  const trace = (points) => points.map((p, i) => `${i ? "L" : "M"}${X(p.x).toFixed(1)} ${Y(p.value).toFixed(1)}`).join("");
  const label = series.map((one) => `${one.label}: ${one.points.filter((p) => p.value !== null)
    .map((p) => `${share(p.value)} after ${p.x}`).filter((_, i, all) => i === 0 || i === all.length - 1).join(", ")}`);
  const picture = s("svg", { class: "lines", viewBox: "0 0 300 168", role: "img", "aria-label": `${title}. ${label.join(". ")}` },
    grid.map((y) => [
      s("path", { class: "grid", d: `M38 ${Y(y)}H290` }),
      s("text", { x: 33, y: Y(y) + 4, "text-anchor": "end" }, isShare ? String(y) : y.toFixed(y < 10 ? 1 : 0)),
    ]),
    ticks(right).map((x) => s("text", { x: X(x), y: 149, "text-anchor": "middle" }, String(x))),
    s("text", { x: 290, y: 165, "text-anchor": "end" }, unit),
    series.map((one) => {
      const points = one.points.filter((p) => p.value !== null && p.value !== undefined);
      const band = points.filter((p) => p.low !== null && p.low !== undefined);
      const back = [...band].reverse().map((p) => `L${X(p.x).toFixed(1)} ${Y(p.low).toFixed(1)}`).join("");
      const over = band.map((p, i) => `${i ? "L" : "M"}${X(p.x).toFixed(1)} ${Y(p.high).toFixed(1)}`).join("");
      return [
        band.length > 1 ? s("path", { class: `band ${one.side}`, d: `${over}${back}z` }) : null,
        s("path", { class: `line ${one.side}`, d: trace(points), "stroke-dasharray": one.dash ?? null }),
        points.length > 40 ? null : points.map((p) => shape(one.side, X(p.x), Y(p.value), 2.6)),
      ];
    }));
  return h("figure", { class: "chart" }, h("figcaption", null, title), picture);
}

// Suspicions of one cell: a row for each side, a dot for each suspect that leads to what it said.
export function strips(cell, hrefOf) {
  const every = cell.strips.flatMap((one) => one.dots.map((dot) => dot.x));
  if (!every.length) return null;
  const low = Math.min(...every);
  const span = Math.max(...every) - low || 1;
  const width = innerWidth < 760 ? 360 : 760; // a dot is as large on a phone as on a desk
  const at = (x) => 12 + ((width - 24) * (x - low)) / span;
  const rows = cell.strips.map((strip, row) => {
    const stacks = new Map();
    const y = 36 + 48 * row;
    const dots = strip.dots.map((dot) => {
      const bin = Math.round(at(dot.x) / 9);
      const place = stacks.get(bin) ?? 0;
      stacks.set(bin, place + 1);
      const up = (place % 2 ? -1 : 1) * Math.ceil(place / 2) * 5;
      const mark = s("circle", { class: `dot ${strip.side}`, cx: at(dot.x), cy: y + Math.max(-12, Math.min(12, up)), r: 5.5 });
      const name = `${strip.side}: ${dot.model || "a model that the room does not name"}, suspicion ${dot.x.toPrecision(3)}`;
      const href = dot.model ? hrefOf(dot.model) : null;
      return href
        ? s("a", { href, "aria-label": name }, s("title", null, name), mark)
        : s("g", null, s("title", null, name), mark);
    });
    return [s("text", { x: 6, y: y - 18, "aria-hidden": "true" }, `${strip.side} (${strip.dots.length})`), s("path", { class: "rail", d: `M6 ${y}H${width - 6}` }), dots];
  });
  const height = 54 + 48 * (cell.strips.length - 1);
  const limit = cell.threshold === null ? null
    : s("path", { class: "limit", d: `M${at(cell.threshold)} 2V${height - 2}` });
  return s("svg", { class: "strips", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `Suspicions on ${cell.recipe}` }, limit, rows);
}
