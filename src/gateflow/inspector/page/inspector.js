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

/* Named by the words alone: the name of a label would have what is chosen in it. */
function labelled(text, input, kind = "") {
  const words = h("span", { id: `gateflow-${++ids}` }, text);
  (input.matches("input, select") ? input : input.querySelector("input, select")).setAttribute("aria-labelledby", words.id);
  return h("label", { class: kind }, words, input);
}
const choice = (names, value, changed, shown = (x) => x) => {
  const select = h("select", { on: { change: () => changed(select.value) } }, ...names.map((x) => h("option", { value: x }, shown(x))));
  if (value !== undefined && value !== null) select.value = value;
  return select;
};
const number = (value, changed, more = {}) => {
  const input = h("input", { type: "number", value: String(value), ...more, on: { change: () => changed(Number(input.value)) } });
  return input;
};
const button = (text, call, more = {}) => h("button", { type: "button", ...more, on: { click: call } }, text);
/* What squashes the state itself, such as tanh of c, is called "state" by the instruments. */
const partName = (layer, x) => (layer.states.includes(x) ? `${x}, state` : x === "state" ? "squashed state" : x in layer.kinds ? `${x}, gate` : x);
const signed = (x) => (Math.abs(x) < 0.05 ? "0.0" : (x > 0 ? "+" : "") + x.toFixed(1));
/* A number and its sign are not torn apart at the end of a line. */
const percent = (p) => `${p >= 0.99995 ? "100" : p > 0.995 ? (100 * p).toFixed(2) : p < 1e-12 ? "0" : p < 0.0005 ? (100 * p).toPrecision(1) : (100 * p).toFixed(1)}\u00a0%`;
const short = (x) => (x === null || !isFinite(x) ? "never" : Math.abs(x) >= 100 ? x.toFixed(0) : x.toPrecision(3));
const shown = (token) => (token === "" || token.trim() === "" ? "␣" : token);

/* Plotly takes colours, and the page has names of them that differ by light and dark. */
function coloured(value, style) {
  if (typeof value === "string") return value.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  if (Array.isArray(value)) return value.every((x) => typeof x === "number") ? value : value.map((x) => coloured(x, style));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, x]) => [k, k === "z" || k === "text" ? x : coloured(x, style)]));
  return value;
}

