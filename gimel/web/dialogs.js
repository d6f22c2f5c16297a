// Dialogs that ask before something is done, and stay open with the reason if it fails.

import { h, icon } from "./elements.js";

// Opens a dialog with this content. `act` does what is confirmed; `isReady` says whether it can be, and is asked after
// every input. If `isChanged`, the dialog is not closed before the changes were given up. `explain` makes a failure of
// `act` into elements.
export function askFirst({title, kind, content, confirm, isDanger, isReady, isChanged, act, explain = inLines}) {
  const failure = h("div", {class: "wrong", role: "alert"});
  const button = h("button", {type: "submit", class: isDanger ? "primary danger" : "primary"}, confirm);
  const check = () => { button.disabled = Boolean(isReady && !isReady()); };
  const submit = async event => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    failure.replaceChildren();
    try {
      await act();
      dialog.close();
    } catch (error) {
      failure.replaceChildren(...explain(error));
      check();
      if (failure.hasChildNodes()) failure.scrollIntoView({block: "nearest"});
    }
  };
  const leave = () => {
    if (!isChanged?.()) return dialog.close();
    const discard = h("button", {type: "button", class: "danger", onclick: () => dialog.close()}, "Discard changes");
    failure.replaceChildren(icon("warning"), h("span", null, "You have changes that are not saved."), discard);
    discard.focus();
  };
  const closed = () => {
    dialog.remove();
    // The button that opened it may be gone with the status that it was for.
    if (document.activeElement === document.body) document.getElementById("experiment-title")?.focus();
  };
  const dialog = h("dialog", {class: kind, "aria-labelledby": "dialog-title", onclose: closed,
    // On `cancel`, a second Escape closes a dialog no matter what its page says.
    onkeydown: event => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      leave();
    }},
    h("form", {onsubmit: submit, oninput: check},
      h("h2", {id: "dialog-title"}, title), content, failure,
      h("div", {class: "row end"}, h("button", {type: "button", onclick: leave}, "Cancel"), button)));
  document.body.append(dialog);
  check();
  dialog.showModal();
  dialog.querySelector("input:not([type=radio]), textarea, input:checked")?.focus();
}

// All that is wrong, each a line of its own.
export function inLines({message, hint, details}) {
  const problems = details?.problems?.length ? details.problems : [message];
  return [icon("warning"), h("div", null, [...problems, hint].filter(Boolean).map(line => h("p", null, line)))];
}
