// Makes the page look like newly built elements by changing only what differs, so that a refresh keeps the focus,
// selected text, scroll positions and open menus.

import { HANDLERS, h } from "./elements.js";

// Gives `parent` these children. Siblings with a key are matched by it, others by the order of those of the same kind.
export function patch(parent, ...wanted) {
  patchChildren(parent, h("div", null, wanted));
}

function patchChildren(parent, fresh) {
  const old = [...parent.childNodes];
  const nodes = [...fresh.childNodes].map(each => {
    const found = old.findIndex(candidate => candidate.nodeName === each.nodeName && candidate.key === each.key);
    return found < 0 ? each : patchNode(old.splice(found, 1)[0], each);
  });
  for (const each of old) each.remove();
  nodes.forEach((node, index) => {
    if (parent.childNodes[index] !== node && !isInUse(node)) parent.insertBefore(node, parent.childNodes[index] || null);
    while (parent.childNodes[index] !== node) parent.append(parent.childNodes[index]);
  });
}

function patchNode(live, fresh) {
  if (live.nodeType === Node.TEXT_NODE) {
    if (live.data !== fresh.data) live.data = fresh.data;
    return live;
  }
  const wasDefault = live.defaultSelected;
  for (const {name} of [...live.attributes]) {
    // `open` is the reader's doing.
    if (!fresh.hasAttribute(name) && name !== "open") live.removeAttribute(name);
  }
  for (const {name, value} of fresh.attributes) {
    if (live.getAttribute(name) !== value) live.setAttribute(name, value);
  }
  for (const name of HANDLERS) live[name] = fresh[name];
  // Once a person has chosen an option, its attribute alone no longer selects it.
  if (fresh.defaultSelected && !wasDefault) live.selected = true;
  patchChildren(live, fresh);
  return live;
}

// Moving a node would take the focus and the selection from it: then its neighbours move instead.
function isInUse(node) {
  return node.isConnected && (node.contains(document.activeElement) || getSelection().containsNode(node, true));
}