const escaped = (text) => shown(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

class Plot {
  constructor(page, label, size = "", tokens = false) {
    this.page = page;
    this.tokens = tokens;
    this.inner = h("div", { style: { height: "100%" } });
    this.cursor = h("div", { class: "cursor", "aria-hidden": "true" });
    this.element = h("div", { class: `plot ${size}`, role: "img", "aria-label": label }, this.inner, this.cursor);
    page.plots.push(this);
  }

  show(label, traces, layout = {}, tokens = null) {
    this.element.setAttribute("aria-label", label);
    this.last = [label, traces, layout, tokens];
    const style = getComputedStyle(this.page.root);
    const axes = { gridcolor: "var(--grid)", linecolor: "var(--grid)", zeroline: false, fixedrange: touch, automargin: true };
    const xaxis = { ...axes, ...layout.xaxis };
    if (tokens) {
      const every = Math.ceil(tokens.length / 48);
      const places = tokens.map((_, k) => k).filter((k) => k % every === 0);
      const cut = (text) => (text.length > 12 ? `${text.slice(0, 11)}…` : text);
      Object.assign(xaxis, { tickvals: places, ticktext: places.map((k) => escaped(cut(tokens[k]))), tickangle: -60, tickfont: { size: 11 }, range: [-0.5, tokens.length - 0.5] });
    }
    const full = {
      font: { family: "system-ui, sans-serif", size: 12, color: "var(--ink)" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: traces.length > 1,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, dragmode: touch ? false : "zoom",
      hoverlabel: { bgcolor: "var(--card)", bordercolor: "var(--mark)", font: { color: "var(--ink)" } },
      margin: { l: 44, r: 10, t: 10, b: 36 }, ...layout, xaxis, yaxis: { ...axes, ...layout.yaxis },
    };
    const config = { responsive: true, displayModeBar: false, displaylogo: false };
    globalThis.Plotly.react(this.inner, coloured(traces, style), coloured(full, style), config).then(() => this.point(this.page.pointed ?? null));
    if (tokens && !this.linked) {
      this.linked = true;
      this.inner.on("plotly_hover", (e) => this.page.point(Math.round(e.points[0].x), this));
      this.inner.on("plotly_click", (e) => this.page.choose(Math.round(e.points[0].x)));
    }
  }

  redraw() { if (this.last) this.show(...this.last); }

  point(k) {
    const axis = this.inner._fullLayout && this.inner._fullLayout.xaxis;
    const there = this.tokens && this.last && this.last[3] && axis && k !== null && k < this.last[3].length;
    this.cursor.style.display = there ? "block" : "none";
    if (there) this.cursor.style.left = `${axis._offset + axis.l2p(k)}px`;
  }
}

/* A part of the page that asks: an answer that comes too late is dropped, and what is refused is said in place. */
class Panel {
  constructor(page, title, reading) {
    this.page = page;
    this.turn = 0;
    this.failed = h("p", { class: "failed", role: "alert" });
    this.heading = h("h2", { id: `gateflow-${++ids}` }, title);
    this.body = h("div");
    this.element = h("section", { "aria-labelledby": this.heading.id }, this.heading, h("p", { class: "reading" }, reading), this.body, this.failed);
  }

  async update() {
    const turn = ++this.turn;
    try {
      await this.draw(() => turn !== this.turn);
      if (turn === this.turn) this.failed.textContent = "";
    } catch (error) {
      if (turn === this.turn) this.failed.textContent = error.message;
    }
  }
}

class Tokens extends Panel {
  constructor(page) {
    const { about, step } = page.about.runs[0];
    const under = { next: `Under each ${step}, bits of surprise. `, step: `Under each ${step}, the likeliest of its outcomes. ` }[about] || "";
    super(page, "Sentence", `${under}Point at a ${step}, or move with the arrow keys: all plots follow. Enter, or a click, chooses it; shift and an arrow key choose a span.`);
    this.rows = h("div");
    this.legend = h("p", { class: "note scale" });
    this.unknown = h("p", { class: "note" });
    this.body.append(this.rows, this.legend, this.unknown);
  }

  async draw(late) {
    const { page } = this;
    const about = page.about.runs[0].about;
    const reads = await Promise.all(page.runs().map((run) => (page.about.runs[run].about === "nothing" ? page.ask("gates", { ...page.text(run), layer: page.layers(run)[0].name }) : page.ask("read", page.text(run)))));
    if (late()) return;
    page.reads = reads;
    page.state.place ??= about === "next" ? Math.min(page.state.lastPlace ?? reads[0].tokens.length, reads[0].tokens.length) : reads[0].tokens.length - 1;
    page.state.place = Math.min(page.state.place, reads[0].tokens.length - (about !== "next"));
    const { begin, end } = page.span();
    this.strips = reads.map((read, run) => this.strip(read, run, begin, end));
    const rows = this.strips.map((strip, run) => h("div", { class: "row" }, page.name(run), strip));
    const difference = this.difference(reads);
    /* Tokens are made anew; whoever is going along them by keyboard stays where they are. */
    const here = this.rows.contains(document.activeElement) ? document.activeElement.dataset.k : null;
    this.rows.replaceChildren(...rows, ...(difference ? [difference] : []));
    if (here !== null) this.rows.querySelector(`.token[data-k="${Math.min(Number(here), reads[0].tokens.length)}"]`)?.focus({ preventScroll: true });
    const unknown = reads[0].unknown || [];
    this.unknown.textContent = unknown.length ? `Never seen by the run, and read as <unk>: ${unknown.slice(0, 10).join(", ")}.` : "";
    page.paint();
  }

  strip(read, run, begin, end) {
    const { page } = this;
    const most = Math.max(1, ...page.reads.flatMap((each) => this.surprises(each)).filter((x) => x !== null));
    const surprises = this.surprises(read);
    const rows = Object.values(read.rows || {})[0] || [];
    const said = (k) => (page.about.runs[run].about === "step" && rows[k] ? shown(rows[k].best[0].name) : "");
    const tokens = read.tokens.map((token, k) => this.token(shown(token), k, run, surprises[k], most, k >= begin && k < end, "", said(k)));
    if (page.about.runs[run].about === "next") tokens.push(this.token("…", read.tokens.length, run, null, most, false, "next"));
    return h("div", { class: "tokens", role: "group", "aria-label": `tokens, ${page.about.runs[run].name}`, on: { keydown: (e) => this.key(e) } }, ...tokens);
  }

  surprises(read) {
    const rows = read.rows && Object.values(read.rows)[0];
    return rows && rows.length >= read.tokens.length ? rows.slice(0, read.tokens.length).map((row) => (row ? row.surprise : null)) : read.tokens.map(() => null);
  }

  token(text, k, run, bits, most, inside, kind = "", outcome = "") {
    const { page } = this;
    const chosen = k === page.state.place;
    const known = bits !== null && bits !== undefined;
    const said = known ? Math.abs(bits).toFixed(1) : outcome;
    const label = kind ? "what would follow" : `${text}${known ? `, ${said} bits` : said ? `, ${said}` : ""}`;
    return h(
      "button",
      {
        type: "button", class: `token ${kind} ${inside ? "in-span" : ""}`, "data-k": String(k), "aria-pressed": String(chosen), "aria-label": label, tabIndex: chosen && run === 0 ? 0 : -1,
        on: { click: (e) => (e.shiftKey ? page.extend(k) : page.choose(k)), pointerenter: () => page.point(k), focus: () => page.point(k) },
      },
      text, h("small", {}, said || "\u00a0"), known ? h("i", { "aria-hidden": "true", style: { "--c": LINES[run], "--bits": String(Math.max(0, bits / most)) } }) : null,
    );
  }

  difference(reads) {
    if (reads.length < 2) return null;
    const same = reads[0].tokens.join("\n") === reads[1].tokens.join("\n");
    const [a, b] = reads.map((read) => this.surprises(read));
    const { typed } = this.page.about.runs[0];
    if (!same) return h("p", { class: "note" }, typed ? "The two runs cut this text into other tokens: there is no difference token by token." : "The two runs have other examples of this number: what stands side by side is not the same one.");
    if (a.every((x) => x === null)) return null;
    const most = Math.max(0.1, ...a.map((x, k) => Math.abs((b[k] ?? 0) - (x ?? 0))));
    const cells = a.map((x, k) => {
      const by = x === null || b[k] === null ? null : b[k] - x;
      return h("span", { class: "token", style: tone(by === null ? 0 : -by / most) }, shown(reads[0].tokens[k]), h("small", {}, by === null ? "\u00a0" : signed(by)));
    });
    return h("div", { class: "row" }, h("span", { class: "of" }, "difference of the bits, second minus first: blue where the second run expected it more"), h("div", { class: "tokens" }, ...cells));
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const all = [...event.currentTarget.querySelectorAll("button")];
    const here = all.indexOf(document.activeElement);
    const there = Math.max(0, Math.min(all.length - 1, here + step));
    all[there].focus();
    if (event.shiftKey) this.page.extend(there);
  }
}

const tone = (share) => ({ "--tone": share < 0 ? "var(--against)" : "var(--for)", "--share": `${Math.round(50 * Math.min(1, Math.abs(share)))}%` });

class Prediction extends Panel {
  constructor(page) {
    super(page, "Reaches back", "What is expected at the chosen place. Tokens above are coloured by what each adds to the score of the first outcome over the second: the gradient with respect to what was read, times what was read. A gradient tells of small changes, and of a saturated unit it may tell little: Intervene proves what it suggests.");
    this.tables = h("div", { class: "two" });
    this.these = h("input", { class: "word", on: { change: () => this.contrast() } });
    this.those = h("input", { class: "word", on: { change: () => this.contrast() } });
    this.all = h("input", { type: "checkbox", on: { change: () => page.set({ all: this.all.checked }) } });
    this.said = h("p", { class: "note" });
    const outputs = Object.keys(page.about.runs[0].outputs);
    const output = outputs.length > 1 ? labelled("of", choice(outputs, page.state.output, (x) => page.set({ output: x, these: null, those: null }))) : null;
    this.body.append(this.tables, h("div", { class: "controls" }, output, labelled("for", this.these), labelled("against", this.those), labelled("log p of the first alone", this.all, "check"), button("likeliest", () => page.set({ these: null, those: null, all: false }))), this.said);
  }

  contrast() { this.page.set({ these: this.these.value || null, those: this.those.value || null }); }

  async draw(late) {
    const { page } = this, { state } = page;
    if (!page.reads) return;
    const answers = await Promise.all(page.runs().map((run) => page.ask("attribution", page.attribution(run, state.place)).catch((error) => ({ error }))));
    if (late()) return;
    page.attributions = answers;
    const output = state.output || Object.keys(page.about.runs[0].outputs)[0];
    this.tables.replaceChildren(...page.reads.map((read, run) => this.table(read, run, output)));
    const first = answers.find((answer) => !answer.error);
    page.paint();
    if (!first) throw answers[0].error;
    if (document.activeElement !== this.these) this.these.value = first.these;
    if (document.activeElement !== this.those) this.those.value = first.those ?? "";
    this.all.checked = Boolean(state.all);
    const figures = answers.map((answer, run) => (answer.error ? "" : `${page.about.runs[run].name}: ${answer.value.toFixed(3)}`)).filter(Boolean).join("; ");
    this.said.textContent = first.those === null ? `log p of “${first.these}”: ${figures}.` : `Score of “${first.these}” over “${first.those}”: ${figures}.`;
  }

  table(read, run, output) {
    const rows = (read.rows && read.rows[output]) || [];
    const row = this.page.about.runs[run].about === "whole" ? rows[0] : rows[this.page.state.place];
    if (!row) return h("p", { class: "note" }, "Nothing is predicted here: nothing has been read before it.");
    const lines = row.best.concat(row.came && !row.best.some((b) => b.number === row.came.number) ? [row.came] : []);
    const cells = (likely) => [
      h("td", {}, shown(likely.name), row.came && row.came.number === likely.number ? " ← came" : ""),
      h("td", {}, output === "number" ? likely.p.toPrecision(4) : percent(likely.p)),
      h("td", { class: "bars" }, h("i", { "aria-hidden": "true", style: { "--c": LINES[run], "--p": String(Math.min(1, Math.max(0, likely.p))) } })),
      h("td", {}, button("for", () => this.page.set({ these: likely.name }), { "aria-label": `for ${likely.name}` }), " ", button("against", () => this.page.set({ those: likely.name, all: false }), { "aria-label": `against ${likely.name}` })),
    ];
    return h("div", {}, this.page.name(run), h("table", {}, ...lines.map((likely) => h("tr", {}, ...cells(likely)))));
  }
}

class Memory extends Panel {
  constructor(page) {
    super(page, "Memory", "What the units of a layer hold at each step; a row is a unit. A row of one colour over many words is a unit that remembers.");
    this.controls = h("div", { class: "controls" });
    this.plots = page.about.runs.map(() => new Plot(page, "memory", "tall", true));
    this.maps = h("div", { class: "two" }, ...this.plots.map((plot, run) => h("div", {}, page.name(run), plot.element)));
    this.note = h("p", { class: "note" });
    this.alike = h("div");
    this.body.append(this.controls, this.maps, this.note, this.alike);
    this.choices();
  }

  choices() {
    const { page } = this, { state } = page;
    const layer = page.layer(0);
    const threshold = number(state.threshold, (x) => page.set({ threshold: x }), { step: "0.1" });
    this.controls.replaceChildren(
      labelled("layer", choice(page.layers(0).map((l) => l.name), layer.name, (x) => { page.set({ layer: x, part: null }); this.choices(); })),
      labelled("part", choice(Object.keys(layer.parts), page.part(0), (x) => page.set({ part: x }), (x) => partName(layer, x))),
      labelled("order", choice(["half-life", "correlation", "number"], state.order, (x) => page.set({ order: x }), (x) => (x === "correlation" ? "correlation with the span" : x))),
      labelled("units", choice(["16", "64", "4096"], String(state.most), (x) => page.set({ most: Number(x) }), (x) => (x === "4096" ? "all" : `first ${x}`))),
      labelled("on above", threshold),
      button("spans that look alike", () => this.search()),
    );
    this.equation = h("details", {}, h("summary", {}, `equations of ${layer.cell}`), h("pre", { tabIndex: 0 }, layer.equation));
    this.controls.append(this.equation);
  }

  async draw(late) {
    const { page } = this, { state } = page, span = page.span();
    const whole = span.end - span.begin >= page.reads?.[0]?.tokens.length;
    const more = { order: state.order === "correlation" && whole ? "number" : state.order, most: state.most, ...(whole ? {} : { span }) };
    const answers = await Promise.all(page.runs().map((run) => page.ask("memory", { ...page.text(run), layer: page.layer(run).name, part: page.part(run), ...more })));
    if (late()) return;
    /* One colour scale for both runs, even around 0. */
    const most = Math.max(1e-6, ...answers.flatMap((answer) => answer.values.flatMap((row) => row.map(Math.abs))));
    const gate = page.layer(0).kinds[page.part(0)] === "sigmoid";
    answers.forEach((answer, run) => this.map(answer, run, gate ? [0, 1] : [-most, most], gate));
    this.note.textContent = `Colours from ${gate ? "0 (shut) to 1 (open)" : `${(-most).toFixed(2)} to ${most.toFixed(2)}`}. ${answers[0].units.length} of ${answers[0].count} units. The span (${span.begin + 1} to ${span.end}) is what units are correlated with.`;
  }

  map(answer, run, [zmin, zmax], gate) {
    const told = (i) => `unit ${answer.units[i]}` + (answer.half_lives[i] === null ? "" : `, half-life ${short(answer.half_lives[i])}`) + (answer.correlations ? `, r = ${answer.correlations[i].toFixed(2)}` : "");
    const rows = answer.units.map((_, i) => told(i));
    const scale = gate ? [[0, "var(--card)"], [1, "var(--for)"]] : [[0, "var(--against)"], [0.5, "var(--card)"], [1, "var(--for)"]];
    const text = answer.values.map((row, i) => row.map((z, k) => `${escaped(answer.tokens[k])}<br>${rows[i]}<br>${z}`));
    const trace = { type: "heatmap", z: answer.values, zmin, zmax, colorscale: scale, text, hovertemplate: "%{text}<extra></extra>", colorbar: { thickness: 8, len: 1, outlinewidth: 0 } };
    const every = Math.ceil(answer.units.length / 24);
    const places = answer.units.map((_, i) => i).filter((i) => i % every === 0);
    const yaxis = { autorange: "reversed", tickvals: places, ticktext: places.map((i) => String(answer.units[i])), title: { text: "unit" }, showgrid: false };
    this.plots[run].show(`${this.page.part(run)} of ${answer.units.length} units over ${answer.tokens.length} tokens, ${this.page.about.runs[run].name}`, [trace], { yaxis, xaxis: { showgrid: false } }, answer.tokens);
  }

  search() {
    const { page } = this;
    const question = { ...page.text(0), layer: page.layer(0).name, part: page.part(0), threshold: page.state.threshold, span: page.span() };
    work(page, this.alike, "alike", question, (answer) => this.found(answer));
  }

  found(answer) {
    const { page } = this;
    const line = (found) => {
      const words = found.tokens.map((token, k) => (k >= found.begin && k < found.end ? h("mark", {}, shown(token)) : shown(token)));
      return h("li", {}, `${percent(found.match)} `, button("read", () => page.set({ example: found.example, text: null, place: null, begin: found.begin, end: found.end })), " ", ...words.flatMap((word) => [word, " "]));
    };
    return h("div", {}, h("p", { class: "note" }, `Units on over the whole span: ${answer.units.join(", ")}. Below, the spans of the run's own examples in which most of these are on, and few others.`), h("ul", { class: "found" }, ...answer.found.map(line)));
  }
}

/* Work that takes seconds: a bar, a button that ends it, and then what came out. */
function work(page, place, view, question, show) {
  page.working.get(place)?.cancel();
  const bar = h("progress", { max: 1, value: 0, "aria-label": "progress" });
  const doing = page.source.work(view, question, ({ done, total }) => { bar.max = total; bar.value = done; });
  page.working.set(place, doing);
  place.replaceChildren(h("p", { class: "controls" }, bar, button("cancel", () => page.end(place))));
  const ours = (call) => (found) => { if (page.working.get(place) === doing) { page.working.set(place, null); call(found); } };
  doing.answer.then(
    ours((answer) => { if (answer) { page.remember(view, question, answer); place.replaceChildren(show(answer)); page.redraw(place); } else place.replaceChildren(); }),
    ours((error) => place.replaceChildren(h("p", { class: "failed", role: "alert" }, error.message))),
  );
}

class Gates extends Panel {
  constructor(page) {
    super(page, "Gates", "How open each gate is, token by token: the mean over units, and the band in which eight of ten lie. Half-lives: steps in which a unit's memory halves, if nothing is written.");
    this.plots = page.about.runs.map(() => new Plot(page, "gates", "", true));
    this.lives = new Plot(page, "half-lives", "low");
    this.note = h("p", { class: "note" });
    this.body.append(...this.plots.map((plot, run) => h("div", {}, page.name(run), plot.element)), this.note, this.lives.element);
  }

  async draw(late) {
    const { page } = this;
    const answers = await Promise.all(page.runs().map((run) => page.ask("gates", { ...page.text(run), layer: page.layer(run).name })));
    if (late()) return;
    answers.forEach((answer, run) => this.bands(answer, run));
    const lives = answers.map((answer, run) => ({ type: "scatter", mode: "lines", name: page.about.runs[run].name, line: { color: LINES[run], dash: ["solid", "dash"][run], width: 2 }, y: answer.half_lives.map((x) => (x === null ? null : Math.max(x, 0.01))) })).filter((trace) => trace.y.length);
    this.lives.element.hidden = !lives.length;
    const middle = answers.map((answer, run) => (answer.half_lives.length ? `${page.about.runs[run].name}: ${short(answer.half_lives[answer.half_lives.length >> 1])} in the middle, ${short(answer.half_lives[0])} at most, decided by the ${answer.keeper} gate` : "")).filter(Boolean);
    this.note.textContent = middle.length ? `Half-lives in steps, from the longest to the shortest. ${middle.join("; ")}.` : "No gate of this cell keeps its memory, so there are no half-lives.";
    if (lives.length) this.lives.show("half-lives of units, sorted", lives, { yaxis: { type: "log", title: { text: "half-life" } }, xaxis: { title: { text: "units, sorted" } } });
  }

  /* A strip for each gate, one below the other: bands in one plot would hide each other. */
  bands(answer, run) {
    const x = answer.tokens.map((_, k) => k), count = answer.gates.length, layout = { showlegend: false, xaxis: { anchor: `y${count > 1 ? count : ""}` }, annotations: [] };
    const traces = answer.gates.flatMap((gate, i) => {
      const axis = i ? `y${i + 1}` : "y", colour = LINES[i % LINES.length];
      const top = 1 - i / count, low = { sigmoid: 0, tanh: -1 }[gate.kind];
      layout[`yaxis${i ? i + 1 : ""}`] = { domain: [top - 0.86 / count, top], range: low === undefined ? undefined : [low - 0.05, 1.05], nticks: 3, zeroline: false, gridcolor: "var(--grid)", fixedrange: true };
      layout.annotations.push({ xref: "paper", yref: "paper", x: 0, y: top, yshift: 3, xanchor: "left", yanchor: "middle", text: gate.gate === "state" ? "squashed state" : escaped(gate.gate), showarrow: false, font: { size: 11, color: colour } });
      const of = { hoverinfo: "skip", mode: "lines", line: { width: 0, color: colour }, yaxis: axis };
      return [{ ...of, x, y: gate.low }, { ...of, x, y: gate.high, fill: "tonexty", fillcolor: mixed(this.page.root, colour) }, { x, y: gate.mean, yaxis: axis, mode: "lines", line: { color: colour, width: 2 }, text: answer.tokens.map(escaped), hovertemplate: "%{text}: %{y:.2f}<extra>" + escaped(gate.gate) + "</extra>" }];
    });
    this.plots[run].element.style.height = `${5 + 4.2 * count}rem`;
    this.plots[run].show(`gates of ${this.page.layer(run).name}, ${this.page.about.runs[run].name}`, traces, layout, answer.tokens);
  }
}

/* Plotly reads rgb and no mixtures. */
function mixed(root, colour) {
  const hex = coloured(colour, getComputedStyle(root)).replace("#", "");
  const [r, g, b] = [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},0.22)`;
}

class Agreement extends Panel {
  constructor(page) {
    super(page, "Agreement", "A sentence of the grammar, up to its verb. Change the number of the subject or the distance to it: does the verb follow?");
    const { state } = page;
    this.distance = h("input", { type: "range", min: "1", max: "60", value: String(state.distance), on: { input: () => { this.told.textContent = this.distance.value; page.set({ distance: Number(this.distance.value) }, [this]); } } });
    this.told = h("output", {}, String(state.distance));
    this.plural = choice(["as drawn", "singular", "plural"], state.plural === null ? "as drawn" : state.plural ? "plural" : "singular", (x) => page.set({ plural: x === "as drawn" ? null : x === "plural" }, [this]));
    this.seed = number(state.seed, (x) => page.set({ seed: x }, [this]), { min: "0" });
    this.tables = h("div");
    this.plot = new Plot(page, "agreement by distance", "low");
    this.body.append(
      h("div", { class: "controls" }, labelled("words from subject to verb", h("span", {}, this.distance, " ", this.told), "wide"), labelled("subject", this.plural), labelled("sentence", this.seed), button("read it above", () => this.read())),
      this.tables, h("p", { class: "note" }, "Below, P(right) of both forms of the verb together, by distance, the mean over six sentences. Guessing is right in half."), this.plot.element,
    );
  }

  sentence() {
    const { subject, forms: [form] } = this.answers[0];
    return { text: form.text, example: null, place: null, these: form.right, those: form.wrong, all: false, begin: subject, end: subject + 1 };
  }

  read() { this.page.set(this.sentence()); }

  async begin() {
    const run = this.page.runs().find((each) => this.page.about.runs[each].agreement);
    this.answers = [await this.page.ask("agreement", this.question(run))];
    Object.assign(this.page.state, this.sentence());
  }

  question(run) {
    const { seed, distance, plural } = this.page.state;
    return { run, seed, distance, ...(plural === null ? {} : { plural }) };
  }

  async draw(late) {
    const { page } = this, { state } = page;
    const runs = page.runs().filter((run) => page.about.runs[run].agreement);
    this.answers = await Promise.all(runs.map((run) => page.ask("agreement", this.question(run))));
    if (late()) return;
    const words = this.answers[0].forms[0].text.split(" "), subject = words.length - state.distance;
    const row = (answer, run, form) => h("tr", {}, h("td", {}, page.about.runs[run].name), h("td", {}, form.plural ? "plural" : "singular"), h("td", {}, `${form.right} ${percent(form.p_right)}`), h("td", {}, `${form.wrong} ${percent(form.p_wrong)}`), h("td", {}, percent(form.share)), h("td", { class: "bars" }, h("i", { "aria-hidden": "true", style: { "--c": LINES[run], "--p": String(form.share) } })));
    const head = h("tr", {}, ...["run", "subject", "right", "wrong", "right of both", ""].map((x) => (x ? h("th", { scope: "col" }, x) : h("td", {}))));
    const sentence = h("p", {}, ...words.flatMap((word, k) => [k === subject ? h("b", {}, word) : word, " "]), "…");
    this.tables.replaceChildren(sentence, h("div", { style: { "overflow-x": "auto" }, tabIndex: 0, role: "region", "aria-label": "verbs" }, h("table", {}, head, ...this.answers.flatMap((answer, i) => answer.forms.map((form) => row(answer, runs[i], form))))));
    const curves = await Promise.all(runs.map((run) => page.ask("distances", { run })));
    if (late()) return;
    const traces = curves.map((curve, i) => ({ x: curve.distances, y: curve.share, name: page.about.runs[runs[i]].name, mode: "lines+markers", line: { color: LINES[runs[i]], dash: ["solid", "dash"][runs[i]] } }));
    this.plot.show("share of the right verb by distance", traces, { showlegend: true, yaxis: { range: [0, 1.03], title: { text: "right of both" } }, xaxis: { title: { text: "words from subject to verb" } } });
  }
}

class Intervene extends Panel {
  constructor(page) {
    super(page, "Intervene", "Hold units of the memory at a value, or a gate open (1) or shut (0), over the span, and see what the prediction at the chosen place becomes. A state is set after each step of the span, so that it acts from the next token on.");
    this.controls = h("div", { class: "controls" });
    this.tables = h("div", { class: "two" });
    this.effects = h("div");
    this.body.append(this.controls, this.tables, this.effects);
    this.choices();
  }

  choices() {
    const { page } = this, { state } = page, layer = page.layer(0);
    const units = h("input", { class: "word", value: state.units, placeholder: "all", on: { change: () => page.set({ units: units.value }, [this]) } });
    this.controls.replaceChildren(
      labelled("hold", choice(layer.held, page.held(0), (x) => page.set({ hold: x, value: layer.states.includes(x) ? 0 : 1 }, [this], true), (x) => partName(layer, x))),
      labelled("units, such as 3, 7", units),
      labelled("at", number(state.value, (x) => page.set({ value: x }, [this]), { step: "0.1" })),
      button("try each unit by itself", () => this.each()),
    );
  }

  holds(run) {
    const { page } = this, { state } = page, span = page.span();
    const units = (state.units || "").split(/[\s,]+/).filter(Boolean).map(Number).filter(Number.isInteger);
    return { layer: page.layer(run).name, part: page.held(run), units, value: state.value, ...span };
  }

  async draw(late) {
    const { page } = this, { state } = page;
    const about = page.about.runs[0].about;
    if (!page.reads || (about === "next" && state.place === 0)) return this.tables.replaceChildren(h("p", { class: "note" }, "Choose a later token: nothing is predicted here."));
    const watched = (page.attributions || []).map((a) => (a.error ? [] : [a.these, a.those].filter((x) => x !== null)));
    const answers = await Promise.all(page.runs().map((run) => page.ask("intervention", { ...page.text(run), place: state.place, ...(state.output ? { output: state.output } : {}), holds: [this.holds(run)], watched: watched[run] || [] })));
    if (late()) return;
    this.tables.replaceChildren(...answers.map((answer, run) => this.table(answer, run)));
  }

  table(answer, run) {
    const known = new Set(answer.watched.map((w) => w.name));
    const lines = [...answer.watched, ...answer.likeliest.filter((each) => !known.has(each.name))].map((each) => [each.name, each.before, each.after]);
    const head = h("tr", {}, ...["outcome", "as it is", "held"].map((x) => h("th", { scope: "col" }, x)));
    return h("div", {}, this.page.name(run), h("table", {}, head, ...lines.map(([name, p, q]) => h("tr", {}, h("td", {}, shown(name)), h("td", {}, percent(p)), h("td", {}, percent(q)), h("td", { class: "bars" }, h("i", { "aria-hidden": "true", style: { "--c": LINES[run], "--p": String(q) } }))))));
  }

  each() {
    const { page } = this, { state } = page;
    this.effects.replaceChildren(...page.runs().map(() => h("div")));
    page.runs().forEach((run) => {
      const first = (page.attributions || [])[run];
      if (!first || first.error || first.those === null) return this.effects.children[run].replaceChildren(h("p", { class: "note" }, "Choose two outcomes above, one for and one against."));
      const question = { ...page.text(run), place: state.place, ...(state.output ? { output: state.output } : {}), these: first.these, those: first.those, hold: { ...this.holds(run), units: [] } };
      work(page, this.effects.children[run], "units", question, (answer) => this.shown(answer, run, first));
    });
  }

  shown(answer, run, first) {
    const plot = new Plot(this.page, "effect of each unit", "low");
    const change = answer.after.map((x) => x - answer.before);
    const order = change.map((_, i) => i).sort((a, b) => Math.abs(change[b]) - Math.abs(change[a]));
    const told = order.slice(0, 3).map((i) => `unit ${answer.units[i]} (${change[i] > 0 ? "+" : ""}${change[i].toFixed(2)})`).join(", ");
    const trace = { type: "bar", x: answer.units, y: change, marker: { color: LINES[run] }, hovertemplate: "unit %{x}: %{y:.3f}<extra></extra>" };
    const element = h("div", {}, this.page.name(run), h("p", { class: "note" }, `What becomes of the score of “${first.these}” over “${first.those}” (${answer.before.toFixed(2)}) when one unit is held. Most: ${told}.`), plot.element);
    plot.pending = ["change of the score when each unit is held", [trace], { showlegend: false, xaxis: { title: { text: "unit" } }, yaxis: { title: { text: "change" }, exponentformat: "e", range: [Math.min(-0.1, ...change) * 1.1, Math.max(0.1, ...change) * 1.1] } }];
    return element;
  }
}

class Reach extends Panel {
  constructor(page) {
    super(page, "Reach", "How much of the gradient of the loss at each token arrives at each earlier state, as a share of what begins. It takes seconds, and runs beside the rest.");
    this.place = h("div");
    this.body.append(button("measure", () => this.measure()), this.place);
  }

  measure() {
    this.place.replaceChildren(...this.page.runs().map(() => h("div")));
    this.page.runs().forEach((run) => work(this.page, this.place.children[run], "reach", this.page.text(run), (answer) => this.shown(answer, run)));
  }

  shown(answer, run) {
    const found = answer.layers.map((layer) => {
      const plot = new Plot(this.page, "reach", "tall", true);
      const z = layer.shares.map((row) => row.map((x) => (x === null ? null : Math.log10(Math.max(x, 1e-6)))));
      const trace = { type: "heatmap", z, y: layer.targets, zmin: -6, zmax: 0, colorscale: [[0, "var(--card)"], [1, "var(--for)"]], colorbar: { thickness: 8, outlinewidth: 0, tickvals: [-6, -4, -2, 0], ticktext: ["below 1e-6", "1e-4", "1e-2", "1"] }, hovertemplate: "loss at %{y}, state after %{x}: 10^%{z:.1f}<extra></extra>" };
      plot.pending = [`reach in ${layer.name}`, [trace], { showlegend: false, yaxis: { autorange: "reversed", title: { text: "loss at token" }, showgrid: false }, xaxis: { showgrid: false } }, layer.tokens];
      return h("div", {}, h("p", { class: "note" }, `${this.page.about.runs[run].name}, ${layer.name}: 1 % is left ${layer.horizon} tokens back.`), plot.element);
    });
    return h("div", {}, ...found);
  }
}

class Course extends Panel {
  constructor(page) {
    super(page, "Training", "The course of the training: loss, share of clipped updates, and, if a monitor took part, how far the gradient reached. It grows while the run trains.");
    this.loss = new Plot(page, "loss", "low");
    this.clip = new Plot(page, "clipping", "low");
    this.horizon = new Plot(page, "horizon", "low");
    this.body.append(this.loss.element, h("div", { class: "two" }, this.clip.element, this.horizon.element));
    const begin = () => { this.records = page.about.runs.map(() => ({ training: [], validation: [], flow: [] })); };
    begin();
    page.stops.push(page.source.course((run, more) => { Object.keys(more).forEach((kind) => this.records[run][kind].push(...more[kind])); this.show(); page.remember("course", { run }, more); }, begin));
  }

  async draw() {}

  show() {
    const { page } = this;
    const lines = (kind, key, dash = "solid", name = "") => this.records.map((records, run) => {
      const there = records[kind].filter((record) => typeof record[key] === "number");
      return { x: there.map((r) => r.step), y: there.map((r) => r[key]), name: `${page.about.runs[run].name}${name}`, mode: there.length > 1 ? "lines" : "markers", line: { color: LINES[run], dash } };
    }).filter((trace) => trace.x.length);
    const put = (plot, label, traces, title, more = {}) => {
      plot.element.hidden = !traces.length;
      if (traces.length) plot.show(label, traces, { showlegend: true, yaxis: { title: { text: title }, ...more }, xaxis: { title: { text: "update" } } });
    };
    put(this.loss, "loss by update", [...lines("training", "loss"), ...lines("validation", "loss", "dot", ", validation")], "loss");
    put(this.clip, "share of clipped updates", lines("training", "clipped"), "clipped", { rangemode: "tozero" });
    put(this.horizon, "horizon by update", lines("flow", "horizon"), "horizon", { rangemode: "tozero" });
  }
}

class Page {
  constructor(root, source, about, state) {
    this.root = root;
    this.source = source;
    this.about = about;
    this.plots = [];
    this.stops = [];
    this.asked = new Map();
    this.working = new Map();
    const first = about.runs[0];
    const begin = { text: null, example: 0, place: null, begin: 0, end: 1, layer: null, part: null, order: "half-life", most: 64, threshold: 0.3, these: null, those: null, all: false, output: null, hold: null, units: "", value: 0, distance: 20, plural: null, seed: 0 };
    this.state = { ...begin, ...state };
    this.heading(first);
    this.tokens = new Tokens(this);
    this.bar.append(...this.tokens.element.children);
    const chosen = first.about !== "nothing";
    this.prediction = chosen ? new Prediction(this) : null;
    this.memory = new Memory(this);
    this.gates = new Gates(this);
    this.agreement = about.runs.some((run) => run.agreement) ? new Agreement(this) : null;
    this.intervene = chosen ? new Intervene(this) : null;
    this.reach = chosen && source.work ? new Reach(this) : null;
    this.course = about.runs.some((run) => run.course) ? new Course(this) : null;
    const two = (...panels) => h("div", { class: "two" }, ...panels.filter(Boolean).map((panel) => panel.element));
    this.head.after(this.bar, h("main", {}, this.prediction ? this.prediction.element : "", two(this.memory), two(this.gates, this.agreement), two(this.intervene, this.reach), two(this.course)));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plots.forEach((plot) => plot.redraw()));
  }

  heading(first) {
    const save = (name, blob) => { const a = h("a", { href: URL.createObjectURL(blob), download: name }); a.click(); setTimeout(() => URL.revokeObjectURL(a.href), 1000); };
    this.said = h("span", { role: "status", class: "note" });
    const names = h("span", { class: "runs" }, ...this.runs().flatMap((run) => [this.name(run), " "]));
    const link = this.source.links ? button("copy link", async () => { this.link(); await navigator.clipboard?.writeText(location.href); this.said.textContent = "copied"; }) : null;
    const data = button("data as JSON", () => save("gateflow-inspect.json", new Blob([JSON.stringify({ state: this.state, answers: [...this.asked.values()] }, null, 1)], { type: "application/json" })));
    const file = this.source.exported ? button("page as one file", async () => { try { save("gateflow-inspect.html", await this.source.exported(await this.recorded())); } catch (error) { this.said.textContent = error.message; } }) : null;
    this.head = h("header", {}, h("h1", {}, "gateflow inspect"), names, link, data, file, this.said);
    this.bar = h("div", { class: "bar", role: "region", "aria-label": "sentence" });
    this.input = h("input", { type: "text", autocomplete: "off", spellcheck: false, maxLength: this.about.longest_text, on: { input: () => this.typed() } });
    this.examples = choice(["", ...first.examples.map((_, i) => String(i))], "", (x) => x !== "" && this.set({ example: Number(x), text: null, place: null, these: null, those: null }), (x) => (x === "" ? "choose …" : first.examples[Number(x)].slice(0, 80)));
    const example = labelled(first.typed ? "or choose" : "example", this.examples, "wide");
    const { contrasts } = this.about;
    const compared = (i) => { const { text, right, wrong } = contrasts[i]; this.set({ text, example: null, place: null, these: right, those: wrong, all: false }); };
    const pairs = contrasts.length ? labelled("or a pair", choice(["", ...contrasts.map((_, i) => String(i))], "", (x) => x !== "" && compared(Number(x)), (x) => (x === "" ? "choose …" : `${contrasts[x].text} ${contrasts[x].right} / ${contrasts[x].wrong}`.slice(-80))), "wide") : null;
    this.bar.append(h("div", { class: "controls" }, first.typed ? labelled("sentence", this.input, "wide") : null, example, pairs));
    this.root.replaceChildren(this.head);
  }

  typed() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.set({ text: this.input.value, example: null, place: null }), 40);
  }

  runs() { return this.about.runs.map((_, run) => run); }
  name(run) { return h("span", { class: "of" }, h("span", { class: "chip", "aria-hidden": "true", style: { "--c": LINES[run] } }), this.about.runs[run].name); }
  layers(run) { return this.about.runs[run].layers; }
  layer(run) { return this.layers(run).find((layer) => layer.name === this.state.layer) || this.layers(run).filter((layer) => !layer.name.endsWith("_reverse")).at(-1); }
  part(run) { const { states, parts } = this.layer(run); return this.state.part in parts ? this.state.part : states.at(-1); }
  held(run) { const { states, held } = this.layer(run); return held.includes(this.state.hold) ? this.state.hold : states.at(-1); }
  text(run) { return this.state.text === null ? (run && this.about.runs[0].typed ? { run, text: this.about.runs[0].examples[this.state.example] } : { run, example: this.state.example }) : { run, text: this.state.text }; }
  span() { const steps = this.reads?.[0]?.tokens.length ?? Infinity; const begin = Math.max(0, Math.min(this.state.begin, steps - 1)); return { begin, end: Math.max(begin + 1, Math.min(this.state.end, steps)) }; }

  attribution(run, place) {
    const { these, those, all, output } = this.state;
    const contrast = { ...(these === null ? {} : { these }), ...(those === null || all ? {} : { those }), ...(all ? { against: "all" } : {}) };
    return { ...this.text(run), place, ...(output ? { output } : {}), ...contrast };
  }

  async ask(view, question) {
    const answer = await this.source.ask(view, question);
    this.remember(view, question, answer);
    return answer;
  }

  remember(view, question, answer) {
    const key = view + (question.run ?? 0) + (["reach", "units", "alike"].includes(view) ? JSON.stringify(question) : "");
    this.asked.set(key, [view, question, answer]);
  }

  /* What a file has to answer: what is on the page, and the attribution of every place of a text that is not long. */
  async recorded() {
    const questions = [...this.asked.values()].map(([view, question]) => [view, question]);
    const places = this.prediction && this.reads[0].tokens.length * this.about.runs.length <= 150 ? this.reads[0].tokens.length + 1 : 0;
    for (const run of this.runs()) for (let k = 0; k < places; k++) questions.push(["attribution", this.attribution(run, k)]);
    return { state: JSON.stringify(this.state), questions };
  }

  /* `only`: panels that a change is about; else all that depend on the text. */
  async set(changes, only = null, choices = false) {
    Object.assign(this.state, changes);
    if (choices && this.intervene) this.intervene.choices();
    if (this.state.text !== null && document.activeElement !== this.input) this.input.value = this.state.text;
    if (this.state.example !== null) { this.examples.value = String(this.state.example); if (document.activeElement !== this.input) this.input.value = this.about.runs[0].examples[this.state.example] ?? ""; }
    else this.examples.value = "";
    if (this.source.links) this.link();
    if (only) { await Promise.all(only.map((panel) => panel.update())); return this.paint(); }
    const anew = "text" in changes || "example" in changes || changes.first;
    if (anew) { this.attributions = null; [...this.working.keys()].forEach((place) => this.end(place)); }
    if (anew || "begin" in changes || "place" in changes) await this.tokens.update();
    const panels = [this.memory, this.gates, ...(changes.first ? [this.agreement] : [])];
    await Promise.all([...(this.prediction ? [this.prediction.update().then(() => this.intervene.update())] : []), ...panels.filter(Boolean).map((panel) => panel.update())]);
    this.paint();
  }

  link() { history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(this.state))}`); }

  /* What was measured on another text must not stand beside this one. */
  end(place) { this.working.get(place)?.cancel(); this.working.delete(place); place.replaceChildren(); }

  choose(k) { if (k < 0 || k === this.state.place) return; this.set({ place: k, begin: Math.min(k, this.reads[0].tokens.length - 1), end: Math.min(k, this.reads[0].tokens.length - 1) + 1 }); }

  extend(k) {
    const { begin, end } = this.span();
    const to = Math.min(k, this.reads[0].tokens.length - 1);
    this.set({ begin: Math.min(begin, to), end: Math.max(to + 1, to < begin ? end : begin + 1) });
  }

  point(k, from = null) {
    this.pointed = k;
    this.root.querySelectorAll(".token.pointed").forEach((token) => token.classList.remove("pointed"));
    this.root.querySelectorAll(`.token[data-k="${k}"]`).forEach((token) => token.classList.add("pointed"));
    this.plots.forEach((plot) => plot.point(k));
  }

  /* Colours of tokens: one scale for both runs. */
  paint() {
    const answers = (this.attributions || []).map((answer) => (answer.error ? null : answer.steps));
    const most = Math.max(1e-12, ...answers.flatMap((steps) => (steps || []).map(Math.abs)));
    (this.tokens.strips || []).forEach((strip, run) => strip.querySelectorAll(".token").forEach((token) => {
      const value = (answers[run] || [])[Number(token.dataset.k)];
      Object.entries(tone((value || 0) / most)).forEach(([name, x]) => token.style.setProperty(name, x));
      if (value !== undefined) token.title = value.toPrecision(3);
    }));
    const first = (this.attributions || []).find((answer) => !answer.error);
    if (first) this.tokens.legend.replaceChildren(first.those === null ? `lowers log p of ${shown(first.these)}` : `for ${shown(first.those)}`, h("b", { "aria-hidden": "true" }), first.those === null ? "raises it" : `for ${shown(first.these)}`, ` (full colour: ${most.toPrecision(2)})`);
  }

  redraw(place) { this.plots.filter((plot) => plot.pending && place.contains(plot.element)).forEach((plot) => { plot.show(...plot.pending); plot.pending = null; }); this.plots = this.plots.filter((plot) => this.root.contains(plot.element)); }
}

