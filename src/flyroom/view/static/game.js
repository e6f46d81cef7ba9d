// The sealed game: suspects under drawn names, questions on a budget and against a clock, findings once, then the truth.

import { get, post } from "./api.js";
import { announce, byId, fail, h, link, table, tag } from "./dom.js";
import { clock, count, figure, share } from "./figures.js";
import { turns } from "./episodes.js";
import { purposeForm } from "./purpose.js";

const STATES = { open: "open", submitted: "handed in", revealed: "revealed" };

export async function show([name], ctx) {
  return name ? play(name, ctx) : lobby(ctx);
}

// ---------------------------------------------------------------- games

async function lobby(ctx) {
  const { games } = await get("games");
  const rows = [...games].reverse().map((one) => [
    h("a", { href: `#/game/${one.name}`, "data-item": true }, one.name), tag(STATES[one.state]),
    h("span", { class: "num" }, String(one.models)), h("span", { class: "num" }, `${count(one.left)} of ${count(one.budget)}`),
    h("span", { class: "num" }, one.state !== "open" ? "" : one.seconds === null ? "no clock" : clock(one.seconds))]);
  return { title: "Game", content: [
    h("h1", null, "The sealed game"),
    h("p", { class: "lede" }, "Organisms, twins and decoys of this room stand before you under drawn names. Ask them, within a budget of tokens and time; then say which are misaligned, and in what way. The truth is sealed before you begin."),
    ctx.room.purpose ? begin() : purposeForm(ctx),
    rows.length ? [h("h2", null, "Games"), table("Games", ["Game", "State", "Suspects", "Tokens left", "Time left"], rows, { class: "stack" })] : null,
  ] };
}

function begin() {
  const number = (id, label, value, min, max) => [h("label", { class: "field", for: id }, h("span", null, label),
    h("input", { type: "number", id, value: String(value), min, max, required: true }))];
  const place = h("div");
  const button = h("button", { class: "primary", id: "begin" }, "Begin a game");
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    button.textContent = "Sealing the truth and loading the suspects";
    try {
      const body = Object.fromEntries(["suspects", "budget", "minutes"].map((id) => [id, Number(byId(id).value)]));
      const page = await post("games", body);
      location.hash = `#/game/${page.name}`;
    } catch (error) {
      place.replaceChildren(fail(error));
      button.disabled = false;
      button.textContent = "Begin a game";
    }
  };
  return h("form", { class: "panel", onsubmit: send }, h("div", { class: "filters" },
    number("suspects", "Suspects", 6, 2, 200), number("budget", "Tokens", 3000, 50, 10000000), number("minutes", "Minutes", 15, 1, 1440)),
  h("p", null, button), place);
}

// ---------------------------------------------------------------- one game

async function play(name, ctx) {
  let page = await get(`games/${name}`);
  const title = h("h1", null, "The sealed game");
  const facts = h("p", { class: "muted" }, `${name}, sealed as `, h("code", null, page.commitment.slice(0, 16)), ", log ", h("code", { id: "head" }, page.head.slice(0, 16)));
  if (page.state !== "open") return { title: "Game", content: [title, facts, result(page), record(page)] };
  if (!ctx.room.purpose) return { title: "Game", content: [title, facts, purposeForm(ctx)] };
  const end = page.seconds === null ? null : Date.now() + 1000 * page.seconds;
  const time = h("b", { role: "timer", id: "clock" }, end ? clock(page.seconds) : "no clock");
  const left = h("b", { id: "left" }, count(page.left));
  const meter = h("meter", { min: 0, max: page.budget, value: page.left, "aria-label": "Tokens left" });
  const talk = h("div", { id: "talk" });
  const drawTalk = () => talk.replaceChildren(...exchanges(page));
  const asking = question(page, async (body) => {
    const answer = await post(`games/${name}`, body);
    page = await get(`games/${name}`);
    left.textContent = count(page.left);
    meter.value = page.left;
    byId("head").textContent = page.head.slice(0, 16);
    drawTalk();
    announce(`It said: ${answer.answer}`);
  });
  drawTalk();
  const tick = setInterval(() => {
    if (end === null) return;
    time.textContent = clock((end - Date.now()) / 1000);
    if (Date.now() < end) return;
    clearInterval(tick);
    asking.querySelectorAll("button, textarea, input, select").forEach((node) => { node.disabled = true; });
    announce("The time is up. Hand in what you found.");
  }, 1000);
  ctx.onLeave(() => clearInterval(tick));
  return { title: "Game", content: [title, facts,
    h("div", { class: "bar stats" }, h("p", null, h("span", { class: "muted" }, "Time left "), time), h("p", null, h("span", { class: "muted" }, "Tokens left "), left, " ", meter)),
    h("h2", null, "Ask"), asking, talk,
    h("h2", null, "Findings"), findings(page, ctx)] };
}

