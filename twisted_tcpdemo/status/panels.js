// The parts of the page that show figures of the whole server.

import { Distribution, Tally } from "./bars.js";
import { bound, bytes, bytesInParts, count, duration, percent, rate, roundBytes, rule } from "./format.js";
import { byId, setText, write } from "./nodes.js";
import { Plot } from "./plot.js";

const OVERFLOW = { refuse: "refused", reset: "reset", wait: "left waiting" };

// Why nobody gets a free place; empty where somebody may.
const CLOSED = {
  suspended: "suspended: new clients wait in the kernel's queue",
  waiting: "no worker can serve: new clients wait",
  draining: "draining: nobody is accepted",
  stopped: "stopped: nobody is accepted",
};

const perSecond = (number) => `${bytes(number)}/s`;
const number = (value) => (Number.isInteger(value) ? count(value) : rate(value));

const countPlot = new Plot(
  byId("countPlot"),
  byId("countReadout"),
  [
    { name: "peak", colour: "peak", fill: "peakGround", width: 1 },
    { name: "open", colour: "in" },
    { name: "limit", colour: "bad", dash: [5, 4], width: 1.5, stepped: true, isLimit: true },
  ],
  count,
);
const bytesPlot = new Plot(
  byId("bytesPlot"),
  byId("bytesReadout"),
  // Back to back, because an echo server's lines would hide each other.
  [
    { name: "in", colour: "in", fill: "inGround" },
    { name: "out", colour: "out", fill: "outGround", sign: -1 },
  ],
  perSecond,
  roundBytes,
);
const clientsPlot = new Plot(
  byId("clientsPlot"),
  byId("clientsReadout"),
  [
    { name: "accepted", colour: "good" },
    { name: "closed", colour: "muted", dash: [2, 3] },
    { name: "refused", colour: "bad" },
  ],
  rate,
  number,
);
const closedBy = new Tally(byId("closedBy"), byId("closedNone"));
const refusedBy = new Tally(byId("refusedBy"), byId("refusedNone"), rule);
const durations = new Distribution(byId("durations"), byId("durationsNone"), bound);
const roundTripTimes = new Distribution(byId("roundTripTimes"), byId("roundTripTimesNone"), bound);

export function showServer(status) {
  showHead(status);
  showDrain(status);
  showCards(status);
  showPlots(status.history);
  closedBy.show(status.closedBy);
  refusedBy.show(status.refusedBy);
  durations.show(status.durations);
  roundTripTimes.show(status.roundTripTimes);
  showWorkers(status);
  showListeners(status.listeners);
  showPeers(status);
}

function showHead(status) {
  write("name", status.hostName);
  write("version", `tcpdemo ${status.packageVersion}`);
  write("state", status.state);
  byId("state").dataset.state = status.state;
  write("uptime", duration(status.uptime));
  write("pid", String(status.pid));
  write("live", "live");
  document.title = `${count(status.connectionCount)} · ${status.hostName} · tcpdemo ${status.packageVersion}`;
}

function showDrain({ drain, bytesPending }) {
  byId("draining").hidden = drain === null;
  if (drain === null) return;
  const all = drain.left + drain.ended;
  write("drainLeft", `${count(drain.left)} of ${count(all)} connections left`);
  const { timeLeft, aborted } = drain;
  const deadline = timeLeft > 0 ? `the rest is aborted in ${duration(Math.ceil(timeLeft))}` : "the deadline has come";
  write("drainDeadline", timeLeft === null ? "no deadline: it waits as long as they take" : deadline);
  const bar = byId("drainFill");
  bar.style.width = `${(all ? (drain.ended / all) * 100 : 100).toFixed(1)}%`;
  bar.parentNode.setAttribute("aria-valuemax", all);
  bar.parentNode.setAttribute("aria-valuenow", drain.ended);
  const flush = bytesPending ? `${bytes(bytesPending)} still to be flushed` : "all is flushed";
  write("drainFlush", aborted ? `${flush}; ${count(aborted)} aborted` : flush);
}

