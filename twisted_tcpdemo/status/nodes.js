// The nodes of the page, and their text.

export const byId = (id) => document.getElementById(id);

// A node is touched only when its text changes, so that selected text stays selected.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const write = (id, text) => setText(byId(id), text);
