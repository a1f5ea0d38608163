// A plot of the last minutes, in SVG, redrawn with each new sample.
//
// The newest sample is at the right edge.  The axis spans a minute at first, and
// stretches with the samples.

const NAMESPACE = "http://www.w3.org/2000/svg";
const TOP = 10;
const BOTTOM = 22;
const RIGHT = 12;
const SHORTEST = 60; // seconds

function element(name, attributes, parent) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

// A step for the axis: 1, 2 or 5 times a power of ten, for a few parts.
function stepFor(greatest, parts) {
  const rough = Math.max(greatest, 1) / parts;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  return Math.max(1, step);
}

export class Plot {
  // series: [{name, className, sign}]; a sign of -1 draws below the axis.
  // format, axisFormat: turn a number into text.  readout: the element for the values.
  constructor(svg, readout, series, format, axisFormat = format) {
    this.svg = svg;
    this.format = format;
    this.axisFormat = axisFormat;
    this.series = series;
    this.samples = series.map(() => []);
    this.interval = 1;
    this.limit = null;
    this.pointed = null;
    this.grid = element("g", { class: "grid" }, svg);
    this.areas = series.map((one) => element("path", { class: `area ${one.className}` }, svg));
    this.limitLine = element("line", { class: "limit" }, svg);
    this.lines = series.map((one) => element("path", { class: `line ${one.className}` }, svg));
    this.cursor = element("line", { class: "cursor" }, svg);
    this.dots = series.map((one) => element("circle", { class: `dot ${one.className}`, r: 3.5 }, svg));
    this.empty = element("text", { class: "empty", "text-anchor": "middle" }, svg);
    this.empty.textContent = "collecting begins now";
    this.when = document.createElement("span");
    this.when.className = "when";
    this.values = series.map((one) => {
      const label = document.createElement("span");
      const key = document.createElement("i");
      key.className = `key ${one.className}`;
      const value = document.createElement("b");
      label.append(key, `${one.name} `, value);
      readout.append(label);
      return value;
    });
    readout.prepend(this.when);
    new ResizeObserver(() => this.draw()).observe(svg);
    svg.addEventListener("pointermove", (event) => this.point(event));
    svg.addEventListener("pointerdown", (event) => this.point(event));
    svg.addEventListener("pointerleave", () => { this.pointed = null; this.draw(); });
  }

  show(samples, interval, limit = null) {
    this.samples = samples;
    this.interval = interval;
    this.limit = limit;
    this.draw();
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    this.pointed = event.clientX - box.left;
    this.draw();
  }

  draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (!width || !height) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const length = this.samples[0].length;
    let greatest = 1;
    for (const values of this.samples) for (const value of values) greatest = Math.max(greatest, value);
    // A limit far above the use would press the curve to the ground.
    const showLimit = this.limit !== null && this.limit > 0 && this.limit <= greatest * 3;
    if (showLimit) greatest = Math.max(greatest, this.limit);
    const mirrored = this.series.some((one) => one.sign < 0);
    const step = stepFor(greatest, mirrored ? 2 : 4);
    const top = Math.ceil(greatest / step) * step;
    const low = mirrored ? -top : 0;
    const labels = [];
    for (let value = low; value <= top; value += step) labels.push([value, this.axisFormat(Math.abs(value))]);
    const left = 14 + 7 * Math.max(...labels.map(([, text]) => text.length));
    const seconds = Math.max(SHORTEST, (length - 1) * this.interval);
    const right = width - RIGHT;
    const ground = height - BOTTOM;
    const x = (ago) => right - (ago / seconds) * (right - left);
    const y = (value) => ground - ((value - low) / (top - low)) * (ground - TOP);
    this.drawGrid(labels, left, right, ground, x, y, seconds);

    this.samples.forEach((values, index) => {
      const { sign } = this.series[index];
      const points = values.map((value, at) => {
        const ago = (length - 1 - at) * this.interval;
        return `${x(ago).toFixed(1)} ${y(sign * value).toFixed(1)}`;
      });
      const path = points.length > 1 ? `M${points.join("L")}` : "";
      this.lines[index].setAttribute("d", path);
      const zero = y(0).toFixed(1);
      const start = x((length - 1) * this.interval).toFixed(1);
      this.areas[index].setAttribute("d", path && `${path}L${right} ${zero}L${start} ${zero}Z`);
    });
    this.limitLine.classList.toggle("shown", showLimit);
    if (showLimit) this.place(this.limitLine, left, y(this.limit), right, y(this.limit));
    this.empty.classList.toggle("shown", length < 2);
    this.empty.setAttribute("x", (left + right) / 2);
    this.empty.setAttribute("y", TOP + (ground - TOP) * 0.3);
    this.drawCursor(length, left, right, ground, x, y, seconds);
  }

  drawGrid(labels, left, right, ground, x, y, seconds) {
    this.grid.replaceChildren();
    for (const [value, text] of labels) {
      this.place(element("line", value ? {} : { class: "zero" }, this.grid), left, y(value), right, y(value));
      const label = element("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, this.grid);
      label.textContent = text;
    }
    const every = seconds > 150 ? 60 : seconds > 60 ? 30 : 15;
    for (let ago = 0; ago <= seconds + 0.001; ago += every) {
      const anchor = ago === 0 ? "end" : x(ago) - left < 20 ? "start" : "middle";
      const label = element("text", { x: x(ago), y: ground + 17, "text-anchor": anchor }, this.grid);
      label.textContent = ago === 0 ? "now" : ago % 60 === 0 ? `−${ago / 60} min` : `−${ago} s`;
    }
  }

  drawCursor(length, left, right, ground, x, y, seconds) {
    const pointing = this.pointed !== null && length > 1;
    const ago = pointing ? ((right - this.pointed) / (right - left)) * seconds : 0;
    const back = Math.min(Math.max(Math.round(ago / this.interval), 0), Math.max(length - 1, 0));
    const at = length - 1 - back;
    this.cursor.classList.toggle("shown", pointing);
    if (pointing) this.place(this.cursor, x(back * this.interval), TOP, x(back * this.interval), ground);
    this.when.textContent = pointing && back ? `${back * this.interval} s ago` : "";
    this.samples.forEach((values, index) => {
      const known = length > 0;
      this.values[index].textContent = known ? this.format(values[at]) : "–";
      this.dots[index].classList.toggle("shown", length > 1);
      if (known) {
        this.dots[index].setAttribute("cx", x(back * this.interval));
        this.dots[index].setAttribute("cy", y(this.series[index].sign * values[at]));
      }
    });
  }

  place(line, x1, y1, x2, y2) {
    for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) line.setAttribute(name, value.toFixed(1));
  }
}
