// What grows just now, asked again every two seconds: a checkpoint is written every few rounds, so nothing comes faster.
// It asks and is not sent to, for an event source cannot bear the token of an encrypted room in a header.

import { get } from "./api.js";
import { announce, h, table } from "./dom.js";
import { lines } from "./charts.js";
import { count } from "./figures.js";

const EVERY = 2000;

function job(one) {
  const title = one.recipe ? `${one.recipe}, seed ${one.seed}${one.dose === 0 ? ", twin" : ""}` : one.id;
  const text = one.total ? `${count(one.steps)} of ${count(one.total)} steps` : `${count(one.steps)} steps`;
  const bar = one.total
    ? h("progress", { max: one.total, value: Math.min(one.steps, one.total), "aria-label": title })
    : null;
  return h("li", { "data-item": true, tabindex: "-1" }, h("h3", null, title), h("p", { class: "muted" }, h("code", null, one.id), ` ${text}`), bar,
    one.loss.length > 1 ? lines("Training loss", [{ side: one.dose === 0 ? "twin" : "organism", label: "loss", points: one.loss }], { share: false }) : null);
}

function draw(page) {
  const groups = page.groups.map((group) => [
    h("h2", null, `A run of ${count(group.jobs.length)}, after ${count(group.rounds)} rounds`),
    h("ul", { class: "jobs" }, group.jobs.slice(0, 24).map(job)),
    group.jobs.length > 24 ? h("p", { class: "muted" }, `and ${count(group.jobs.length - 24)} more`) : null]);
  const rows = [...page.log].reverse().map((line) => [line.at.replace("T", " ").slice(0, 19), line.what, line.who, line.purpose]);
  return [
    page.groups.length ? groups : h("p", null, "Nothing grows just now. A run shows here once its first checkpoint is written."),
    h("h2", null, "Last lines of the log"),
    page.fault ? h("p", { role: "alert", class: "alert" }, page.fault) : null,
    rows.length ? table("Log", ["When (UTC)", "What", "Who", "What for"], rows) : h("p", { class: "muted" }, "The log is empty."),
  ].flat(Infinity).filter(Boolean);
}

export async function show(_, ctx) {
  let page = await get("growth");
  let isOn = true;
  const place = h("div", null, draw(page));
  const sum = h("p", { class: "muted" });
  const sign = () => { sum.textContent = `${count(page.organisms)} organisms in the room, ${page.groups.length} runs under way.`; };
  sign();
  const ask = async () => {
    if (!isOn || document.hidden || place.contains(document.activeElement)) return; // do not pull the ground from under a reader
    try {
      const next = await get("growth");
      if (next.organisms !== page.organisms) announce(`${next.organisms - page.organisms} organisms more`);
      if (JSON.stringify(next) === JSON.stringify(page)) return;
      page = next;
      place.replaceChildren(...draw(page));
      sign();
    } catch (error) {
      sum.textContent = error.message;
    }
  };
  const timer = setInterval(ask, EVERY);
  ctx.onLeave(() => clearInterval(timer));
  const pause = h("button", { type: "button", "aria-pressed": "false", onclick: (event) => {
    isOn = !isOn;
    event.target.setAttribute("aria-pressed", String(!isOn));
  } }, "Pause");
  return { title: "Growth", content: [h("h1", null, "What grows"), h("div", { class: "bar" }, sum, pause), place] };
}
