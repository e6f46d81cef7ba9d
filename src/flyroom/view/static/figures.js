// How a figure is written: never 0 or 1 unless it is exactly none or all, and always with its interval.

import { h } from "./dom.js";

export function share(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "unknown";
  if (value === 0 || value === 1) return String(value);
  if (value > 0 && value < 0.0005) return "<.001";
  if (value >= 0.9995 && value < 1) return ">.999";
  const digits = Math.abs(value) < 0.0195 || (value >= 0.995 && value < 1) ? 3 : 2;
  return value.toFixed(digits);
}

export const bounds = (e) => (e.low === null || e.high === null ? "[no interval]" : `[${share(e.low)}, ${share(e.high)}]`);

export function figure(e) {
  if (!e) return h("span", { class: "muted" }, "-");
  if (e.value === null) return h("span", { class: "muted", title: e.why ?? "" }, "not measured");
  return h("span", { class: "figure" }, h("b", null, share(e.value)), " ", h("small", null, bounds(e)));
}

export const words = (e) => (!e || e.value === null ? "not measured" : `${share(e.value)} ${bounds(e)}`);

export const count = (n) => Number(n).toLocaleString("en-US");

export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return `${hours ? `${hours}:` : ""}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}
