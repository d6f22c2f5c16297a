// Deleting an experiment: only after its name has been typed.

import { h, named, typeable } from "./elements.js";

const BLANK = "blank"; // to be typed where a name has nothing to type

// Asks, and then calls `remove`; its rejection is told in the dialog, which stays open.
export function askToDelete(name, participants, remove) {
  const wanted = typeable(name) || BLANK;
  const field = h("input", {id: "typed-name", type: "text", autocomplete: "off", spellcheck: "false", dir: "auto",
    oninput: () => { button.disabled = typeable(field.value) !== wanted; }});
  const told = h("p", {class: "wrong", role: "alert"});
  const button = h("button", {type: "submit", class: "primary danger", disabled: true}, "Delete for good");
  const dialog = h("dialog", {"aria-labelledby": "delete-title", onclose: () => dialog.remove()},
    h("form", {onsubmit: async event => {
      event.preventDefault();
      if (button.disabled) return;
      button.disabled = true;
      told.textContent = "";
      try {
        await remove();
        dialog.close();
      } catch (error) {
        told.textContent = [error.message, error.hint].filter(Boolean).join(". ");
        button.disabled = false;
      }
    }},
    h("h2", {id: "delete-title"}, "Delete this experiment?"),
    h("p", {class: "name"}, named(name, {class: "strong"})),
    h("p", null, `Its counts (${participants}) will be gone for good. A page that still runs it starts it anew, from zero. `
      + "Visitors who took part before are not counted as participants again: give the next run a new name."),
    h("label", {for: "typed-name"}, typeable(name) ? "Type its name to confirm" : `Type “${BLANK}” to confirm`),
    field, told,
    h("div", {class: "row end"}, h("button", {type: "button", onclick: () => dialog.close()}, "Keep it"), button)));
  document.body.append(dialog);
  dialog.showModal();
  field.focus();
}
