// The status page: asks for status.json once a second, and shows it.
//
// A hidden page asks for nothing.  A slow server is asked less often.

import { bytes, bytesInParts, count, duration, rate, roundBytes } from "./format.js";
import { Plot } from "./plot.js";
import { Table } from "./table.js";

const INTERVAL = 1000;
const PATIENCE = 10000;
const AVERAGED = 3; // samples in a rate

const OVERFLOW = { refuse: "refused", reset: "reset", wait: "left waiting" };

const byId = (id) => document.getElementById(id);
const countPlot = new Plot(
  byId("countPlot"),
  byId("countReadout"),
  [{ name: "", className: "connections", sign: 1 }],
  count,
);
const bytesPlot = new Plot(
  byId("bytesPlot"),
  byId("bytesReadout"),
  // Back to back, because an echo server's lines would hide each other.
  [{ name: "in", className: "in", sign: 1 }, { name: "out", className: "out", sign: -1 }],
  (number) => `${bytes(number)}/s`,
  roundBytes,
);
const table = new Table(byId("rows"));

// The order and the filter are part of the address, so that they survive a reload.
const wanted = new URLSearchParams(location.search);
let order = wanted.get("sort") || "-id";
let timer = null;
let asking = null;
let lastSeen = null;
let before = []; // of the same process, the oldest first

function write(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}

