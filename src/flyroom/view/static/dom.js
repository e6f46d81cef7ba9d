// Elements, made of text and never of markup: nothing here or elsewhere assigns HTML, and the policy would refuse it.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected" || name === "disabled") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child); // a string becomes a text node
  }
  return node;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export const byId = (id) => document.getElementById(id);

export function announce(text) {
  byId("live").textContent = text;
}

// A table that scrolls inside itself, and may be reached by keyboard where it does.
export function wide(label, table) {
  return h("div", { class: "wide", role: "region", "aria-label": label, tabindex: "0" }, table);
}

export function table(label, head, rows, props = {}) {
  const names = head.map((cell) => (cell instanceof Node ? cell.textContent : cell));
  const body = rows.map((row) =>
    h("tr", null, row.map((cell, i) => (i === 0
      ? h("th", { scope: "row" }, cell)
      : h("td", { "data-of": names[i] }, cell)))));
  return wide(label, h("table", props,
    h("caption", { class: "hidden" }, label),
    h("thead", null, h("tr", null, head.map((cell) => h("th", { scope: "col" }, cell)))),
    h("tbody", null, body)));
}

export function choice(label, options, value, onchange) {
  return h("label", { class: "field" }, h("span", null, label),
    h("select", { onchange: (event) => onchange(event.target.value) },
      options.map(([key, text]) => h("option", { value: key, selected: key === value }, text))));
}

export const tag = (text) => h("span", { class: `tag ${/^[a-z]+$/.test(text) ? text : ""}` }, text || "not judged");
export const link = (href, ...text) => h("a", { href }, ...text);
export const note = (text) => h("p", { class: "muted" }, text);

export function fail(error) {
  return h("div", { class: "alert", role: "alert" }, h("b", null, "This did not work: "), error.message ?? String(error));
}
