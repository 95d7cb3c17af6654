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
    const begin = {
      text: null,
      example: 0,
      place: null,
      begin: 0,
      end: 1,
      layer: null,
      part: null,
      order: "half-life",
      most: 64,
      threshold: 0.3,
      these: null,
      those: null,
      all: false,
      output: null,
      hold: null,
      units: "",
      value: 0,
      distance: 20,
      plural: null,
      seed: 0,
    };
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
    this.head.after(
      this.bar,
      h(
        "main",
        {},
        /* What a run was trained for, if it is to agree, is told before what is but a hint of how. */
        two(this.agreement, this.gates),
        this.prediction ? this.prediction.element : "",
        two(this.memory),
        two(this.intervene, this.reach),
        two(this.course),
      ),
    );
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
      this.plots.forEach((plot) => plot.redraw()),
    );
  }

  heading(first) {
    const save = (name, blob) => {
      const a = h("a", { href: URL.createObjectURL(blob), download: name });
      a.click();
      setTimeout(() => URL.revokeObjectURL(a.href), 1000);
    };
    this.said = h("span", { role: "status", class: "note" });
    const names = h("span", { class: "runs" }, ...this.runs().flatMap((run) => [this.name(run), " "]));
    const link = this.source.links
      ? button("copy link", async () => {
          this.link();
          await navigator.clipboard?.writeText(location.href);
          this.said.textContent = "copied";
        })
      : null;
    const data = button("data as JSON", () =>
      save(
        "gateflow-inspect.json",
        new Blob([JSON.stringify({ state: this.state, answers: [...this.asked.values()] }, null, 1)], {
          type: "application/json",
        }),
      ),
    );
    const file = this.source.exported
      ? button("page as one file", async () => {
          try {
            save("gateflow-inspect.html", await this.source.exported(await this.recorded()));
          } catch (error) {
            this.said.textContent = error.message;
          }
        })
      : null;
    this.head = h("header", {}, h("h1", {}, "gateflow inspect"), names, link, data, file, this.said);
    this.bar = h("div", { class: "bar", role: "region", "aria-label": "what is read" });
    /* It stays in sight while one scrolls, unless it would leave no room for what is below. */
    new ResizeObserver(() => this.bar.classList.toggle("long", this.bar.offsetHeight > 0.65 * innerHeight)).observe(this.bar);
    this.input = h("input", {
      type: "text",
      autocomplete: "off",
      spellcheck: false,
      on: { input: () => this.typed() },
    });
    this.examples = choice(
      ["", ...first.examples.map((_, i) => String(i))],
      "",
      (x) => x !== "" && this.set({ example: Number(x), text: null, place: null, these: null, those: null }),
      (x) => (x === "" ? "choose …" : first.examples[Number(x)].slice(0, 80)),
    );
    const example = labelled(first.typed ? "or choose" : "example", this.examples, "wide");
    const { contrasts } = this.about;
    const compared = (i) => {
      const { text, right, wrong } = contrasts[i];
      this.set({ text, example: null, place: null, these: right, those: wrong, all: false });
    };
    const pairs = contrasts.length
      ? labelled(
          "or a pair",
          choice(
            ["", ...contrasts.map((_, i) => String(i))],
            "",
            (x) => x !== "" && compared(Number(x)),
            (x) =>
              x === "" ? "choose …" : `${contrasts[x].text} ${contrasts[x].right} / ${contrasts[x].wrong}`.slice(-80),
          ),
          "wide",
        )
      : null;
    this.bar.append(
      h("div", { class: "controls" }, first.typed ? labelled("sentence", this.input, "wide") : null, example, pairs),
    );
    this.root.replaceChildren(this.head);
  }

  typed() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.set({ text: this.input.value, example: null, place: null }), 40);
  }

  runs() {
    return this.about.runs.map((_, run) => run);
  }
  name(run) {
    return h(
      "span",
      { class: "of" },
      h("span", { class: "chip", "aria-hidden": "true", style: { "--c": LINES[run] } }),
      this.about.runs[run].name,
    );
  }
  layers(run) {
    return this.about.runs[run].layers;
  }
  layer(run) {
    return (
      this.layers(run).find((layer) => layer.name === this.state.layer) ||
      this.layers(run)
        .filter((layer) => !layer.name.endsWith("_reverse"))
        .at(-1)
    );
  }
  part(run) {
    const { states, parts } = this.layer(run);
    return this.state.part in parts ? this.state.part : states.at(-1);
  }
  held(run) {
    const { states, held } = this.layer(run);
    return held.includes(this.state.hold) ? this.state.hold : states.at(-1);
  }
  text(run) {
    return this.state.text === null
      ? run && this.about.runs[0].typed
        ? { run, text: this.about.runs[0].examples[this.state.example] }
        : { run, example: this.state.example }
      : { run, text: this.state.text };
  }
  span() {
    const steps = this.reads?.[0]?.tokens.length ?? Infinity;
    const begin = Math.max(0, Math.min(this.state.begin, steps - 1));
    return { begin, end: Math.max(begin + 1, Math.min(this.state.end, steps)) };
  }

  attribution(run, place) {
    const { these, those, all, output } = this.state;
    const contrast = {
      ...(these === null ? {} : { these }),
      ...(those === null || all ? {} : { those }),
      ...(all ? { against: "all" } : {}),
    };
    return { ...this.text(run), place, ...(output ? { output } : {}), ...contrast };
  }

  /* Attributions of all runs at a place. Where no outcomes were chosen they are the likeliest of the first run, and the
     others are asked about the same: figures of other words are not to be compared. A run that does not know those
     words answers about its own. */
  async compared(place, ask) {
    const told = (error) => ({ error });
    const first = await ask(this.attribution(0, place)).catch(told);
    const chosen = this.state.these !== null && (this.state.those !== null || this.state.all);
    const others = this.runs()
      .slice(1)
      .map((run) => {
        const own = this.attribution(run, place);
        if (first.error || chosen) return ask(own).catch(told);
        const { these, those } = first;
        const same = { ...own, these, ...(those === null ? { against: "all" } : { those }) };
        return ask(same).catch(() => ask(own).catch(told));
      });
    return [first, ...(await Promise.all(others))];
  }

  async ask(view, question) {
    const answer = await this.source.ask(view, question);
    this.remember(view, question, answer);
    return answer;
  }

  remember(view, question, answer) {
    const key =
      view + (question.run ?? 0) + (["reach", "units", "alike"].includes(view) ? JSON.stringify(question) : "");
    this.asked.set(key, [view, question, answer]);
  }

  /* What a file has to answer: what is on the page, and the attribution of every place of a text that is not long. */
  async recorded() {
    const questions = [...this.asked.values()].map(([view, question]) => [view, question]);
    const places =
      this.prediction && this.reads && this.reads[0].tokens.length * this.about.runs.length <= 150
        ? this.reads[0].tokens.length + 1
        : 0;
    const noted = async (question) => {
      const answer = await this.source.ask("attribution", question);
      questions.push(["attribution", question]);
      return answer;
    };
    const begin = this.about.runs[0].about === "next" ? 1 : 0;
    for (let k = begin; k < places; k++) await this.compared(k, noted);
    return { state: JSON.stringify(this.state), questions };
  }

  /* `only`: panels that a change is about; else all that depend on the text. */
  async set(changes, only = null, choices = false) {
    Object.assign(this.state, changes);
    if (this.intervene && (choices || "layer" in changes)) this.intervene.choices();
    if (this.state.text !== null && document.activeElement !== this.input) this.input.value = this.state.text;
    if (this.state.example !== null) {
      this.examples.value = String(this.state.example);
      if (document.activeElement !== this.input)
        this.input.value = this.about.runs[0].examples[this.state.example] ?? "";
    } else this.examples.value = "";
    if (this.source.links) this.link();
    if (only) {
      await Promise.all(only.map((panel) => panel.update()));
      return this.paint();
    }
    const anew = "text" in changes || "example" in changes || changes.first;
    if (anew) {
      this.attributions = null;
      [...this.working.keys()].forEach((place) => this.end(place));
    }
    const agreement = changes.first ? this.agreement?.update() : null;
    let turn = this.turn;
    if (anew || "begin" in changes || "place" in changes) {
      turn = this.turn = (this.turn ?? 0) + 1;
      await this.tokens.update();
      /* A newer text or place asks by itself. */
      if (turn !== this.turn) return agreement;
    }
    /* One refusal is enough: nobody else is asked about a text that cannot be read. */
    if (this.tokens.failed.textContent) this.unread();
    else
      await Promise.all([
        this.prediction?.update().then(() => turn === this.turn && this.intervene.update()),
        ...[this.memory, this.gates].map((panel) => panel.update()),
      ]);
    await agreement;
    this.paint();
  }

  unread() {
    this.reads = this.attributions = null;
    this.tokens.clear();
    this.prediction?.tables.replaceChildren();
    [this.prediction, this.intervene, this.memory, this.gates].forEach((panel) => panel?.empty());
    [...this.asked].forEach(([key, [, question]]) => {
      if ("text" in question || "example" in question) this.asked.delete(key);
    });
  }

  link() {
    history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(this.state))}`);
  }

  /* What was measured on another text must not stand beside this one. */
  end(place) {
    this.working.get(place)?.cancel();
    this.working.delete(place);
    place.replaceChildren();
  }

  choose(k) {
    if (k < 0 || k === this.state.place) return;
    this.set({
      place: k,
      begin: Math.min(k, this.reads[0].tokens.length - 1),
      end: Math.min(k, this.reads[0].tokens.length - 1) + 1,
    });
  }

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
    (this.tokens.strips || []).forEach((strip, run) =>
      strip.querySelectorAll(".token").forEach((token) => {
        const value = (answers[run] || [])[Number(token.dataset.k)];
        Object.entries(tone((value || 0) / most)).forEach(([name, x]) => token.style.setProperty(name, x));
        if (value !== undefined) token.title = value.toPrecision(3);
      }),
    );
    this.tokens.legend.replaceChildren(...this.scales(most));
  }

  /* What the colours mean: one scale, named for each run where they were asked about other outcomes. */
  scales(most) {
    const ends = ({ these, those }) =>
      those === null
        ? [`lowers log p of ${shown(these)}`, "raises it"]
        : [`for ${shown(those)}`, `for ${shown(these)}`];
    const told = (this.attributions || []).map((answer, run) => (answer.error ? null : [run, ends(answer)]));
    const there = told.filter(Boolean);
    const alike = there.every(([, found]) => found.join("\n") === there[0][1].join("\n"));
    const named = alike ? there.slice(0, 1) : there;
    const all = named.flatMap(([run, [low, high]]) => [
      ...(alike ? [] : [this.name(run)]),
      low,
      h("b", { "aria-hidden": "true" }),
      high,
    ]);
    const hint = "A gradient: a hint, and small where units are saturated. Intervene shows what depends on what.";
    return all.length ? [...all, ` (full colour: ${most.toPrecision(2)}). ${hint}`] : [];
  }

  redraw(place) {
    this.plots
      .filter((plot) => plot.pending && place.contains(plot.element))
      .forEach((plot) => {
        plot.show(...plot.pending);
        plot.pending = null;
      });
    this.plots = this.plots.filter((plot) => this.root.contains(plot.element));
  }
}
