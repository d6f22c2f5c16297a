// What is shown, kept in the address after the `#`: a link shows the same view, and no server's log has it.

const DEFAULTS = {namespace: "alephbet", experiment: "", control: "", search: "", sort: "verdict"};

export function readView() {
  const asked = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, usual]) => [name, asked.get(name) || usual]));
}

// The address of this view with some changes; what is as usual is left out.
export function address(changes) {
  const view = {...readView(), ...changes};
  const said = Object.entries(view).filter(([name, value]) => value && value !== DEFAULTS[name]);
  return `#${new URLSearchParams(said)}`;
}

export function show(changes) {
  const wanted = address(changes);
  if (wanted !== (location.hash || "#")) location.hash = wanted;
}

// As `show`, but without a step in the browser's history: for what changes with every key pressed.
export function showQuietly(changes) {
  history.replaceState(null, "", address(changes));
}
