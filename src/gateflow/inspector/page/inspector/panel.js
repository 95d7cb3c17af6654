/* A part of the page that asks: an answer that comes too late is dropped, and what is refused is said in place. */
class Panel {
  constructor(page, title, reading) {
    this.page = page;
    this.turn = 0;
    this.failed = h("p", { class: "failed", role: "alert" });
    this.heading = h("h2", { id: `gateflow-${++ids}` }, title);
    this.body = h("div");
    this.element = h(
      "section",
      { "aria-labelledby": this.heading.id },
      this.heading,
      h("p", { class: "reading" }, reading),
      this.body,
      this.failed,
    );
  }

  /* Where what is asked for is refused, what was shown before is no answer to it, and is hidden. */
  async update() {
    const turn = ++this.turn;
    let said = "";
    try {
      await this.draw(() => turn !== this.turn);
    } catch (error) {
      said = error.message;
    }
    if (turn !== this.turn) return;
    this.failed.textContent = said;
    this.element.classList.toggle("refused", said !== "");
  }

  /* Shows nothing; an answer that is on its way comes too late. */
  empty() {
    this.turn++;
    this.failed.textContent = "";
    this.element.classList.add("refused");
  }
}

/* Work that takes seconds: a bar, a button that ends it, and then what came out. */
function work(page, place, view, question, show) {
  page.working.get(place)?.cancel();
  const bar = h("progress", { max: 1, value: 0, "aria-label": "progress" });
  const doing = page.source.work(view, question, ({ done, total }) => {
    bar.max = total;
    bar.value = done;
  });
  page.working.set(place, doing);
  place.replaceChildren(
    h(
      "p",
      { class: "controls" },
      bar,
      button("cancel", () => page.end(place)),
    ),
  );
  const ours = (call) => (found) => {
    if (page.working.get(place) === doing) {
      page.working.set(place, null);
      call(found);
    }
  };
  doing.answer.then(
    ours((answer) => {
      if (answer) {
        page.remember(view, question, answer);
        place.replaceChildren(show(answer));
        page.redraw(place);
      } else place.replaceChildren();
    }),
    ours((error) => place.replaceChildren(h("p", { class: "failed", role: "alert" }, error.message))),
  );
}
