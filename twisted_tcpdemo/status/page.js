// The status page: asks for status.json once a second, and shows it.
//
// A hidden page asks for nothing.  A slow server is asked less often.

import { end, prepare, showActions } from "./actions.js";
import { count, duration } from "./format.js";
import { byId, write } from "./nodes.js";
import { showServer } from "./panels.js";
import { Table } from "./table.js";

const INTERVAL = 1000;
const PATIENCE = 10000;
const FOLDED = 10; // connections on a narrow page, until more are asked for

const table = new Table(byId("rows"), end);

// What is chosen is part of the address, so that it survives a reload.
const wanted = new URLSearchParams(location.search);
const DEFAULTS = { sort: "-id", filter: "", range: "300", peers: "connections" };
let order = wanted.get("sort") || DEFAULTS.sort;
let timer = null;
let asking = null;
let lastSeen = null;

const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;
const choices = () => ({ sort: order, filter: byId("filter").value, range: chosen("range"), peers: chosen("peers") });

// Asking.

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  const began = performance.now();
  const late = setTimeout(() => mine.abort(), PATIENCE);
  try {
    const response = await fetch(`status.json?${new URLSearchParams(choices())}`, { signal: mine.signal });
    if (response.status === 400 && order !== DEFAULTS.sort) {
      setOrder(DEFAULTS.sort); // the address names no known order
      return;
    }
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    const status = await response.json();
    if (mine !== asking) return;
    lastSeen = Date.now();
    show(status);
    setLost(null);
  } catch (error) {
    if (mine !== asking) return; // a later request has taken its place
    setLost(error);
  } finally {
    clearTimeout(late);
  }
  if (!document.hidden) {
    const took = performance.now() - began;
    timer = setTimeout(ask, Math.max(INTERVAL - took, 10 * took, 200));
  }
}

function setLost(error) {
  const notice = byId("notice");
  document.body.classList.toggle("lost", error !== null);
  notice.hidden = error === null;
  if (error === null) return;
  const since = lastSeen === null ? "" : ` The figures are ${duration((Date.now() - lastSeen) / 1000)} old.`;
  write("notice", `The server does not answer.${since}`);
  write("live", "offline");
  write("state", "unknown");
}

// Showing.

function show(status) {
  showServer(status);
  showActions(status);
  table.show(status.connections);
  showShown(status);
}

function showShown(status) {
  const { connectionsShown: shown, connectionsMatching: matching, connectionCount: all } = status;
  const filtered = byId("filter").value.trim() !== "";
  const part = shown < matching ? `${count(shown)} of ${count(matching)}` : count(matching);
  write("shown", filtered ? `${part} that match, of ${count(all)}` : all ? part : "");
  byId("none").hidden = shown > 0;
  write("none", filtered && all ? "None matches the filter." : "Nobody is connected.");
  byId("unfold").hidden = shown <= FOLDED;
  const isUnfolded = document.body.classList.contains("unfolded");
  write("unfold", isUnfolded ? `Show the first ${FOLDED}` : `Show all ${count(shown)}`);
}

// Choosing.

function setOrder(value) {
  order = value;
  for (const header of document.querySelectorAll("th[data-column]")) {
    const mine = header.dataset.column === order.replace("-", "");
    if (mine) header.setAttribute("aria-sort", order.startsWith("-") ? "descending" : "ascending");
    else header.removeAttribute("aria-sort");
  }
  byId("order").value = order;
  remember();
  ask();
}

function setFilter(text) {
  byId("filter").value = text;
  remember();
  ask();
}

function remember() {
  const kept = new URLSearchParams(Object.entries(choices()).filter(([name, value]) => value !== DEFAULTS[name]));
  history.replaceState(null, "", kept.size ? `?${kept}` : location.pathname);
  const { sort, filter } = choices();
  byId("connectionsTable").href = `connections.csv?${new URLSearchParams({ sort, filter, limit: 1000 })}`;
}

for (const header of document.querySelectorAll("th[data-column]")) {
  const { column } = header.dataset;
  const ascendingFirst = column === "peer" || column === "host";
  header.firstElementChild.addEventListener("click", () => {
    const [first, second] = ascendingFirst ? [column, `-${column}`] : [`-${column}`, column];
    setOrder(order === first ? second : first);
  });
}
for (const name of ["range", "peers"]) {
  for (const input of document.querySelectorAll(`input[name=${name}]`)) {
    input.checked = input.value === (wanted.get(name) || DEFAULTS[name]);
    input.addEventListener("change", () => {
      remember();
      ask();
    });
  }
  // The address may name what there is not.
  if (!document.querySelector(`input[name=${name}]:checked`)) {
    document.querySelector(`input[name=${name}]`).checked = true;
  }
}
byId("order").addEventListener("change", (event) => setOrder(event.target.value));
byId("filter").value = wanted.get("filter") || "";
byId("filter").addEventListener("input", () => {
  remember();
  clearTimeout(timer);
  timer = setTimeout(ask, 150);
});
byId("peers").addEventListener("click", ({ target }) => {
  if (target.tagName !== "BUTTON") return;
  const filter = `peer:${target.textContent}`;
  setFilter(byId("filter").value === filter ? "" : filter);
});
byId("unfold").addEventListener("click", () => {
  document.body.classList.toggle("unfolded");
  ask();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
prepare(ask);
setOrder(order);
