// Deleting an experiment: only after its name has been typed.

import { h, isolated, typeable } from "./elements.js";

const BLANK = "blank"; // to type if a name has nothing that can be typed

// Asks, then calls `remove`; if that fails, the dialog stays open and says why.
export function askToDelete(name, participants, remove) {
  const expected = typeable(name) || BLANK;
  const field = h("input", {id: "typed-name", type: "text", autocomplete: "off", spellcheck: "false", dir: "auto",
    oninput: () => { button.disabled = typeable(field.value) !== expected; }});
  const failure = h("p", {class: "wrong", role: "alert"});
  const button = h("button", {type: "submit", class: "primary danger", disabled: true}, "Delete permanently");
  const submit = async event => {
    event.preventDefault();
    button.disabled = true;
    failure.textContent = "";
    try {
      await remove();
      dialog.close();
    } catch (error) {
      failure.textContent = [error.message, error.hint].filter(Boolean).join(". ");
      button.disabled = false;
    }
  };
  const dialog = h("dialog", {"aria-labelledby": "delete-title", onclose: () => dialog.remove()},
    h("form", {onsubmit: submit},
      h("h2", {id: "delete-title"}, "Delete this experiment?"),
      h("p", {class: "name"}, isolated(name, {class: "strong"})),
      h("p", null, `This permanently deletes its counts (${participants}). A page that still runs the experiment starts it `
        + "again from zero. Visitors who already took part are not counted as participants again, so give the next run a "
        + "new name."),
      h("label", {for: "typed-name"}, typeable(name) ? "Type its name to confirm" : `Type “${BLANK}” to confirm`),
      field, failure,
      h("div", {class: "row end"}, h("button", {type: "button", onclick: () => dialog.close()}, "Cancel"), button)));
  document.body.append(dialog);
  dialog.showModal();
  field.focus();
}
