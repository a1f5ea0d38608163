// A plot of a server's history, drawn by uPlot.
//
// What was not measured has no value, and the lines have a gap there.  Colours come from
// the style sheet, at each drawing: so they follow a change to dark and back.

import { ago, clockTime } from "./format.js";

const { uPlot } = globalThis;
const SHORTEST = 60; // seconds on the axis
const INCREMENTS = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();

const coloured = (name) => () => getComputedStyle(document.body).getPropertyValue(`--${name}`).trim();
const font = () => `12px ${getComputedStyle(document.body).fontFamily}`;

// The greatest of some lists; what is unknown counts as none.
function greatest(lists) {
  let most = 1;
  for (const values of lists) for (const value of values) if (value > most) most = value;
  return most;
}

export class Plot {
  // series: [{name, colour, sign, fill, dash, stepped, isLimit}].  A sign of -1 draws below
  // the axis; a limit does not stretch it, if it is far above the rest.
  // format, axisFormat: turn a number into text.  readout: the element for the values.
  constructor(place, readout, series, format, axisFormat = format) {
    this.place = place;
    this.series = series;
    this.format = format;
    this.columns = [[], ...series.map(() => [])];
    this.now = 0;
    this.empty = document.createElement("p");
    this.empty.className = "empty";
    this.empty.textContent = "collecting begins now";
    place.append(this.empty);
    this.when = document.createElement("span");
    this.when.className = "when";
    place.append(this.when);
    this.values = series.map((one) => this.label(readout, one));
    this.chart = new uPlot(this.options(axisFormat), this.columns, place);
    new ResizeObserver(() => this.chart.setSize(this.size())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.chart.redraw());
  }

  label(readout, { name, colour, dash }) {
    const label = document.createElement("span");
    const value = document.createElement("b");
    if (name) {
      const key = document.createElement("i");
      key.className = dash ? "key dashed" : "key";
      key.dataset.colour = colour;
      label.append(key, `${name} `);
    }
    label.append(value);
    readout.append(label);
    return value;
  }

  size() {
    return { width: Math.max(this.place.clientWidth, 100), height: this.place.clientHeight };
  }

  options(axisFormat) {
    const grid = { stroke: coloured("grid"), width: 1 };
    const axis = { stroke: coloured("muted"), grid, ticks: { show: false }, font: font() };
    return {
      ...this.size(),
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "history" }, points: { size: 7 } },
      select: { show: false },
      scales: {
        x: { time: true, range: (_, min, max) => [Math.min(min ?? 0, (max ?? 0) - SHORTEST), max ?? 0] },
        y: { range: () => this.heights() },
      },
      axes: [
        {
          ...axis,
          space: 64,
          size: 22,
          values: (_, moments, __, ___, step) => moments.map((moment) => clockTime(moment, step < 60)),
        },
        {
          ...axis,
          space: 36,
          incrs: INCREMENTS,
          size: (_, labels) => 16 + 7 * Math.max(2, ...(labels || []).map((text) => text.length)),
          values: (_, values) => values.map((value) => axisFormat(Math.abs(value))),
        },
      ],
      series: [
        {},
        ...this.series.map(({ colour, fill, dash, stepped, width = 2 }) => ({
          stroke: coloured(colour),
          fill: fill && coloured(fill),
          width,
          dash,
          paths: stepped && uPlot.paths.stepped({ align: 1 }),
          points: { show: false },
        })),
      ],
      hooks: { setCursor: [() => this.read()] },
    };
  }

  heights() {
    const own = this.columns.slice(1).filter((_, index) => !this.series[index].isLimit);
    const limits = this.columns.slice(1).filter((_, index) => this.series[index].isLimit);
    let most = greatest(own.map((values) => values.map(Math.abs)));
    const limit = greatest(limits);
    if (limit > 1 && limit <= most * 3) most = Math.max(most, limit);
    const top = most * 1.08;
    return [this.series.some(({ sign }) => sign < 0) ? -top : 0, top];
  }

  // times, in seconds since 1970, and a list of values for each series.
  show(times, lists) {
    const signed = lists.map((values, index) =>
      this.series[index].sign < 0 ? values.map((value) => value && -value) : values,
    );
    this.columns = [times, ...signed];
    this.now = times.at(-1) ?? 0;
    this.empty.hidden = times.length > 1;
    this.chart.setData(this.columns);
    this.read();
  }

  // The values under the pointer, or else the present ones.
  read() {
    const last = this.columns[0].length - 1;
    const { idx = null, left = -1 } = this.chart?.cursor ?? {};
    const pointing = idx !== null && left >= 0 && idx <= last;
    const at = pointing ? idx : last;
    const moment = this.columns[0][at];
    this.when.textContent = pointing && at < last ? `${clockTime(moment, true)}, ${ago(this.now - moment)}` : "";
    this.values.forEach((node, index) => {
      const value = this.columns[index + 1][at];
      node.textContent = value === null || value === undefined ? "–" : this.format(Math.abs(value));
    });
  }
}
