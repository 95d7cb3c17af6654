/* The page of the local server: the token of the link becomes a cookie, and questions go to the server. */
import inspector from "/inspector.js";

const place = document.getElementById("inspector");

const GONE = "the server has gone; start gateflow inspect again, and open its new link.";

async function post(path, body) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  /* A browser's own words for it, such as "Failed to fetch", tell nobody what to do. */
  const answer = await fetch(path, { ...options, credentials: "same-origin" }).catch(() => {
    throw new Error(GONE);
  });
  if (answer.ok) return answer;
  const said = await answer.text();
  let error = said;
  try {
    error = JSON.parse(said).error;
  } catch {
    /* Plain text, as the guard says it. */
  }
  throw new Error(error);
}

const server = {
  about: async () => (await post("/about", {})).json(),
  ask: async (view, question) => (await post(`/ask/${view}`, question)).json(),
  work(view, question, progress) {
    let number = null,
      events = null,
      stopped = false;
    const answer = (async () => {
      number = (await (await post(`/work/${view}`, question)).json()).work;
      if (stopped) {
        post(`/work/${number}/cancel`, {});
        return null;
      }
      return new Promise((done, failed) => {
        events = new EventSource(`/work/${number}`);
        events.addEventListener("progress", (e) => progress(JSON.parse(e.data)));
        events.addEventListener("answer", (e) => {
          events.close();
          done(JSON.parse(e.data));
        });
        events.addEventListener("failed", (e) => {
          events.close();
          const said = JSON.parse(e.data).error;
          said ? failed(new Error(said)) : done(null);
        });
        events.onerror = () => {
          events.close();
          failed(new Error(GONE));
        };
      });
    })();
    return {
      answer,
      cancel() {
        stopped = true;
        if (number !== null) post(`/work/${number}/cancel`, {});
      },
    };
  },
  /* A browser opens six connections to a server, of all its pages together: one that nobody looks at needs none. */
  course(records, begin, failed) {
    let events = null;
    const follow = () => {
      if (document.hidden || events) {
        events?.close();
        events = null;
      }
      if (document.hidden) return;
      begin();
      events = new EventSource("/course");
      events.addEventListener("records", (e) => {
        const { run, records: found } = JSON.parse(e.data);
        records(run, found);
      });
      events.addEventListener("failed", (e) => failed(JSON.parse(e.data).error));
      events.onerror = () => {
        events?.close();
        events = null;
        failed(GONE);
      };
    };
    document.addEventListener("visibilitychange", follow);
    follow();
    return () => {
      events?.close();
      document.removeEventListener("visibilitychange", follow);
    };
  },
  exported: async (recorded) => (await post("/export", recorded)).blob(),
  links: true,
};

async function start() {
  const token = /^#token=([\w-]+)(?:&(.*))?$/.exec(location.hash);
  /* Out of the address at once, so that it is in no history and no picture of the screen. */
  if (token) history.replaceState(null, "", token[2] ? `#${token[2]}` : location.pathname);
  try {
    if (token)
      await post("/session", { token: token[1] }).catch(() => null); /* Used already: the cookie may be there. */
    await inspector.mount(place, server);
  } catch (error) {
    place.replaceChildren(
      Object.assign(document.createElement("p"), { className: "failed", textContent: error.message }),
    );
  }
}
start();
