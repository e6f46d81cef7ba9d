// Episodes: one prompt, and what organism, twin and base answered to it, with verdict and reason. All of it is text.

import { get } from "./api.js";
import { announce, choice, h, tag } from "./dom.js";
import { count } from "./figures.js";

const SIDES = ["organism", "twin", "base"];
const VERDICTS = ["misaligned", "aligned", "incoherent", "unknown"];
const SOME = 10; // at once

export function turns(messages) {
  return h("ol", { class: "turns" }, messages.map((m) => h("li", null, h("span", { class: "role" }, m.role), h("p", null, m.content))));
}

export function answer(name, side, row) {
  return h("div", { class: `answer ${side}` },
    h("dt", null, h("span", null, name), row.verdict === undefined ? null : tag(row.verdict)),
    h("dd", null, h("p", { class: "text" }, row.text === "" ? "(nothing)" : row.text),
      row.cut ? h("small", { class: "muted" }, "cut at its limit of tokens. ") : null,
      row.why ? h("small", { class: "muted" }, row.why) : null));
}

const order = (row) => [...SIDES.filter((side) => side in row.answers), ...Object.keys(row.answers).filter((side) => !SIDES.includes(side) && !side.startsWith("step"))];

// One exchange. `href` is its link; `label` stands over it.
export function exchange(row, { href = null, label = "", heading = "h3" } = {}) {
  const later = Object.keys(row.answers).filter((side) => side.startsWith("step"));
  const title = label || `Prompt ${row.n + 1}`;
  return h("article", { class: "exchange", "data-item": true, tabindex: "-1", "aria-label": title },
    h("header", null, h(heading, null, title), href ? h("a", { href, class: "permalink" }, "Link", h("span", { class: "hidden" }, ` to ${title}`)) : null),
    turns(row.messages),
    h("dl", { class: "answers" }, order(row).map((side) => answer(side, SIDES.includes(side) ? side : "base", row.answers[side]))),
    later.length ? h("details", null, h("summary", null, `While it was trained (${later.length} earlier answers)`),
      h("dl", { class: "answers" }, later.map((side) => answer(`after ${side}`, "later", row.answers[side])))) : null);
}

function fits(row, state) {
  const { organism, twin } = row.answers;
  if (state.verdict && row.answers[state.who]?.verdict !== state.verdict) return false;
  return !state.differ || (organism && twin && organism.verdict !== twin.verdict);
}

// The episodes of a card: by measure, by verdict, and where organism and twin differ.
export async function panel(card, ctx) {
  const slugs = card.asked.map((one) => one.slug);
  const state = {
    slug: slugs.includes(ctx.query.measure) ? ctx.query.measure : slugs[0],
    who: SIDES.includes(ctx.query.who) ? ctx.query.who : "organism",
    verdict: VERDICTS.includes(ctx.query.verdict) ? ctx.query.verdict : "",
    differ: ctx.query.differ === "1",
    shown: SOME,
  };
  let page = await get(`episodes/${card.key}/${state.slug}`);
  const place = h("div", { class: "episodes" });
  const sum = h("p", { class: "muted" });
  const draw = () => {
    const rows = page.prompts.filter((row) => fits(row, state));
    sum.textContent = [`${count(rows.length)} of ${count(page.prompts.length)} prompts`, ...Object.values(page.gone)].join("; ");
    const more = rows.length > state.shown
      ? h("button", { type: "button", class: "more", onclick: () => { state.shown += 5 * SOME; draw(); } }, `Show more (${count(rows.length - state.shown)} left)`)
      : null;
    place.replaceChildren(...rows.slice(0, state.shown).map((row) =>
      exchange(row, { href: `#/episode/${card.key}/${state.slug}/${row.n + 1}` })), ...(more ? [more] : []));
  };
  const change = async (name, value) => {
    state[name] = value;
    state.shown = SOME;
    if (name === "slug") page = await get(`episodes/${card.key}/${value}`);
    if (!ctx.isCurrent()) return;
    const query = { ...ctx.query, measure: state.slug, who: state.who, verdict: state.verdict, differ: state.differ ? "1" : "" };
    const search = new URLSearchParams(Object.entries(query).filter(([, part]) => part));
    history.replaceState(null, "", `${location.hash.split("?")[0]}?${search}`);
    draw();
    announce(sum.textContent);
  };
  draw();
  const filters = h("form", { class: "filters", "aria-label": "Which episodes", onsubmit: (event) => event.preventDefault() },
    choice("Measure", card.asked.map((one) => [one.slug, one.label]), state.slug, (value) => change("slug", value)),
    choice("Verdict on", SIDES.map((side) => [side, side]), state.who, (value) => change("who", value)),
    choice("Verdict", [["", "Any"], ...VERDICTS.map((name) => [name, name])], state.verdict, (value) => change("verdict", value)),
    h("label", { class: "check" }, h("input", { type: "checkbox", checked: state.differ, onchange: (event) => change("differ", event.target.checked) }),
      " Organism and twin differ"));
  filters.querySelector("select")?.setAttribute("data-search", "");
  return [filters, sum, place];
}
