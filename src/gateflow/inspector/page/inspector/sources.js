function linked() {
  try {
    return JSON.parse(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return {};
  }
}

/* Answers out of a file: what was asked when it was made, and nothing else. */
function recorded(recording) {
  const known = new Map(
    recording.answers.map(([view, question, answer]) => [JSON.stringify([view, question]), answer]),
  );
  const missing =
    "this is not in the file: it holds what was on the page when it was made. Run gateflow inspect for more.";
  const ask = async (view, question) => {
    const found = known.get(JSON.stringify([view, question]));
    if (found === undefined) throw new Error(missing);
    return found;
  };
  const course = (records) => {
    recording.answers
      .filter(([view]) => view === "course")
      .forEach(([, { run }, answer]) => setTimeout(() => records(run ?? 0, answer)));
    return () => {};
  };
  return {
    about: async () => recording.about,
    ask,
    work: (view, question) => ({ answer: ask(view, question), cancel() {} }),
    course,
    state: JSON.parse(recording.state),
  };
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
  const send = (kind, view, question, progress) =>
    new Promise((done, failed) => {
      waiting.set(++count, { done, failed, progress });
      model.send({ id: count, kind, view, question });
    });
  return {
    about: () => send("about"),
    ask: (view, question) => send("ask", view, question),
    work: (view, question, progress) => ({ answer: send("ask", view, question, progress), cancel() {} }),
    course: (records) => {
      [0, 1].forEach((run) =>
        send("ask", "course", { run }).then(
          (found) => records(run, found),
          () => {},
        ),
      );
      return () => {};
    },
  };
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
  mount(el, kernel(model)).then(
    (found) => {
      stop = found;
    },
    (error) => {
      el.textContent = error.message;
    },
  );
  return () => stop();
}

export default { mount, recorded, render };
