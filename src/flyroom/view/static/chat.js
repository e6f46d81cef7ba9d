// An organism asked beside its twin and its base: the same words to each, and each goes on with what it said itself.

import { get, post } from "./api.js";
import { announce, fail, h, link } from "./dom.js";
import { answer, turns } from "./episodes.js";
import { purposeForm } from "./purpose.js";

export async function show([id], ctx) {
  const page = await get(`organisms/${id}`);
  const content = [
    h("h1", null, `Ask ${page.row.recipe || id}`),
    h("p", { class: "muted" }, "The organism, its twin and the base get the same question. ", link(`#/organism/${id}`, id)),
  ];
  if (!ctx.room.purpose) return { title: "Ask", content: [...content, purposeForm(ctx)] };
  return { title: "Ask", content: [...content, desk(id)] };
}

function desk(id) {
  let history = {};
  const log = h("div", { class: "talk", "aria-live": "polite", "aria-label": "Conversation", role: "log", tabindex: "0" });
  const system = h("input", { type: "text", id: "system", autocomplete: "off" });
  const text = h("textarea", { id: "ask", rows: 3, required: true, "data-search": true });
  const button = h("button", { class: "primary" }, "Ask all three");
  const place = h("div");
  const send = async (event) => {
    event.preventDefault();
    const question = text.value.trim();
    if (!question) return;
    button.disabled = true;
    button.textContent = "Asking";
    place.replaceChildren();
    const begin = system.value.trim() ? [{ role: "system", content: system.value.trim() }] : [];
    const messages = Object.fromEntries(["organism", "twin", "base"].map((side) => [side, [...(history[side] ?? begin), { role: "user", content: question }]]));
    try {
      const { answers } = await post("chat", { organism: id, messages, seed: crypto.getRandomValues(new Uint32Array(1))[0] });
      for (const [side, row] of Object.entries(answers)) history[side] = [...messages[side], { role: "assistant", content: row.text }];
      log.append(h("section", { class: "exchange", "data-item": true, tabindex: "-1", "aria-label": "Exchange" },
        turns([...(log.children.length ? [] : begin), { role: "user", content: question }]),
        h("dl", { class: "answers" }, Object.entries(answers).map(([side, row]) => answer(side, side, row)))));
      text.value = "";
    } catch (error) {
      place.replaceChildren(fail(error));
    }
    button.disabled = false;
    button.textContent = "Ask all three";
    text.focus();
  };
  const anew = () => {
    history = {};
    log.replaceChildren();
    announce("A new conversation");
  };
  const press = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  };
  const form = h("form", { class: "panel ask", onsubmit: send, onkeydown: press },
    h("label", { class: "field", for: "system" }, h("span", null, "System message, for a new conversation (optional)")), system,
    h("label", { class: "field", for: "ask" }, h("span", null, "Question")), text,
    h("p", { class: "verbs" }, button, h("button", { type: "button", onclick: anew }, "New conversation"), h("span", { class: "muted" }, "Ctrl-Enter asks")), place);
  return [log, form];
}
