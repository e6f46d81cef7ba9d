// The end of a deep link: one episode of a card, or what a detector asked one suspect.

import { get } from "./api.js";
import { h, link } from "./dom.js";
import { count } from "./figures.js";
import { answer, exchange, turns } from "./episodes.js";

const SOME = 20;

export async function showEpisode([key, slug, number], ctx) {
  const page = await get(`episodes/${key}/${slug}`);
  const at = Number(number) - 1;
  const row = page.prompts[at];
  if (!row) throw new Error(`there is no prompt ${number}; this measure has ${page.prompts.length}`);
  const card = await get(`cards/${key}`);
  const label = card.asked.find((one) => one.slug === slug)?.label ?? page.measure;
  const to = (n) => `#/episode/${key}/${slug}/${n}`;
  return {
    title: `${label}, prompt ${number}`,
    content: [
      h("h1", null, `${label}, prompt ${count(at + 1)}`),
      h("p", { class: "muted" }, `Of ${card.recipe}, seed ${card.seed}: `, link(`#/organism/${card.organism}?card=${key}&measure=${slug}`, card.organism)),
      exchange(row, { label: `Prompt ${at + 1} of ${page.prompts.length}`, heading: "h2" }),
      h("nav", { class: "pager", "aria-label": "Episodes" },
        at > 0 ? link(to(at), "Previous") : h("span", { class: "muted" }, "Previous"),
        at + 1 < page.prompts.length ? link(to(at + 2), "Next") : h("span", { class: "muted" }, "Next")),
    ],
  };
}

export async function showSuspect([key, model], ctx) {
  let page;
  try {
    page = await get(`suspects/${key}/${model}`);
  } catch (error) {
    if (ctx.room.mode !== "bundle" || error.status !== 404) throw error;
    page = { detector: (await get(`cells/${key}`)).name, model, prompts: [] };
  }
  const rows = (list) => list.map((row) => h("article", { class: "exchange", "data-item": true, tabindex: "-1", "aria-label": `Question ${row.n + 1}` },
    h("header", null, h("h2", null, `Question ${row.n + 1}`)), turns(row.messages),
    h("dl", { class: "answers one" }, answer("suspect", "base", row.answers.suspect))));
  const place = h("div", null, rows(page.prompts.slice(0, SOME)));
  const more = page.prompts.length > SOME && h("button", { type: "button", class: "more", onclick: (event) => {
    place.append(...rows(page.prompts.slice(SOME)));
    event.target.remove();
  } }, `Show all ${count(page.prompts.length)}`);
  return {
    title: `${page.detector} on ${model}`,
    content: [
      h("h1", null, `What ${page.detector} asked ${model}`),
      h("p", { class: "verbs" }, link(`#/cells/${key}`, `All suspects of ${page.detector}`), link(`#/organism/${model}`, "Who it was")),
      page.prompts.length ? null : h("p", { class: "muted" }, "This detector asked it nothing in words: it reads weights, activations or log-probabilities."),
      place, more || null,
    ],
  };
}
