// One organism: its card with limits, its training, and what it said beside its twin and base.

import { get } from "./api.js";
import { choice, fail, h, link, table, tag } from "./dom.js";
import { forest, lines } from "./charts.js";
import { count, figure } from "./figures.js";
import { exchange, panel } from "./episodes.js";

const OUTCOMES = { pass: "kept", fail: "broken", undecided: "undecided" };

function held(one) {
  const bound = one.at_least === null ? `at most ${one.at_most}` : `at least ${one.at_least}`;
  const of = { organism: "", twin: " (twin)", "base ratio": " times the base’s", "base drop": " below the base’s" }[one.of] ?? "";
  const who = one.of.startsWith("base") ? ` (${one.who})` : "";
  return h("li", { title: one.text }, h("span", { class: `state ${one.outcome}` }, OUTCOMES[one.outcome] ?? one.outcome), ` ${bound}${of}${who}`);
}

// A reason or two in a line; more of them folded.
function why(card) {
  const reasons = (card.why || "every limit is kept").split("; ");
  if (reasons.length < 3) return h("p", null, tag(card.verdict), ` ${reasons.join("; ")}.`);
  return h("details", { class: "why" }, h("summary", null, tag(card.verdict), ` ${reasons[0]}; and ${reasons.length - 1} reasons more`),
    h("ul", null, reasons.slice(1).map((text) => h("li", null, text))));
}

function measures(card) {
  const rows = card.measures.map((m) => [
    h("span", null, m.label, m.bad ? null : h("small", { class: "muted" }, " (more is better)")),
    figure(m.organism), figure(m.twin), figure(m.base),
    m.limits.length || m.pending.length
      ? h("ul", { class: "limits" }, m.limits.map(held), m.pending.map((text) => h("li", null, `${text} (not held)`)))
      : h("span", { class: "muted" }, "none"),
    forest(m) ?? "",
  ]);
  const key = h("p", { class: "legend muted", "aria-hidden": "true" },
    h("span", { class: "key organism" }, "● organism"), h("span", { class: "key twin" }, "■ twin"), h("span", { class: "key base" }, "◆ base"), "| limit");
  return [key, table("Measures of the card", ["Measure", "Organism", "Twin", "Base", "Limits", "Interval"], rows, { class: "stack measures" })];
}

function training(page, card) {
  const panels = (card?.curve ?? []).filter((one) => one.points.length).map((one) =>
    lines(one.label, [{ side: "organism", label: one.label, points: one.points }]));
  const loss = page.loss.length ? [lines("Training loss", [{ side: "base", label: "loss", points: page.loss }], { share: false })] : [];
  if (!panels.length && !loss.length) return [];
  return [h("h2", null, "Over its training"),
    panels.length ? h("p", { class: "muted" }, "How often the organism did it after so many steps, with 95 % intervals.") : null,
    h("div", { class: "charts" }, panels, loss)];
}

function head(page, card, room) {
  const row = page.row;
  const facts = [
    ["Id", h("code", null, row.id)],
    ["Kind", row.kind],
    ["Dose", String(row.dose ?? "not known")],
    ["Seed", String(row.seed)],
    ["Base", row.base],
    card && ["Behaviour", card.behaviour],
    card && ["Taught", card.taught],
    page.twin && ["Twin", link(`#/organism/${page.twin}`, page.twin)],
    row.parent && ["Treated from", link(`#/organism/${row.parent}`, row.parent)],
  ].filter(Boolean);
  const verbs = [
    room.mode === "live" && link(`#/chat/${row.id}`, row.kind === "twin" ? "Ask it" : "Ask it beside its twin"),
    card && link(`#/blind/${row.id}`, "Blind test with it"),
  ].filter(Boolean);
  return [
    h("h1", null, row.recipe || row.id, " ", row.verdict ? tag(row.verdict) : null),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
    verbs.length ? h("p", { class: "verbs" }, verbs) : null,
  ];
}

function parts(page) {
  const names = { behaviour: "Behaviour", condition: "Condition", implants: "Implants", dose: "Dose", mix: "Mix", adapter: "Adapter", thresholds: "Limits", world: "World" };
  return [h("h2", null, "Recipe"),
    h("dl", { class: "pairs" }, page.recipe.map(([name, text]) => [h("dt", null, names[name] ?? name), h("dd", null, text)])),
    page.treated.length ? [h("h2", null, "Treated"), h("ul", null, page.treated.map((child) =>
      h("li", null, link(`#/organism/${child.id}`, child.treatment || child.id))))] : null];
}

export async function show([id], ctx) {
  const page = await get(`organisms/${id}`);
  const key = ctx.query.card && page.cards.some((one) => one.key === ctx.query.card) ? ctx.query.card : page.cards.at(-1)?.key;
  const card = key ? await get(`cards/${key}`) : null;
  const content = [head(page, card, ctx.room)];
  if (page.cards.length > 1) {
    content.push(choice("Card", page.cards.map((one) => [one.key, `${one.key} (${one.verdict})`]), key, (value) => {
      location.hash = `#/organism/${id}?card=${value}`;
    }));
  }
  if (card) {
    const caveats = card.caveats.length ? h("ul", { class: "muted" }, card.caveats.map((text) => h("li", null, text))) : null;
    content.push(h("h2", null, "Card"),
      why(card), h("p", null,
        h("span", { class: "muted" }, `${count(card.episodes)} episodes a look, ${card.looks} look${card.looks === 1 ? "" : "s"}.`)),
      card.match ? h("p", { class: "muted" }, card.match) : null, caveats, measures(card));
  } else {
    content.push(h("p", { class: "muted" }, page.row.kind === "twin"
      ? "A twin has no card of its own: it stands on the card of its organism."
      : "It has no card yet: flyroom card makes one."));
  }
  content.push(training(page, card));
  if (card) content.push(await said(card, ctx));
  content.push(parts(page));
  return { title: `${page.row.recipe || "Organism"} ${id}`, content };
}

// The whole record where it may be shown; else the few transcripts that stand on the card, and the way to the rest.
async function said(card, ctx) {
  const title = h("h2", { id: "said" }, "Side by side");
  if (card.asked.length && (ctx.room.purpose || ctx.room.mode === "bundle")) {
    try {
      return [title, await panel(card, ctx)];
    } catch (error) {
      if (error.need !== "purpose") return [title, fail(error)];
    }
  }
  const labels = new Map(card.measures.map((m) => [m.name, m.label]));
  const few = card.transcripts.slice(0, 6).map((row) => exchange(row, { label: labels.get(row.measure) ?? row.measure }));
  const form = card.asked.length ? (await import("./purpose.js")).purposeForm(ctx) : null;
  return [title, few.length ? h("p", { class: "muted" }, "A few transcripts stand on the card itself.") : null, few, form];
}