function linked() {
  try { return JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { return {}; }
}

/* Answers out of a file: what was asked when it was made, and nothing else. */
function recorded(recording) {
  const known = new Map(recording.answers.map(([view, question, answer]) => [JSON.stringify([view, question]), answer]));
  const missing = "this is not in the file: it holds what was on the page when it was made. Run gateflow inspect for more.";
  const ask = async (view, question) => {
    const found = known.get(JSON.stringify([view, question]));
    if (found === undefined) throw new Error(missing);
    return found;
  };
  const course = (records) => { recording.answers.filter(([view]) => view === "course").forEach(([, { run }, answer]) => setTimeout(() => records(run ?? 0, answer))); return () => {}; };
  return { about: async () => recording.about, ask, work: (view, question) => ({ answer: ask(view, question), cancel() {} }), course, state: JSON.parse(recording.state) };
}

/* Questions to a notebook's kernel, by messages. */
function kernel(model) {
  const waiting = new Map();
  let count = 0;
  model.on("msg:custom", ({ id, answer, error, progress }) => {
    const asked = waiting.get(id);
    if (!asked) return;
    if (progress) return asked.progress?.(progress);
    waiting.delete(id);
    error ? asked.failed(new Error(error)) : asked.done(answer);
  });
  const send = (kind, view, question, progress) => new Promise((done, failed) => { waiting.set(++count, { done, failed, progress }); model.send({ id: count, kind, view, question }); });
  return { about: () => send("about"), ask: (view, question) => send("ask", view, question), work: (view, question, progress) => ({ answer: send("ask", view, question, progress), cancel() {} }), course: (records) => { [0, 1].forEach((run) => send("ask", "course", { run }).then((found) => records(run, found), () => {})); return () => {}; } };
}

async function mount(root, source) {
  const about = await source.about();
  root.classList.add("gateflow-inspector");
  const begin = source.state ?? (source.links ? linked() : {});
  const page = new Page(root, source, about, begin);
  /* Where there is a grammar, the first thing to see is a verb and its subject. */
  if (page.agreement && !Object.keys(begin).length) await page.agreement.begin();
  await page.set({ first: true });
  delete page.state.first;
  root.dataset.ready = "true";
  return () => page.stops.forEach((stop) => stop());
}

function render({ model, el }) {
  let stop = () => {};
  mount(el, kernel(model)).then((found) => { stop = found; }, (error) => { el.textContent = error.message; });
  return () => stop();
}

export default { mount, recorded, render };
