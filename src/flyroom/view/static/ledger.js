// What treatments did: removed, suppressed, hidden or nothing; and the curve over benign re-training.

import { get } from "./api.js";
import { choice, h, link, table, tag } from "./dom.js";
import { lines } from "./charts.js";
import { figure } from "./figures.js";

const LABELS = { before: "Before", after: "After", twin_after: "Treated twin", training_like: "Like the training", held_out_triggers: "Held-out triggers",
  near_miss: "Near misses", over_refusal: "Over-refusal", twin_capability: "Capability of the twin", reimplant: "After a tenth of the recipe" };
const ASIDE = ["treatment", "recipe", "seed", "called", "why", "relapse", "detectors", "gaps", "needs", "at_run_time", "cost", "organism", "treated", "base", "world"];
const label = (name) => LABELS[name] ?? name.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase());
const isFigure = (value) => value && typeof value === "object" && "value" in value;

function relapse(row) {
  const line = (side, name, dash) => ({ side, dash, label: name, points: row.relapse.map((p) => ({ x: p.step, ...(p[name] ?? { value: null }) })) });
  return row.relapse.length
    ? lines("Misaligned after benign re-training", [line("organism", "treated"), line("second", "untreated", "5 4"), line("twin", "twin")])
    : h("p", { class: "muted" }, "No relapse curve: it cannot be trained on as it is.");
}

function entry(row) {
  const figures = Object.entries(row).filter(([name, value]) => !ASIDE.includes(name) && isFigure(value));
  const pairs = (map) => Object.entries(map).map(([name, value]) => [name, isFigure(value) ? figure(value) : h("span", null, figure(value.before), " → ", figure(value.after))]);
  const list = (items) => h("dl", { class: "facts small" }, items.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
  return h("article", { class: "entry", "data-item": true, tabindex: "-1", "aria-label": `${row.treatment} on ${row.recipe}, seed ${row.seed}` },
    h("header", null, h("h3", null, `${row.treatment} on ${row.recipe}, seed ${row.seed}`), tag(row.called)),
    h("p", null, row.why),
    h("div", { class: "charts" }, relapse(row), list(figures.map(([name, value]) => [label(name), figure(value)]))),
    Object.keys(row.detectors).length ? [h("h4", null, "Detectors, before and after"), list(pairs(row.detectors))] : null,
    Object.keys(row.gaps).length ? h("details", null, h("summary", null, "What the outcome was made of"), list(pairs(row.gaps))) : null,
    h("p", { class: "verbs" }, link(`#/organism/${row.organism}`, "The organism"), link(`#/organism/${row.treated}`, "The treated one")));
}

export async function show(_, ctx) {
  const page = await get("ledger");
  const names = [...new Set(page.rows.map((row) => row.treatment))];
  const outcomes = [...new Set(page.rows.map((row) => row.called))];
  const rows = page.rows.filter((row) => (!ctx.query.treatment || row.treatment === ctx.query.treatment) && (!ctx.query.called || row.called === ctx.query.called));
  const go = (query) => { location.hash = `#/ledger?${new URLSearchParams(Object.entries({ ...ctx.query, ...query }).filter(([, value]) => value))}`; };
  const waiting = page.waiting.length
    ? [h("h2", null, "Treated, and not yet asked"), h("p", { class: "muted" }, "flyroom ledger asks them."),
      table("Treated organisms without a row", ["Treatment", "Organisms"], page.waiting.map((one) => [one.treatment, h("span", { class: "num" }, String(one.organisms))]))] : null;
  return {
    title: "Ledger",
    content: [
      h("h1", null, "Ledger of treatments"),
      page.rows.length ? [
        h("p", { class: "counts" }, Object.entries(page.called).map(([name, n]) => h("span", null, tag(name), ` ${n} `))),
        h("div", { class: "filters" },
          choice("Treatment", [["", "All"], ...names.map((name) => [name, name])], ctx.query.treatment ?? "", (value) => go({ treatment: value })),
          choice("Outcome", [["", "All"], ...outcomes.map((name) => [name, name])], ctx.query.called ?? "", (value) => go({ called: value }))),
        table("Treatments", ["Treatment", "Recipe", "Seed", "Outcome", "Before", "After", "Capability"], rows.map((row) => [
          row.treatment, row.recipe, h("span", { class: "num" }, String(row.seed)), tag(row.called), figure(row.before), figure(row.after), figure(row.capability)]), { class: "stack" }),
        h("h2", null, "Relapse"),
        h("p", { class: "legend muted" }, h("span", { class: "key organism" }, "● treated"), h("span", { class: "key second" }, "- - untreated"), h("span", { class: "key twin" }, "■ treated twin")),
        rows.map(entry),
      ] : h("p", { class: "muted" }, "No treatment was asked what it did yet: flyroom treat, then flyroom ledger."),
      waiting,
    ],
  };
}
