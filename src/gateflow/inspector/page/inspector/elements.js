/* The inspector: a text, what one model or two make of it, and plots that point at the same token.

   It asks by a `source`, and does not know who answers: the local server (start.js), a file in which answers are
   recorded, or a notebook. All text gets into the page as text; nothing is ever parsed as HTML. */

const LINES = [0, 1, 2, 3, 4, 5].map((k) => `var(--line-${k})`);
const touch = matchMedia("(pointer: coarse)").matches;
let ids = 0;

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") Object.entries(value).forEach(([event, call]) => element.addEventListener(event, call));
    else if (name === "style") Object.entries(value).forEach(([key, x]) => element.style.setProperty(key, x));
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/* Puts other children in a place; who was on a control there by keyboard is on the one that takes its place. */
function replace(place, ...children) {
  const controls = () => [...place.querySelectorAll("input, select, button")];
  const at = controls().indexOf(document.activeElement);
  place.replaceChildren(...children);
  controls()[at]?.focus({ preventScroll: true });
}

/* Named by the words alone: the name of a label would have what is chosen in it. */
function labelled(text, input, kind = "") {
  const words = h("span", { id: `gateflow-${++ids}` }, text);
  (input.matches("input, select") ? input : input.querySelector("input, select")).setAttribute(
    "aria-labelledby",
    words.id,
  );
  return h("label", { class: kind }, words, input);
}
const choice = (names, value, changed, shown = (x) => x) => {
  const select = h(
    "select",
    { on: { change: () => changed(select.value) } },
    ...names.map((x) => h("option", { value: x }, shown(x))),
  );
  if (value !== undefined && value !== null) select.value = value;
  return select;
};
/* What is no number, or none that may be, is told by the browser and changes nothing: an empty box is not 0. */
const number = (value, changed, more = {}) => {
  const input = h("input", { type: "number", value: String(value), required: true, ...more });
  const may = () => {
    const { badInput, valueMissing, rangeUnderflow, rangeOverflow, stepMismatch } = input.validity;
    return !(badInput || valueMissing || rangeUnderflow || rangeOverflow || (stepMismatch && !more.step));
  };
  input.addEventListener("change", () => (may() ? changed(Number(input.value)) : input.reportValidity()));
  return input;
};
const button = (text, call, more = {}) => h("button", { type: "button", ...more, on: { click: call } }, text);
/* What squashes the state itself, such as tanh of c, is called "state" by the instruments. */
const partName = (layer, x) =>
  layer.states.includes(x) ? `${x}, state` : x === "state" ? "squashed state" : x in layer.kinds ? `${x}, gate` : x;
const signed = (x) => (Math.abs(x) < 0.05 ? "0.0" : (x > 0 ? "+" : "") + x.toFixed(1));
/* A number and its sign are not torn apart at the end of a line. */
function percent(p) {
  const near = (x) => (p > 0.995 ? x.toFixed(2) : p < 0.0005 ? x.toPrecision(1) : x.toFixed(1));
  return `${p >= 0.99995 ? "100" : p < 1e-12 ? "0" : near(100 * p)}\u00a0%`;
}
const short = (x) => (x === null || !isFinite(x) ? "never" : Math.abs(x) >= 100 ? x.toFixed(0) : x.toPrecision(3));
const shown = (token) => (token === "" || token.trim() === "" ? "␣" : token);
