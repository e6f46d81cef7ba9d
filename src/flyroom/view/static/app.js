// The shell: which page an address means, the navigation, the theme, the keys. An address is #/NAME/…?query, so every
// page, filter and episode has a link, in the app and in a bundle alike.

import { get } from "./api.js";
import { announce, byId, fail, h } from "./dom.js";
import { openHelp, useKeys } from "./keys.js";
import { needs } from "./purpose.js";
import * as blind from "./blind.js";
import * as chat from "./chat.js";
import * as game from "./game.js";
import * as growth from "./growth.js";
import * as ledger from "./ledger.js";
import * as list from "./list.js";
import * as matrix from "./matrix.js";
import * as organism from "./organism.js";
import * as single from "./single.js";

const PAGES = {
  "": list.show,
  organism: organism.show,
  episode: single.showEpisode,
  suspect: single.showSuspect,
  matrix: matrix.show,
  cells: matrix.showDetector,
  ledger: ledger.show,
  growth: growth.show,
  chat: chat.show,
  blind: blind.show,
  game: game.show,
};
const NAV = [["", "Organisms"], ["matrix", "Matrix"], ["ledger", "Ledger"], ["growth", "Growth"], ["blind", "Blind"], ["game", "Game"]];
const LIVE_ONLY = ["growth", "game"];
const THEMES = ["auto", "light", "dark"];

let turn = 0; // so that a slow page does not show over a later one
let stop = () => {};
let room = null;
let place = null;

function parse() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").map(decodeURIComponent), query: Object.fromEntries(new URLSearchParams(search ?? "")) };
}

async function go() {
  if (location.hash && !location.hash.startsWith("#/")) return; // a jump inside of the page
  const mine = ++turn;
  stop();
  stop = () => {};
  const { parts, query } = parse();
  const main = byId("main");
  const ctx = { room, query, isCurrent: () => mine === turn, onLeave: (work) => { stop = work; }, again: go };
  let page;
  try {
    if (!room) await enter();
    ctx.room = room;
    const show = PAGES[parts[0]];
    if (!show) throw new Error(`there is no page ${parts[0]}`);
    page = await show(parts.slice(1), ctx);
  } catch (error) {
    page = needs(error, ctx) ?? { title: "Not here", content: [h("h1", null, "Not here"), fail(error)] };
  }
  if (mine !== turn) return;
  main.replaceChildren(...page.content.flat(Infinity).filter(Boolean));
  document.title = `${page.title}, flyroom`;
  mark(parts[0]);
  const here = `${parts.join("/")}`;
  if (place !== null && place !== here) {
    const heading = main.querySelector("h1");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus({ preventScroll: true });
    scrollTo(0, 0);
    announce(page.title);
  }
  place = here;
  page.after?.();
}

async function enter() {
  room = await get("room");
  byId("room").textContent = room.name;
  const names = NAV.filter(([name]) => room.mode === "live" || !LIVE_ONLY.includes(name));
  byId("nav").replaceChildren(h("ul", null, names.map(([name, text]) => h("li", null, h("a", { href: `#/${name}`, "data-page": name }, text)))));
  if (room.mode === "bundle") byId("foot").append(` Shown for: ${room.purpose}.`);
}

function mark(name) {
  const owner = { organism: "", episode: "", chat: "", cells: "matrix", suspect: "matrix" }[name] ?? name;
  for (const link of byId("nav").querySelectorAll("a")) {
    if (link.dataset.page === owner) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Theme: ${theme}`;
}

function useTheme() {
  let theme = THEMES.includes(localStorage.getItem("flyroom-theme")) ? localStorage.getItem("flyroom-theme") : "auto";
  paint(theme);
  byId("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    localStorage.setItem("flyroom-theme", theme);
    paint(theme);
    announce(`Theme: ${theme}`);
  });
}

useTheme();
useKeys();
byId("help").addEventListener("click", openHelp);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", go);
go();
