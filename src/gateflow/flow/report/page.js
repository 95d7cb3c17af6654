"use strict";

const figures = JSON.parse(document.getElementById("data").textContent);
/* On a touch screen a drag scrolls the page; it must not zoom into a figure. */
const touch = matchMedia("(pointer: coarse)").matches;
const escaped = (words) => String(words).replace(/&/g, "&amp;").replace(/</g, "&lt;");

/* Puts the colours of the page's style in place of their names, "var(--ink)", at any depth. */
function coloured(value, style) {
  if (typeof value === "string") return value.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  /* Numbers are most of the page, and no colours; a step of a scale is a number and a colour. */
  if (Array.isArray(value)) return typeof value[0] === "number" && typeof value.at(-1) !== "string" ? value : value.map((part) => coloured(part, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, coloured(part, style)]));
}

function share(logarithm, lowest) {
  if (logarithm <= lowest) return `less than 1e${lowest}`;
  const value = 10 ** logarithm;
  if (value > 1.1) return `${Number(value.toPrecision(2))} times as much`;
  return value >= 0.01 ? `${Number((100 * value).toPrecision(2))} %` : value.toExponential(0);
}

/* What is said under the pointer: of a line, the token and its value; of a cell, all in words. */
function withWords(trace, labels, first) {
  if (trace.type === "heatmap" && !trace.hovertemplate) return withShares(trace, labels);
  const named = first && labels.length && !trace.fill;
  return named ? { ...trace, text: labels.map(escaped), hovertemplate: "%{y:.2f} at “%{text}”" } : trace;
}

function withShares(trace, labels) {
  const step = (k) => (labels[k] === undefined ? `${k}` : `${k} “${escaped(labels[k])}”`);
  const said = (z, i, j) => `loss at step ${step(trace.y[i])}<br>state after step ${step(trace.x[j])}<br>${share(z, trace.zmin)} left`;
  const text = trace.z.map((row, i) => row.map((z, j) => (z === null ? "" : said(z, i, j))));
  return { ...trace, text, hovertemplate: "%{text}<extra></extra>" };
}

/* Tokens instead of numbers along an axis, as many as have room: twelve pixels are a line of small letters. */
function tokens(labels, room) {
  const every = Math.max(1, Math.ceil((labels.length * 12) / Math.max(room, 1)));
  const places = labels.map((_, k) => k).filter((k) => k % every === 0);
  const short = (word) => (word.length > 12 ? `${word.slice(0, 11)}…` : word);
  return { tickfont: { size: 11 }, tickvals: places, ticktext: places.map((k) => escaped(short(labels[k]))) };
}

function layoutOf(own, labels, labelled, place) {
  const axes = Object.keys(own).filter((key) => /^[xy]axis/.test(key));
  const look = { gridcolor: "var(--grid)", linecolor: "var(--grid)", fixedrange: touch };
  const shown = Object.fromEntries(axes.map((key) => [key, { ...look, ...own[key] }]));
  /* Half of a figure's height is what title, scale and the tokens below leave it. */
  if (labelled.includes("xaxis")) Object.assign(shown.xaxis, tokens(labels, 0.85 * place.clientWidth), { tickangle: labels.some((word) => word.length > 2) ? -60 : 0 });
  if (labelled.includes("yaxis")) Object.assign(shown.yaxis, tokens(labels, 0.6 * place.clientHeight));
  return {
    font: { family: "system-ui, sans-serif", size: 13, color: "var(--ink)" },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    showlegend: false,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { bgcolor: "var(--card)", bordercolor: "var(--mark)", font: { color: "var(--ink)" } },
    dragmode: touch ? false : "zoom",
    ...own,
    margin: { l: 8, r: 12, t: 12, b: 8, ...own.margin },
    ...shown,
  };
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  figures.forEach((figure, k) => {
    const traces = figure.data.map((trace, i) => withWords(trace, figure.labels, i === 0));
    const place = document.getElementById(`figure-${k}`);
    const layout = layoutOf(figure.layout, figure.labels, figure.labelled, place);
    Plotly.react(place, coloured(traces, style), coloured(layout, style), config);
  });
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

/* One part of the state at a time. */
document.querySelectorAll(".choices input").forEach((input) =>
  input.addEventListener("change", () => {
    const figure = input.name.replace("choice", "figure");
    const all = input.closest(".choices").querySelectorAll("input");
    Plotly.restyle(figure, { visible: [...all].map((one) => one.checked) }, [...all.keys()]);
  }),
);

document.querySelectorAll(".code button").forEach((button) =>
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    /* Selected as well: browsers have a clipboard in secure contexts only. */
    getSelection().selectAllChildren(code);
    await navigator.clipboard?.writeText(code.textContent);
    button.textContent = navigator.clipboard ? "copied" : "selected";
    setTimeout(() => (button.textContent = "copy"), 1500);
  }),
);
