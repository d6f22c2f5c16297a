// Deleting an experiment: only after its name has been typed.

import { askFirst } from "./dialogs.js";
import { h, isolated, typeable } from "./elements.js";

const BLANK = "blank"; // to type if a name has nothing that can be typed

// Asks, then calls `remove`. `losses` are what is deleted, in words.
export function askToDelete(name, losses, remove) {
  const expected = typeable(name) || BLANK;
  const field = h("input", {id: "typed-name", type: "text", autocomplete: "off", spellcheck: "false", dir: "auto"});
  askFirst({
    title: "Delete this experiment?", confirm: "Delete permanently", isDanger: true,
    isReady: () => typeable(field.value) === expected, act: remove,
    content: [
      h("p", {class: "name"}, isolated(name, {class: "strong"})),
      h("p", null, `This permanently deletes ${losses}. A page that still runs the experiment starts it `
        + "again from zero. Visitors who already took part are not counted as participants again, so give the next run a "
        + "new name."),
      h("label", {for: "typed-name"}, typeable(name) ? "Type its name to confirm" : `Type “${BLANK}” to confirm`),
      field,
    ],
  });
}