// Asking.

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  const began = performance.now();
  const late = setTimeout(() => mine.abort(), PATIENCE);
  try {
    const query = new URLSearchParams({ sort: order, filter: byId("filter").value });
    const response = await fetch(`status.json?${query}`, { signal: mine.signal });
    if (response.status === 400 && order !== "-id") {
      setOrder("-id"); // the address names no known order
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
  if (before.length && before.at(-1).pid !== status.pid) before = [];
  before = [...before, status].slice(-AVERAGED - 1);
  showHead(status);
  showCards(status);
  const { interval, connections, bytesRead, bytesWritten } = status.history;
  countPlot.show([connections], interval, status.effectiveLimit);
  bytesPlot.show([bytesRead, bytesWritten].map((values) => values.map((value) => value / interval)), interval);
  tally("closedBy", "closedNone", status.closedBy);
  tally("refusedBy", "refusedNone", status.refusedBy);
  table.show(status.connections);
  showWorkers(status);
  showShown(status);
}

function showHead(status) {
  write("state", status.state);
  byId("state").dataset.state = status.state;
  write("uptime", duration(status.uptime));
  write("pid", String(status.pid));
  write("live", "live");
  document.title = `${count(status.connectionCount)} · tcpdemo`;
  const names = status.listeners.map(({ address, port, family }) =>
    port === null ? `${(family || "").toLowerCase()}:${address}` : family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`,
  );
  const list = byId("listeners");
  if (list.dataset.names === names.join("\n")) return;
  list.dataset.names = names.join("\n");
  list.replaceChildren(
    ...names.map((name) => {
      const item = document.createElement("li");
      item.textContent = name;
      return item;
    }),
  );
}

function showWorkers({ workers = [], parentCPU = 0 }) {
  byId("workers").hidden = !workers.length;
  write("parentCPU", percent(parentCPU));
  byId("workerRows").replaceChildren(
    ...workers.map((worker) => {
      const row = document.createElement("tr");
      for (const text of [
        worker.number, worker.pid, worker.state, count(worker.connectionCount), percent(worker.share),
        bytes(worker.bytesRead), bytes(worker.bytesWritten), percent(worker.cpu),
        `${Math.round(worker.lateness * 1000)} ms`,
      ]) {
        row.insertCell().textContent = String(text);
      }
      return row;
    }),
  );
}

const percent = (share) => `${Math.round(share * 100)} %`;

function showCards(status) {
  const limit = status.effectiveLimit;
  write("count", count(status.connectionCount));
  write("limit", limit === null ? "" : `of ${count(limit)}`);
  const bar = byId("bar");
  bar.hidden = limit === null;
  if (limit === null) {
    write("use", "no limit");
  } else {
    const use = limit ? Math.min(status.connectionCount / limit, 1) : 1;
    const full = status.connectionCount >= limit;
    bar.dataset.level = full ? "full" : use >= 0.8 ? "high" : "low";
    bar.setAttribute("aria-valuemax", limit);
    bar.setAttribute("aria-valuenow", Math.min(status.connectionCount, limit));
    byId("fill").style.width = `${(use * 100).toFixed(1)}%`;
    const more = OVERFLOW[status.overflow] || status.overflow;
    write("use", full ? `full: more clients are ${more}` : `${count(limit - status.connectionCount)} free`);
  }
  const first = before[0];
  const seconds = status.uptime - first.uptime;
  write("acceptRate", seconds > 0 ? rate((status.acceptedCount - first.acceptedCount) / seconds) : "–");
  write("accepted", count(status.acceptedCount));
  write("closed", count(status.closedCount));
  write("refused", count(status.refusedCount));
  for (const [name, field] of [["in", "bytesRead"], ["out", "bytesWritten"]]) {
    const [figure, unit] = seconds > 0 ? bytesInParts((status[field] - first[field]) / seconds) : ["–", "B"];
    write(`${name}Rate`, figure);
    write(`${name}Unit`, `${unit}/s`);
    write(`${name}Total`, bytes(status[field]));
  }
  write("pending", bytes(status.bytesPending));
}

// Counts by name, the greatest first, as bars.
function tally(id, noneId, counts) {
  const list = byId(id);
  const entries = Object.entries(counts).filter(([, number]) => number > 0);
  byId(noneId).hidden = entries.length > 0;
  const total = entries.reduce((sum, [, number]) => sum + number, 0);
  const items = new Map([...list.children].map((item) => [item.dataset.name, item]));
  for (const [name, item] of items) if (!counts[name]) item.remove();
  entries.sort((one, other) => other[1] - one[1]);
  entries.forEach(([name, number], index) => {
    const item = items.get(name) || tallyItem(name);
    const [, value, bar] = item.children;
    const text = count(number);
    if (value.textContent !== text) value.textContent = text;
    bar.firstElementChild.style.width = `${((number / total) * 100).toFixed(1)}%`;
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] || null);
  });
}

function tallyItem(name) {
  const item = document.createElement("li");
  item.dataset.name = name;
  const label = document.createElement("span");
  label.textContent = name;
  const value = document.createElement("b");
  const bar = document.createElement("div");
  bar.append(document.createElement("div"));
  item.append(label, value, bar);
  return item;
}

function showShown(status) {
  const { connectionsShown: shown, connectionsMatching: matching, connectionCount: all } = status;
  const filtered = byId("filter").value.trim() !== "";
  const part = shown < matching ? `${count(shown)} of ${count(matching)}` : count(matching);
  write("shown", filtered ? `${part} that match, of ${count(all)}` : all ? part : "");
  byId("none").hidden = shown > 0;
  write("none", filtered && all ? "None matches the filter." : "Nobody is connected.");
}

// The order and the filter.

function setOrder(value) {
  order = value;
  for (const header of document.querySelectorAll("th[data-column]")) {
    const mine = header.dataset.column === order.replace("-", "");
    if (mine) header.setAttribute("aria-sort", order.startsWith("-") ? "descending" : "ascending");
    else header.removeAttribute("aria-sort");
  }
  const select = byId("order");
  select.value = order;
  remember();
  ask();
}

function remember() {
  const kept = new URLSearchParams();
  if (order !== "-id") kept.set("sort", order);
  if (byId("filter").value) kept.set("filter", byId("filter").value);
  history.replaceState(null, "", kept.size ? `?${kept}` : location.pathname);
}

for (const header of document.querySelectorAll("th[data-column]")) {
  const { column } = header.dataset;
  const ascendingFirst = column === "peer" || column === "host";
  header.firstElementChild.addEventListener("click", () => {
    const [first, second] = ascendingFirst ? [column, `-${column}`] : [`-${column}`, column];
    setOrder(order === first ? second : first);
  });
}
byId("order").addEventListener("change", (event) => setOrder(event.target.value));
byId("filter").value = wanted.get("filter") || "";
byId("filter").addEventListener("input", () => {
  remember();
  clearTimeout(timer);
  timer = setTimeout(ask, 150);
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
setOrder(order);
