class Tokens extends Panel {
  constructor(page) {
    const { about, step } = page.about.runs[0];
    const under =
      { next: `Under each ${step}, bits of surprise. `, step: `Under each ${step}, the likeliest of its outcomes. ` }[
        about
      ] || "";
    super(
      page,
      "Sentence",
      `${under}Point at a ${step}, or move with the arrow keys: all plots follow. Enter, or a click, chooses it; ` +
        "shift and an arrow key choose a span.",
    );
    this.rows = h("div");
    this.legend = h("p", { class: "note scale" });
    this.unknown = h("p", { class: "note" });
    this.body.append(this.legend, this.rows, this.unknown);
  }

  async draw(late) {
    const { page } = this;
    const about = page.about.runs[0].about;
    const { text } = page.state,
      most = page.about.longest_text;
    if (text?.length > most)
      throw new Error(`this text has ${text.length} characters, and at most ${most} are shown; shorten it.`);
    const reads = await Promise.all(
      page
        .runs()
        .map((run) =>
          page.about.runs[run].about === "nothing"
            ? page.ask("gates", { ...page.text(run), layer: page.layers(run)[0].name })
            : page.ask("read", page.text(run)),
        ),
    );
    if (late()) return;
    page.reads = reads;
    page.state.place ??=
      about === "next"
        ? Math.min(page.state.lastPlace ?? reads[0].tokens.length, reads[0].tokens.length)
        : reads[0].tokens.length - 1;
    page.state.place = Math.min(page.state.place, reads[0].tokens.length - (about !== "next"));
    const { begin, end } = page.span();
    this.strips = reads.map((read, run) => this.strip(read, run, begin, end));
    const rows = this.strips.map((strip, run) => h("div", { class: "row" }, page.name(run), strip));
    const difference = this.difference(reads);
    /* Tokens are made anew; whoever is going along them by keyboard stays where they are. */
    const here = this.rows.contains(document.activeElement) ? document.activeElement.dataset.k : null;
    this.rows.replaceChildren(...rows, ...(difference ? [difference] : []));
    if (here !== null)
      this.rows
        .querySelector(`.token[data-k="${Math.min(Number(here), reads[0].tokens.length)}"]`)
        ?.focus({ preventScroll: true });
    this.unknown.textContent = this.unseen(reads);
    page.paint();
  }

  /* Nothing of a text that was read before stands beside one that cannot be read. */
  clear() {
    [this.rows, this.legend, this.unknown].forEach((place) => place.replaceChildren());
    this.strips = [];
  }

  /* Words that a run has not seen: each run has its own. */
  unseen(reads) {
    const told = reads.map(({ unknown }, run) => {
      const name = reads.length > 1 ? this.page.about.runs[run].name : "the run";
      const more = unknown?.length > 10 ? ` and ${unknown.length - 10} more` : "";
      return unknown?.length ? `Never seen by ${name}, and read as <unk>: ${unknown.slice(0, 10).join(", ")}${more}.` : "";
    });
    return told.filter(Boolean).join(" ");
  }

  strip(read, run, begin, end) {
    const { page } = this;
    const most = Math.max(1, ...page.reads.flatMap((each) => this.surprises(each)).filter((x) => x !== null));
    const surprises = this.surprises(read);
    const rows = Object.values(read.rows || {})[0] || [];
    const said = (k) => (page.about.runs[run].about === "step" && rows[k] ? shown(rows[k].best[0].name) : "");
    const tokens = read.tokens.map((token, k) =>
      this.token(shown(token), k, run, surprises[k], most, k >= begin && k < end, "", said(k)),
    );
    if (page.about.runs[run].about === "next")
      tokens.push(this.token("…", read.tokens.length, run, null, most, false, "next"));
    return h(
      "div",
      {
        class: "tokens",
        role: "group",
        "aria-label": `tokens, ${page.about.runs[run].name}`,
        on: { keydown: (e) => this.key(e) },
      },
      ...tokens,
    );
  }

  surprises(read) {
    const rows = read.rows && Object.values(read.rows)[0];
    return rows && rows.length >= read.tokens.length
      ? rows.slice(0, read.tokens.length).map((row) => (row ? row.surprise : null))
      : read.tokens.map(() => null);
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
        type: "button",
        class: `token ${kind} ${inside ? "in-span" : ""}`,
        "data-k": String(k),
        "aria-pressed": String(chosen),
        "aria-label": label,
        tabIndex: chosen && run === 0 ? 0 : -1,
        on: {
          click: (e) => (e.shiftKey ? page.extend(k) : page.choose(k)),
          pointerenter: () => page.point(k),
          focus: () => page.point(k),
        },
      },
      text,
      h("small", {}, said || "\u00a0"),
      known
        ? h("i", { "aria-hidden": "true", style: { "--c": LINES[run], "--bits": String(Math.max(0, bits / most)) } })
        : null,
    );
  }

  difference(reads) {
    if (reads.length < 2) return null;
    const same = reads[0].tokens.join("\n") === reads[1].tokens.join("\n");
    const [a, b] = reads.map((read) => this.surprises(read));
    const { typed } = this.page.about.runs[0];
    if (!same)
      return h(
        "p",
        { class: "note" },
        typed
          ? "The two runs cut this text into other tokens: there is no difference token by token."
          : "The two runs have other examples of this number: what stands side by side is not the same one.",
      );
    if (a.every((x) => x === null)) return null;
    const most = Math.max(0.1, ...a.map((x, k) => Math.abs((b[k] ?? 0) - (x ?? 0))));
    const cells = a.map((x, k) => {
      const by = x === null || b[k] === null ? null : b[k] - x;
      return h(
        "span",
        { class: "token", style: tone(by === null ? 0 : -by / most) },
        shown(reads[0].tokens[k]),
        h("small", {}, by === null ? "\u00a0" : signed(by)),
      );
    });
    return h(
      "div",
      { class: "row" },
      h(
        "span",
        { class: "of" },
        "difference of the bits, second minus first: blue where the second run expected it more",
      ),
      h("div", { class: "tokens" }, ...cells),
    );
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

const tone = (share) => ({
  "--tone": share < 0 ? "var(--against)" : "var(--for)",
  "--share": `${Math.round(50 * Math.min(1, Math.abs(share)))}%`,
});
