// What is shown, kept in the address after the `#`: a link shows the same view, and no server logs it.

const DEFAULTS = {namespace: "alephbet", experiment: "", control: "", search: "", sort: "verdict", plan: ""};

export function readView() {
  const params = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, params.get(name) || value]));
}

// The address of this view with some changes, without what is at its default.
export function address(changes) {
  const view = {...readView(), ...("experiment" in changes ? {plan: ""} : {}), ...changes};
  return `#${new URLSearchParams(Object.entries(view).filter(([name, value]) => value && value !== DEFAULTS[name]))}`;
}

export function show(changes) {
  const hash = address(changes);
  if (hash !== (location.hash || "#")) location.hash = hash;
}

// Like `show`, but without a step in the browser's history: for what changes with every keystroke.
export function replaceView(changes) {
  history.replaceState(null, "", address(changes));
}
