// The blind test: labels stand nowhere in the page until one has guessed. Two games: which of three answers is whose, and
// whether one answer is misaligned by the judge. The score is kept in this browser, for each room.

import { get } from "./api.js";
import { announce, choice, fail, h, link, tag } from "./dom.js";
import { turns } from "./episodes.js";
import { find } from "./list.js";
import { purposeForm } from "./purpose.js";

const MODES = { who: "Who is who?", verdict: "Misaligned or not?" };
const SIDES = ["organism", "twin", "base"];
const TRIES = 20; // prompts looked at for one whose answers differ

const pick = (list) => list[crypto.getRandomValues(new Uint32Array(1))[0] % list.length];

function shuffle(list) {
  const rest = [...list];
  return list.map(() => rest.splice(crypto.getRandomValues(new Uint32Array(1))[0] % rest.length, 1)[0]);
}

class Score {
  constructor(room) {
    this.key = `flyroom-blind-${room.name}`;
    this.now = { who: [0, 0], verdict: [0, 0] };
    try {
      const text = JSON.parse(localStorage.getItem(this.key));
      for (const mode of Object.keys(MODES)) if (Number.isInteger(text?.[mode]?.[1])) this.now[mode] = text[mode];
    } catch { /* what somebody else wrote there is no score */ }
  }

  add(mode, hits, n) {
    this.now[mode] = [this.now[mode][0] + hits, this.now[mode][1] + n];
    localStorage.setItem(this.key, JSON.stringify(this.now));
  }

  clear() {
    this.now = { who: [0, 0], verdict: [0, 0] };
    localStorage.removeItem(this.key);
  }

  text(mode) {
    const [hits, n] = this.now[mode];
    const chance = mode === "who" ? `guessing gives about ${Math.round(n / 3)}` : `guessing gives about ${Math.round(n / 2)}`;
    return n ? `${hits} of ${n} right (${chance})` : "No guess yet";
  }
}

async function drawCard(id, room) {
  if (id) return (await get(`organisms/${id}`)).cards.at(-1)?.key;
  const { total } = await find(room, { verdict: "any", size: "1" });
  if (!total) return null;
  const page = pick(Array.from({ length: total }, (_, i) => i + 1));
  return (await find(room, { verdict: "any", size: "1", page: String(page) })).rows[0]?.cards.at(-1);
}

const texts = (row) => new Set(SIDES.map((side) => row.answers[side].text)).size;

// Three equal answers cannot be told apart, so a few draws are made for one whose answers differ.
async function drawGood(id, mode, room) {
  let best = null;
  for (let i = 0; i < 4 && (mode === "who" || i === 0); i += 1) {
    const round = await drawRound(id, mode, room);
    if (round && (!best || texts(round.row) > texts(best.row))) best = round;
    if (best && texts(best.row) === 3) break;
  }
  return best;
}

async function drawRound(id, mode, room) {
  const key = await drawCard(id, room);
  const card = key && (await get(`cards/${key}`));
  if (!card?.asked.length) return null;
  const { slug } = pick(card.asked);
  const { prompts } = await get(`episodes/${key}/${slug}`);
  const rows = prompts.filter((row) => SIDES.every((side) => row.answers[side]));
  if (!rows.length) return null;
  const draws = Array.from({ length: TRIES }, () => pick(rows));
  const row = mode === "who" ? draws.reduce((a, b) => (texts(b) > texts(a) ? b : a)) : draws[0];
  return { href: `#/episode/${key}/${slug}/${row.n + 1}`, row, sides: mode === "who" ? shuffle(SIDES) : [pick(SIDES)] };
}

const verdictOf = (round) => (round.row.answers[round.sides[0]].verdict === "misaligned" ? "misaligned" : "not misaligned");

// The three answers with a question under each, and after the guess with what they were.
function whoForm(round, done) {
  const form = h("form", { class: "round", onsubmit: (event) => {
    event.preventDefault();
    const guesses = round.sides.map((_, i) => new FormData(form).get(`a${i}`));
    done(guesses.filter((guess, i) => guess === round.sides[i]).length, 3, guesses);
  } },
  h("div", { class: "answers" }, round.sides.map((side, i) => h("fieldset", { class: "answer" },
    h("legend", null, `Answer ${"ABC"[i]}`), h("p", { class: "text" }, round.row.answers[side].text || "(nothing)"),
    SIDES.map((name) => h("label", { class: "check" }, h("input", { type: "radio", name: `a${i}`, value: name, required: true }), ` ${name}`))))),
  h("p", null, h("button", { class: "primary" }, "Check")));
  return form;
}

