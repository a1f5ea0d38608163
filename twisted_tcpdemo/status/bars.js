// Counts by name, as bars: lists with the greatest first, and distributions.

import { count } from "./format.js";
import { setText } from "./nodes.js";

function made(name, className, text = "") {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

// A list of counts by name; none: the element that says that there are none.
export class Tally {
  constructor(list, none, words = String) {
    this.list = list;
    this.none = none;
    this.words = words;
  }

  show(counts) {
    const entries = Object.entries(counts).filter(([, number]) => number > 0);
    this.none.hidden = entries.length > 0;
    const total = entries.reduce((sum, [, number]) => sum + number, 0);
    const items = new Map([...this.list.children].map((item) => [item.dataset.name, item]));
    for (const [name, item] of items) if (!counts[name]) item.remove();
    entries.sort((one, other) => other[1] - one[1]);
    entries.forEach(([name, number], index) => {
      const item = items.get(name) || this.item(name);
      const [, value, bar] = item.children;
      setText(value, count(number));
      bar.firstElementChild.style.width = `${((number / total) * 100).toFixed(1)}%`;
      const there = this.list.children[index];
      if (there !== item) this.list.insertBefore(item, there || null);
    });
  }

  item(name) {
    const item = made("li", "");
    const bar = made("div", "");
    item.dataset.name = name;
    bar.append(made("div", ""));
    item.append(made("span", "", this.words(name)), made("b", ""), bar);
    return item;
  }
}

// Counts in buckets, as columns.  The last bucket has no bound.
export class Distribution {
  constructor(place, none, format) {
    this.place = place;
    this.none = none;
    this.format = format;
    this.columns = [];
  }

  show({ bounds, counts }) {
    if (this.columns.length !== counts.length) this.build(bounds);
    const most = Math.max(...counts);
    const total = counts.reduce((sum, number) => sum + number, 0);
    this.none.hidden = total > 0;
    this.place.hidden = total === 0;
    counts.forEach((number, index) => {
      const { bar, column } = this.columns[index];
      // What is not nothing can be seen.
      bar.style.height = number ? `${Math.max(2, (number / most) * 100).toFixed(1)}%` : "0";
      const from = index ? `${this.format(bounds[index - 1])} to ` : "up to ";
      const range = index === bounds.length ? `over ${this.format(bounds.at(-1))}` : from + this.format(bounds[index]);
      const share = total ? Math.round((number / total) * 100) : 0;
      column.title = `${range}: ${count(number)} (${share} %)`;
      column.setAttribute("aria-label", column.title);
    });
  }

  build(bounds) {
    this.columns = [...bounds, null].map((bound) => {
      const column = made("li", "column");
      const room = made("div", "room");
      const bar = made("div", "");
      room.append(bar);
      column.append(room, made("span", "", bound === null ? "more" : this.format(bound)));
      return { column, bar };
    });
    this.place.replaceChildren(...this.columns.map(({ column }) => column));
  }
}
