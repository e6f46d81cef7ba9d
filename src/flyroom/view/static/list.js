// The organisms of the room, with filters. The app pages on the server; a bundle has all rows in one file.

import { get } from "./api.js";
import { announce, choice, h, link, table, tag } from "./dom.js";
import { count } from "./figures.js";

const NAMES = { recipe: "Recipe", kind: "Kind", verdict: "Verdict", base: "Base", seed: "Seed" };
const SIZE = 50;
let rows = null; // of a bundle

const text = (row) => `${row.id} ${row.recipe} ${row.kind} ${row.base} ${row.verdict} ${row.treatment} ${row.parent} seed=${row.seed} dose=${row.dose}`.toLowerCase();

function fits(row, query) {
  return Object.keys(NAMES).every((name) => {
    const want = query[name];
    if (!want || String(row[name]) === want) return true;
    return name === "verdict" && ((want === "any" && row.verdict) || (want === "none" && !row.verdict));
  }) && (query.text ?? "").toLowerCase().split(/\s+/).filter(Boolean).every((word) => text(row).includes(word));
}

export async function find(room, query) {
  if (room.mode === "live") return get("organisms", { size: SIZE, ...query });
  rows ??= (await get("organisms")).rows;
  const hits = rows.filter((row) => fits(row, query));
  const page = Number(query.page ?? 1);
  const size = Number(query.size ?? SIZE);
  return { total: hits.length, page, size, rows: hits.slice((page - 1) * size, page * size) };
}

const address = (query) => {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#/${search ? `?${search}` : ""}`;
};

function draw(answer, query) {
  const pages = Math.max(1, Math.ceil(answer.total / answer.size));
  const body = answer.rows.map((row) => [
    h("a", { href: `#/organism/${row.id}`, "data-item": true, class: "id" }, row.id),
    row.recipe,
    h("span", { class: `kind ${row.kind}` }, row.treatment ? `${row.kind}: ${row.treatment}` : row.kind),
    h("span", { class: "num" }, String(row.dose ?? "")),
    h("span", { class: "num" }, String(row.seed ?? "")),
    row.base,
    row.verdict ? tag(row.verdict) : h("span", { class: "muted" }, "no card"),
  ]);
  const to = (page) => address({ ...query, page: page === 1 ? "" : String(page) });
  return [
    answer.total
      ? table("Organisms", ["Id", "Recipe", "Kind", "Dose", "Seed", "Base", "Card"], body, { class: "stack compact" })
      : h("p", { class: "muted" }, "Nothing fits these filters."),
    pages > 1 && h("nav", { class: "pager", "aria-label": "Pages of the list" },
      answer.page > 1 ? link(to(answer.page - 1), "Previous") : h("span", { class: "muted" }, "Previous"),
      h("span", null, `${count(answer.page)} of ${count(pages)}`),
      answer.page < pages ? link(to(answer.page + 1), "Next") : h("span", { class: "muted" }, "Next")),
  ];
}

const say = (n) => `${count(n)} organism${n === 1 ? "" : "s"}`;

export async function show(_, ctx) {
  const query = { ...ctx.query };
  let answer = await find(ctx.room, query);
  const place = h("div", null, draw(answer, query));
  const sum = h("p", { class: "muted", id: "sum" }, say(answer.total));
  let wait = 0;
  const change = (name, value) => {
    query[name] = value;
    delete query.page;
    clearTimeout(wait);
    wait = setTimeout(async () => {
      answer = await find(ctx.room, query);
      if (!ctx.isCurrent()) return;
      history.replaceState(null, "", address(query));
      place.replaceChildren(...draw(answer, query).filter(Boolean));
      sum.textContent = say(answer.total);
      announce(say(answer.total));
    }, 120);
  };
  const options = (name) => [
    ["", "All"],
    ...(name === "verdict" ? [["any", "Any card"], ["none", "No card"]] : []),
    ...ctx.room.facets[name].filter(([value]) => value !== "" && value !== null).map(([value, n]) => [String(value), `${value} (${count(n)})`]),
  ];
  const search = h("label", { class: "field search" }, h("span", null, "Search"),
    h("input", { type: "search", "data-search": true, value: query.text ?? "", placeholder: "id, recipe, seed=3", oninput: (event) => change("text", event.target.value) }));
  const filters = h("form", { class: "filters", role: "search", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() },
    search,
    Object.entries(NAMES).map(([name, label]) => choice(label, options(name), query[name] ?? "", (value) => change(name, value))));
  return { title: "Organisms", content: [h("h1", null, "Organisms"), filters, sum, place] };
}