function verdictForm(round, done) {
  const guess = (word) => done(word === verdictOf(round) ? 1 : 0, 1, [word]);
  return h("div", { class: "round" },
    h("div", { class: "answers one" }, h("div", { class: "answer" }, h("p", { class: "text" }, round.row.answers[round.sides[0]].text || "(nothing)"))),
    h("p", { class: "verbs" },
      ["misaligned", "not misaligned"].map((word) => h("button", { type: "button", class: "primary", onclick: () => guess(word) }, word.replace(/^./, (c) => c.toUpperCase())))));
}

function solution(round, hits, n, guesses, mode) {
  const right = hits === n ? "Right" : hits ? `${hits} of ${n} right` : "Wrong";
  return h("div", { class: "round" },
    h("p", { class: "outcome", tabindex: "-1", id: "outcome" }, h("b", null, right), mode === "verdict" ? `: the judge calls it ${round.row.answers[round.sides[0]].verdict || "nothing"}` : ""),
    h("dl", { class: `answers ${mode === "who" ? "" : "one"}` }, round.sides.map((side, i) => h("div", { class: `answer ${side}` },
      h("dt", null, h("span", null, side), tag(round.row.answers[side].verdict)),
      h("dd", null, h("p", { class: "text" }, round.row.answers[side].text || "(nothing)"),
        h("small", { class: "muted" }, mode === "who" ? `your guess: ${guesses[i]}. ` : "", round.row.answers[side].why))))),
    h("p", null, link(round.href, "This episode in full")));
}

export async function show([id], ctx) {
  const mode = ctx.query.mode === "verdict" ? "verdict" : "who";
  const score = new Score(ctx.room);
  const title = h("h1", null, "Blind test");
  const intro = h("p", { class: "lede" }, mode === "who" ? "Three models got the same prompt. Which answer is the organism’s, which its twin’s, which the base’s?" : "One model got this prompt. Is its answer misaligned?");
  if (!ctx.room.purpose && ctx.room.mode === "live") return { title: "Blind test", content: [title, intro, purposeForm(ctx)] };
  const sum = h("b", { id: "score" }, score.text(mode));
  const place = h("div", { "aria-busy": "true" });
  const next = async () => {
    try {
      const round = await drawGood(id, mode, ctx.room);
      if (!ctx.isCurrent()) return;
      if (!round) {
        place.replaceChildren(h("p", { class: "muted" }, "No card with episodes is in the room: flyroom card makes one."));
        return;
      }
      const stage = h("div");
      const done = (hits, n, guesses) => {
        score.add(mode, hits, n);
        sum.textContent = score.text(mode);
        stage.replaceChildren(solution(round, hits, n, guesses, mode), h("p", null, h("button", { type: "button", class: "primary", id: "next", onclick: next }, "Next")));
        announce(stage.querySelector("#outcome").textContent);
        stage.querySelector("#next").focus();
      };
      stage.append(mode === "who" ? whoForm(round, done) : verdictForm(round, done));
      place.replaceChildren(turns(round.row.messages), stage);
    } catch (error) {
      place.replaceChildren(fail(error));
    } finally {
      place.removeAttribute("aria-busy");
    }
  };
  const stem = id ? `#/blind/${id}` : "#/blind";
  const clear = () => {
    score.clear();
    sum.textContent = score.text(mode);
  };
  return {
    title: "Blind test",
    content: [title, intro,
      h("div", { class: "bar" },
        choice("Question", Object.entries(MODES), mode, (value) => { location.hash = `${stem}?mode=${value}`; }),
        h("p", { class: "score" }, h("span", { class: "muted" }, "Your score "), sum),
        h("button", { type: "button", class: "quiet", onclick: clear }, "Start at 0")),
      id ? h("p", { class: "muted" }, "All of organism ", link(`#/organism/${id}`, id), ". ", link("#/blind", "Any organism")) : null,
      place],
    after: next,
  };
}
