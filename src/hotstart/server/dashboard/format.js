// Format numbers for people. An unknown value is a dash, never a zero.

export const UNKNOWN = "–";

const integer = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function formatCount(number) {
  return number === null || number === undefined ? UNKNOWN : integer.format(number);
}

export function formatSeconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "0 s";
  if (value < 0.001) return `${(value * 1000).toFixed(2)} ms`;
  if (value < 0.01) return `${Number((value * 1000).toFixed(1))} ms`;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 10) return `${value.toFixed(2)} s`;
  if (value < 100) return `${value.toFixed(1)} s`;
  return formatDuration(value);
}

// Format a growing duration in its two largest units.
export function formatDuration(value) {
  const s = Math.floor(value);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${pad(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${pad(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d ${pad(Math.floor((s % 86400) / 3600))} h`;
}

export function formatBytes(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 1000) return `${value} B`;
  if (value < 1e6) return `${(value / 1e3).toFixed(0)} kB`;
  if (value < 1e9) return `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} MB`;
  return `${(value / 1e9).toFixed(value < 2e9 ? 2 : value < 1e10 ? 1 : 0)} GB`;
}

// Format a fraction from 0 to 1 as a percentage.
export function formatPercent(fraction) {
  if (fraction === null || fraction === undefined || Number.isNaN(fraction)) return UNKNOWN;
  const percent = fraction * 100;
  return `${percent > 0 && percent < 1 ? "< 1" : Math.round(percent)} %`;
}

// Format a Unix time as the local time of day.
export function formatTime(timestamp) {
  return timestamp === null ? UNKNOWN : new Date(timestamp * 1000).toLocaleTimeString("en-GB");
}

// Join the parts that have text.
export function joinParts(...parts) {
  return parts.filter((part) => part !== null && part !== undefined && part !== "").join(" · ");
}

export function plural(number, singular) {
  return `${formatCount(number)} ${singular}${number === 1 ? "" : "s"}`;
}

const pad = (number) => String(number).padStart(2, "0");
