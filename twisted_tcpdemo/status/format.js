// Numbers as text for people.

const grouped = new Intl.NumberFormat("en");

export function count(number) {
  return grouped.format(number);
}

// Three digits and a unit, in steps of a thousand.
export function bytesInParts(number) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
  let step = 0;
  while (step < units.length - 1 && number >= 999.5) {
    number /= 1000;
    step += 1;
  }
  const digits = step === 0 || number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2;
  return [number.toFixed(digits), units[step]];
}

export function bytes(number) {
  return bytesInParts(number).join(" ");
}

// The same without zeros at the end, for round numbers: "4 MB".
export function roundBytes(number) {
  const [figure, unit] = bytesInParts(number);
  return number ? `${Number(figure)} ${unit}` : "0";
}

export function rate(number) {
  return number < 10 && number > 0 ? number.toFixed(1) : grouped.format(Math.round(number));
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// Two units at the most: "3 h 12 min".
export function duration(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  const first = UNITS.findIndex(([, size]) => whole >= size);
  const [name, size] = UNITS[first];
  const big = `${Math.floor(whole / size)} ${name}`;
  if (first === UNITS.length - 1) return big;
  const [lesser, lesserSize] = UNITS[first + 1];
  const rest = Math.floor((whole % size) / lesserSize);
  return rest ? `${big} ${rest} ${lesser}` : big;
}

export function milliseconds(seconds) {
  if (seconds === null) return "–";
  const value = seconds * 1000;
  if (value >= 1000) return `${seconds.toFixed(1)} s`;
  return `${value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0)} ms`;
}

// The same in one short word, for the bounds of a distribution: "15 s", "4 h".
export function bound(seconds) {
  for (const [name, size] of UNITS) {
    if (seconds >= size) return `${seconds / size} ${name}`;
  }
  return seconds >= 0.001 ? `${+(seconds * 1000).toPrecision(3)} ms` : `${+(seconds * 1e6).toPrecision(3)} µs`;
}

const withSeconds = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const withoutSeconds = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

// A moment, in seconds since 1970, by the clock of the viewer.
export function clockTime(moment, seconds) {
  return (seconds ? withSeconds : withoutSeconds).format(new Date(moment * 1000));
}

export function ago(seconds) {
  return `${duration(seconds)} ago`;
}

const RULES = {
  maxConnections: "the server was full",
  descriptorLimit: "no descriptors were left",
  allowedNetworks: "not in an allowed network",
  deniedNetworks: "in a denied network",
  perPeerLimit: "too many connections of one peer",
  peerRate: "one peer came too often",
  admissionFailed: "a rule has failed",
  proxyUntrusted: "not a trusted proxy",
  proxyTimeout: "PROXY header came too late",
  proxyHeader: "PROXY header was wrong",
  proxyStopped: "the server had stopped",
};

// The name of a rule in words; that of a rule of the application's as it can be read.
export function rule(name) {
  return Object.hasOwn(RULES, name) ? RULES[name] : name.replace(/([a-z])([A-Z])/g, "$1 $2");
}

export function percent(share) {
  return `${Math.round(share * 100)} %`;
}