function showCards(status) {
  const { effectiveLimit: limit, connectionCount: open, highest, history } = status;
  write("count", count(open));
  write("limit", limit === null ? "" : `of ${count(limit)}`);
  write("use", useOf(status));
  write("peak", `peak ${count(status.peakCount)}`);
  const bar = byId("bar");
  bar.hidden = limit === null;
  if (limit !== null) {
    const use = limit ? Math.min(open / limit, 1) : 1;
    bar.dataset.level = open >= limit ? "full" : use >= 0.8 ? "high" : "low";
    bar.setAttribute("aria-valuemax", limit);
    bar.setAttribute("aria-valuenow", Math.min(open, limit));
    byId("fill").style.width = `${(use * 100).toFixed(1)}%`;
  }
  // The same figures that end the plots.
  const accepting = history.accepted.at(-1) ?? null;
  write("acceptRate", accepting === null ? "–" : rate(accepting));
  write("acceptPeak", `peak ${rate(highest.accepted)}/s`);
  write("accepted", count(status.acceptedCount));
  write("closed", count(status.closedCount));
  write("refused", count(status.refusedCount));
  for (const [name, field] of [["in", "bytesRead"], ["out", "bytesWritten"]]) {
    const moving = history[field].at(-1) ?? null;
    const [figure, unit] = moving === null ? ["–", "B"] : bytesInParts(moving);
    write(`${name}Rate`, figure);
    write(`${name}Unit`, `${unit}/s`);
    write(`${name}Total`, bytes(status[field]));
    write(`${name}Peak`, `peak ${perSecond(highest[field])}`);
  }
  write("pending", bytes(status.bytesPending));
}

// How much room there is, which depends on the state.
function useOf({ state, effectiveLimit: limit, connectionCount: open, overflow }) {
  if (CLOSED[state]) return CLOSED[state];
  if (limit === null) return "no limit";
  if (open < limit) return `${count(limit - open)} free`;
  return `full: more clients are ${OVERFLOW[overflow] || overflow}`;
}

function showPlots({ times, peaks, connections, limits, bytesRead, bytesWritten, accepted, closed, refused }) {
  countPlot.show(times, [peaks, connections, limits]);
  bytesPlot.show(times, [bytesRead, bytesWritten]);
  clientsPlot.show(times, [accepted, closed, refused]);
}

// Rows of texts, with the same nodes as before where there were any.
function fill(body, rows) {
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  rows.forEach((texts, index) => {
    const row = body.rows[index] || body.insertRow();
    texts.forEach((text, place) => {
      setText(row.cells[place] || row.insertCell(), String(text));
    });
  });
}

function showWorkers({ workers = [], parentCPU = 0 }) {
  byId("workers").hidden = !workers.length;
  write("parentCPU", percent(parentCPU));
  fill(
    byId("workerRows"),
    workers.map((worker) => [
      worker.number, worker.pid, worker.state, count(worker.connectionCount), percent(worker.share),
      bytes(worker.bytesRead), bytes(worker.bytesWritten), percent(worker.cpu),
      `${Math.round(worker.lateness * 1000)} ms`,
    ]),
  );
}

function nameOf({ address, port, family }) {
  if (port === null) return `${(family || "").toLowerCase()}:${address}`;
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}

function showListeners(listeners) {
  byId("listenersNone").hidden = listeners.length > 0;
  fill(
    byId("listeners"),
    listeners.map((listener) => [
      nameOf(listener),
      [listener.proxy && "PROXY", listener.tls && "TLS"].filter(Boolean).join(", ") || "plain",
      listener.queue === null ? "–" : count(listener.queue),
      listener.backlog === null ? "–" : count(listener.backlog),
    ]),
  );
  [...byId("listeners").rows].forEach((row, index) => {
    const { queue, backlog } = listeners[index];
    row.cells[2].classList.toggle("waiting", queue !== null && queue > 0 && queue >= backlog / 2);
  });
}

// Each peer is a button that shows its connections alone.
function showPeers({ peers, peerCount }) {
  write("peerCount", peerCount ? count(peerCount) : "");
  byId("peersNone").hidden = peers.length > 0;
  const body = byId("peers");
  fill(body, peers.map((peer) => [peer.peer, count(peer.connections), bytes(peer.bytesRead), bytes(peer.bytesWritten)]));
  for (const { cells: [cell] } of body.rows) {
    if (cell.firstElementChild) continue; // the name is the same as before
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Show its connections";
    button.textContent = cell.textContent;
    cell.replaceChildren(button);
  }
}
