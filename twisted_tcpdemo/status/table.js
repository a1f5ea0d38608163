// The table of live connections.  Each connection keeps its row as long as it
// is shown, and a cell is touched only when its text changes.  So nothing flickers,
// and selected text stays selected.

import { bytes, duration, milliseconds } from "./format.js";

const COLUMNS = [
  ["id", "No.", String],
  ["peer", "Peer", String],
  ["host", "Host", String],
  ["age", "Age", duration],
  ["idle", "Idle", duration],
  ["bytesRead", "Read", bytes],
  ["bytesWritten", "Written", bytes],
  ["bytesPending", "Pending", bytes],
  ["roundTripTime", "RTT", milliseconds],
];

class Row {
  constructor(connection, isNew) {
    this.element = document.createElement("tr");
    this.element.dataset.id = connection.id;
    if (isNew) {
      this.element.className = "new";
      this.element.addEventListener("animationend", () => this.element.classList.remove("new"), { once: true });
    }
    this.cells = COLUMNS.map(([name, label]) => {
      const cell = document.createElement("td");
      cell.className = name;
      cell.dataset.label = label;
      this.element.append(cell);
      return cell;
    });
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Close";
    const cell = document.createElement("td");
    cell.className = "end";
    cell.append(button);
    this.element.append(cell);
    this.texts = [];
    this.show(connection);
  }

  show(connection) {
    COLUMNS.forEach(([name, , format], index) => {
      const text = format(connection[name]);
      if (text === this.texts[index]) return;
      this.texts[index] = text;
      // Text, and never markup: a peer may have chosen it.
      this.cells[index].textContent = text;
      if (name === "bytesPending") this.cells[index].classList.toggle("waiting", connection[name] > 0);
    });
  }
}

export class Table {
  // end: is called with the number of a connection whose button was pressed.
  constructor(body, end) {
    this.body = body;
    body.addEventListener("click", ({ target }) => {
      if (target.tagName === "BUTTON") end(Number(target.closest("tr").dataset.id));
    });
    this.rows = new Map();
    this.filled = false;
    this.newest = 0;
  }

  show(connections) {
    const shown = new Set(connections.map((connection) => connection.id));
    for (const [id, row] of this.rows) {
      if (shown.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    let next = this.body.firstElementChild;
    let newest = this.newest;
    for (const connection of connections) {
      let row = this.rows.get(connection.id);
      if (row) {
        row.show(connection);
      } else {
        row = new Row(connection, this.filled && connection.id > this.newest);
        this.rows.set(connection.id, row);
      }
      newest = Math.max(newest, connection.id);
      if (row.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(row.element, next);
    }
    this.newest = newest;
    this.filled = true;
  }
}
