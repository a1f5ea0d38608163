// The actions, for who has the token of control.
//
// The token is in this page's memory and nowhere else.

import { byId, write } from "./nodes.js";

let token = null;
let changed = () => {};

async function send(bearer, method, path, body) {
  const answer = await fetch(`control${path}`, {
    method,
    headers: { Authorization: `Bearer ${bearer}`, "X-TCPDemo-Control": "1" },
    body: body && JSON.stringify(body),
    credentials: "omit",
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error || `the server answers ${answer.status}`);
  return said;
}

async function act(what, method, path, body) {
  try {
    await send(token, method, path, body);
    write("outcome", what);
  } catch (error) {
    write("outcome", error.message);
  }
  changed();
}

// known: the token, or null to lock the actions.
function setToken(known) {
  token = known;
  byId("actions").hidden = !isUnlocked();
  document.body.classList.toggle("unlocked", isUnlocked());
  write("outcome", "");
  changed();
}

async function unlock() {
  const given = byId("token").value.trim();
  byId("token").value = "";
  write("wrong", "");
  try {
    const { maxConnections } = await send(given, "GET", "/limits");
    byId("newLimit").value = maxConnections ?? "";
    byId("asking").close();
    setToken(given);
  } catch (error) {
    write("wrong", error.message);
  }
}

const isUnlocked = () => token !== null;

export function end(connection) {
  act(`Connection ${connection} closes.`, "POST", `/connections/${connection}/close`);
}

export function showActions({ actions, state }) {
  byId("unlock").hidden = !actions || isUnlocked();
  const gone = state === "draining" || state === "stopped";
  byId("suspend").disabled = gone;
  write("suspend", state === "suspended" ? "Resume" : "Suspend");
}

// told: is called when something may have changed.
export function prepare(told) {
  changed = told;
  byId("unlock").addEventListener("click", () => byId("asking").showModal());
  byId("cancel").addEventListener("click", () => byId("asking").close());
  byId("enter").addEventListener("click", unlock);
  byId("token").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // the form would close the dialog
    unlock();
  });
  byId("lock").addEventListener("click", () => setToken(null));
  byId("suspend").addEventListener("click", () => {
    const resumes = byId("suspend").textContent === "Resume";
    act(resumes ? "It accepts again." : "It accepts nobody.", "POST", resumes ? "/resume" : "/suspend");
  });
  byId("setLimit").addEventListener("click", () => {
    const text = byId("newLimit").value.trim();
    const limit = text === "" ? null : Number(text);
    act(limit === null ? "There is no limit of its own." : `The limit is ${text}.`, "PATCH", "/limits", { maxConnections: limit });
  });
  byId("drain").addEventListener("click", () => {
    const text = byId("deadline").value.trim();
    const within = text === "" ? "without a deadline" : `within ${text} s`;
    if (!confirm(`Drain ${within}? The server accepts nobody any more. This cannot be taken back.`)) return;
    act(`It drains ${within}.`, "POST", "/drain", text === "" ? {} : { deadline: Number(text) });
  });
}
