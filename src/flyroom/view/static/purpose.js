// What stands in the place of a page that needs something first: a purpose, or the token of the room.

import { post } from "./api.js";
import { fail, h } from "./dom.js";

export function needs(error, ctx) {
  if (error.need === "token") {
    return { title: "Locked", content: [h("h1", null, "This room is locked"), h("p", null, `To see it, ${error.message}.`)] };
  }
  return error.need === "purpose" ? { title: "Purpose", content: [h("h1", null, "What is it needed for?"), purposeForm(ctx)] } : null;
}

export function purposeForm(ctx) {
  const field = h("input", { id: "purpose", type: "text", required: true, minlength: 3, maxlength: 500, autocomplete: "off" });
  const place = h("div");
  const send = async (event) => {
    event.preventDefault();
    try {
      const content = await post("purpose", { purpose: field.value });
      if (ctx.room) ctx.room.purpose = content.purpose;
      ctx.again();
    } catch (error) {
      place.replaceChildren(fail(error));
    }
  };
  return h("form", { class: "panel", onsubmit: send },
    h("p", null, "What organisms said is shown, and organisms are asked, once it is on record what for. ",
      "A few words are enough; they go into the log of the room."),
    h("label", { class: "field", for: "purpose" }, h("span", null, "Purpose")), field,
    h("p", null, h("button", { class: "primary" }, "Write it down and go on")), place);
}
