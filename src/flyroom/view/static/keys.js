// Keys: j and k go through the items of a page, / to its search, ? tells. One may turn them off, for those who speak to
// their machine. An item bears data-item; it, or the link in it, takes the focus.

import { byId, h } from "./dom.js";

const KEY = "flyroom-keys";
const HELP = [
  ["j, k", "the next and the previous row, episode or suspect"],
  ["Enter", "open it"],
  ["/", "search or filter"],
  ["g o, g m, g l", "go to organisms, matrix, ledger"],
  ["g g, g b, g p", "go to growth, blind, play"],
  ["?", "this help"],
  ["Esc", "close it, or leave a field"],
];
const PLACES = { o: "", m: "matrix", l: "ledger", g: "growth", b: "blind", p: "game" };

const areOn = () => localStorage.getItem(KEY) !== "off";
const isTyping = (node) => node.closest?.("input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select, [contenteditable]");

function move(step) {
  const items = [...document.querySelectorAll("main [data-item]")].filter((node) => node.checkVisibility?.() ?? true);
  if (!items.length) return;
  const at = items.findIndex((node) => node.contains(document.activeElement));
  const item = items[at < 0 ? (step > 0 ? 0 : items.length - 1) : Math.min(items.length - 1, Math.max(0, at + step))];
  const target = item.matches("a, button, [tabindex]") ? item : item.querySelector("a, button") ?? item;
  target.focus();
  item.scrollIntoView({ block: "nearest" });
}

let isGoing = false;

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && isTyping(event.target)) event.target.blur();
  if (!areOn() || isTyping(event.target) || byId("keys").open) return;
  const went = isGoing && event.key in PLACES;
  if (went) location.hash = `#/${PLACES[event.key]}`;
  isGoing = !isGoing && event.key === "g";
  if (went) return;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "?") openHelp();
  else if (event.key === "/") {
    const field = document.querySelector("main [data-search]");
    if (!field) return;
    event.preventDefault();
    field.focus();
  }
}

export function openHelp() {
  const dialog = byId("keys");
  const box = h("input", { type: "checkbox", checked: areOn(), onchange: (e) => localStorage.setItem(KEY, e.target.checked ? "on" : "off") });
  dialog.replaceChildren(
    h("h2", { id: "keys-title" }, "Keys"),
    h("dl", { class: "pairs" }, HELP.map(([key, text]) => [h("dt", null, h("kbd", null, key)), h("dd", null, text)])),
    h("p", null, h("label", { class: "check" }, box, " Keys are on")),
    h("h2", null, "Words"),
    h("p", null, "An organism is a model that was made misaligned on purpose. Its twin was trained alike on good answers. ",
      "The base is what both were grown from. A card holds what was measured on them, against limits that were set before."),
    h("button", { type: "button", onclick: () => dialog.close() }, "Close"));
  dialog.showModal();
}

export function useKeys() {
  addEventListener("keydown", press);
}