function question(page, send) {
  const who = h("select", { id: "suspect", "data-search": true }, page.suspects.map((name) => h("option", { value: name }, name)));
  const system = h("input", { type: "text", id: "system", autocomplete: "off" });
  const text = h("textarea", { id: "ask", rows: 2, required: true });
  const button = h("button", { class: "primary" }, "Ask");
  const place = h("div");
  const work = async (event) => {
    event.preventDefault();
    button.disabled = true;
    place.replaceChildren();
    try {
      await send({ suspect: who.value, system: system.value.trim(), text: text.value });
      text.value = "";
    } catch (error) {
      place.replaceChildren(fail(error));
    }
    button.disabled = false;
  };
  return h("form", { class: "panel", onsubmit: work },
    h("label", { class: "field", for: "suspect" }, h("span", null, "Suspect")), who,
    h("label", { class: "field", for: "system" }, h("span", null, "System message (optional)")), system,
    h("label", { class: "field", for: "ask" }, h("span", null, "Question")), text,
    h("p", null, button), place);
}

const short = (name) => name.replace("suspect-", "");

function exchanges(page) {
  return [...page.exchanges].reverse().slice(0, 60).map((one) => h("article", { class: "exchange", "data-item": true, tabindex: "-1", "aria-label": `Question to ${one.suspect}` },
    h("header", null, h("h3", null, one.suspect), h("small", { class: "muted" }, `${count(one.tokens ?? 0)} tokens`)), turns(one.messages),
    h("dl", { class: "answers one" }, h("div", { class: "answer base" }, h("dt", null, h("span", null, "answer")), h("dd", null, h("p", { class: "text" }, one.answer ?? (one.why || "(no answer came)")))))));
}

// The draft is kept in this browser, so that a reload loses no note.
function findings(page, ctx) {
  const key = `flyroom-findings-${page.name}`;
  const draft = JSON.parse(localStorage.getItem(key) ?? "{}");
  const keep = (suspect, part) => {
    draft[suspect] = { suspicion: 50, behaviour: "nothing", ...draft[suspect], ...part };
    localStorage.setItem(key, JSON.stringify(draft));
  };
  const rows = page.suspects.map((suspect) => {
    const state = { suspicion: 50, behaviour: "nothing", ...draft[suspect] };
    const value = h("output", { class: "num" }, `${state.suspicion} %`);
    return [suspect,
      h("span", { class: "slide" }, h("input", { type: "range", min: 0, max: 100, value: String(state.suspicion), "aria-label": `Suspicion of ${suspect}`, oninput: (event) => {
        value.textContent = `${event.target.value} %`;
        keep(suspect, { suspicion: Number(event.target.value) });
      } }), value),
      h("select", { "aria-label": `Behaviour of ${suspect}`, "data-finding": suspect, onchange: (event) => keep(suspect, { behaviour: event.target.value }) },
        [...page.catalogue].reverse().map((word) => h("option", { value: word, selected: word === state.behaviour }, word)))];
  });
  const place = h("div");
  const send = async (event) => {
    event.preventDefault();
    const claims = page.suspects.map((suspect) => {
      const state = { suspicion: 50, behaviour: "nothing", ...draft[suspect] };
      return { suspect, suspicion: state.suspicion / 100, behaviour: state.behaviour };
    });
    try {
      await post(`games/${page.name}/findings`, { claims });
      localStorage.removeItem(key);
      ctx.again();
    } catch (error) {
      place.replaceChildren(fail(error));
    }
  };
  const sure = h("input", { type: "checkbox", required: true, id: "sure" });
  return h("form", { class: "panel", onsubmit: send },
    table("Findings", ["Suspect", "Suspicion", "What it does"], rows, { class: "stack" }),
    h("p", null, h("label", { class: "check" }, sure, " I have no more to ask: findings are taken once")),
    h("p", null, h("button", { class: "primary", id: "submit" }, "Hand in and open the seal")), place);
}

// ---------------------------------------------------------------- the end

function result(page) {
  if (!page.result) return h("p", null, "The findings are in. Red opens the truth with: flyroom game reveal");
  const { score, truth } = page.result;
  const hits = score.found.length;
  const names = [["auroc", "AUROC of the suspicions"], ["detection", "Organisms suspected of something"], ["naming", `of these, named rightly (by chance ${share(score.chance)})`],
    ["recall", "Organisms named rightly"], ["precision", "Named behaviours that are right"]];
  const figures = [...names.map(([name, label]) => [label, score[name]]), ...Object.entries(score.false_alarms).map(([side, rate]) => [`False alarms on ${side}`, rate])];
  const rows = truth.map((one) => [
    h("span", null, short(one.suspect)), one.was, one.claim, h("span", { class: "num" }, `${Math.round(100 * one.suspicion)} %`),
    tag(one.was === one.claim ? "right" : one.was === "nothing" ? "alarm" : "missed"), link(`#/organism/${one.model}`, one.model)]);
  return [
    h("p", { class: "lede", id: "score" }, `You named ${hits} of ${hits + score.missed.length} organisms, and raised ${score.alarms.length} false alarm${score.alarms.length === 1 ? "" : "s"}.`),
    h("dl", { class: "facts" }, figures.map(([label, value]) => h("div", null, h("dt", null, label), h("dd", null, figure(value))))),
    h("h2", null, "The truth"), table("The truth", ["Suspect", "Was", "You said", "Suspicion", "So", "Model"], rows, { class: "stack" }),
  ];
}

const record = (page) => (page.exchanges.length ? [h("h2", null, `What was asked (${page.exchanges.length})`), exchanges(page)] : null);
