// Detectors x recipes, and under it every suspicion as a dot that leads to what the suspect said.

import { get } from "./api.js";
import { choice, h, link, table } from "./dom.js";
import { strips } from "./charts.js";
import { count, figure, share, words } from "./figures.js";

function field(detector, recipe) {
  const cell = detector.cells.find((one) => one.recipe === recipe);
  if (!cell) return "";
  if (!cell.auroc || cell.auroc.value === null) return h("span", { class: "muted" }, cell.state || "no figure");
  const value = cell.auroc.value;
  const tint = Math.round(Math.min(1, Math.abs(value - 0.5) * 2) * 5);
  return h("a", { class: `cell ${value >= 0.5 ? "hot" : "cold"} t${tint}`, href: `#/cells/${detector.key}?recipe=${encodeURIComponent(recipe)}`,
    "aria-label": `${detector.name} on ${recipe}: AUROC ${words(cell.auroc)}` },
  h("b", null, share(value)), h("small", null, `${share(cell.auroc.low)} to ${share(cell.auroc.high)}`));
}

const hrefOf = (detector) => (model) => (detector.asks ? `#/suspect/${detector.key}/${model}` : `#/organism/${model}`);

async function suspicions(lineup, recipe) {
  const pages = await Promise.all(lineup.detectors.map((one) => get(`cells/${one.key}`)));
  return pages.map((page) => {
    const cell = page.cells.find((one) => one.recipe === recipe);
    const picture = cell && strips(cell, hrefOf(page));
    return h("section", { class: "suspicion", "data-item": true, "aria-label": page.name },
      h("h3", null, link(`#/cells/${page.key}`, page.name), h("small", { class: "muted" }, ` ${cell?.auroc ? `AUROC ${words(cell.auroc)}` : cell?.state ?? ""}`)),
      picture ?? h("p", { class: "muted" }, cell?.why || "no suspicions"));
  });
}

export async function show(_, ctx) {
  const page = await get("matrix");
  if (!page.lineups.length) {
    return { title: "Matrix", content: [h("h1", null, "Matrix"), h("p", { class: "muted" }, "No detector was put to this room yet: flyroom bench --all does it.")] };
  }
  const at = Math.min(page.lineups.length - 1, Math.max(0, Number(ctx.query.lineup ?? 1) - 1));
  const lineup = page.lineups[at];
  const recipe = lineup.recipes.includes(ctx.query.recipe) ? ctx.query.recipe : lineup.recipes[0];
  const rows = lineup.detectors.map((one) => [
    link(`#/cells/${one.key}`, one.name), one.unit === "model" ? "models" : "replies", one.access, ...lineup.recipes.map((name) => field(one, name))]);
  const go = (query) => { location.hash = `#/matrix?${new URLSearchParams({ lineup: String(at + 1), recipe, ...query })}`; };
  const place = h("div", { class: "suspicions", "aria-busy": "true" }, h("p", { class: "muted" }, "Loading"));
  return {
    title: "Matrix",
    content: [
      h("h1", null, "Matrix"),
      h("p", { class: "lede" }, "How well each detector told organisms from twins and decoys: AUROC with its 95 % interval, 0.5 is guessing."),
      page.lineups.length > 1 ? choice("Lineup", page.lineups.map((_one, i) => [String(i + 1), `${i + 1} of ${page.lineups.length}`]), String(at + 1), (value) => go({ lineup: value })) : null,
      table("Detectors by recipe", ["Detector", "Judges", "May touch", ...lineup.recipes], rows, { class: "matrix" }),
      h("h2", null, "Suspicions"),
      h("p", { class: "muted" }, "Each dot is a suspect, to the right the more suspicious; the dashed line is the threshold. A dot leads to what was asked of it."),
      choice("Recipe", lineup.recipes.map((name) => [name, name]), recipe, (value) => go({ recipe: value })),
      place,
    ],
    after: async () => {
      const parts = await suspicions(lineup, recipe);
      if (ctx.isCurrent()) {
        place.replaceChildren(...parts);
        place.removeAttribute("aria-busy");
      }
    },
  };
}

export async function showDetector([key], ctx) {
  const page = await get(`cells/${key}`);
  const cells = [...page.cells].sort((a, b) => (b.recipe === ctx.query.recipe) - (a.recipe === ctx.query.recipe));
  const asks = page.asks ? "A dot leads to what it asked." : "It asks nothing in words; a dot leads to the model.";
  return {
    title: page.name,
    content: [
      h("h1", null, page.name),
      h("p", { class: "muted" }, `Judges ${page.unit === "model" ? "models" : "replies"}; may touch ${page.access}. ${asks}`),
      cells.map((cell) => [
        h("h2", null, cell.recipe),
        cell.summary ? h("p", null, cell.summary) : null,
        cell.state ? h("p", null, h("b", null, cell.state), cell.why ? `: ${cell.why}` : "") : null,
        h("dl", { class: "facts" }, [["AUROC", figure(cell.auroc)], ["Above the threshold", figure(cell.recall)], ["False alarms", figure(cell.fpr_twins || cell.fpr)],
          ...(cell.fpr_decoys ? [["Decoys above", figure(cell.fpr_decoys)]] : []),
          ["Tokens", count(cell.tokens)], ["Seconds", cell.seconds.toFixed(1)]].map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
        strips(cell, hrefOf(page)),
        dots(cell, page),
      ]),
    ],
  };
}

function dots(cell, page) {
  const rows = cell.strips.flatMap((strip) => strip.dots.map((dot) => [strip.side, dot])).sort((a, b) => b[1].x - a[1].x);
  if (!rows.length) return null;
  const body = rows.map(([side, dot]) => [
    dot.model ? h("a", { href: hrefOf(page)(dot.model), class: "id" }, dot.model) : "not named", side, h("span", { class: "num" }, dot.x.toPrecision(4))]);
  return h("details", null, h("summary", null, `As a table (${rows.length})`), table(`Suspicions on ${cell.recipe}`, ["Suspect", "Side", "Suspicion"], body));
}
