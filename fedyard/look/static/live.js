// Parts that renew themselves, by htmx. An element with data-live="path" is asked for anew, and the answer, which is
// the same element, takes its place; the server holds the answer back until there is something new, and 204 says that
// there was nothing. An answer without data-live is the last one.
// Nothing is asked for while nobody looks, and a hub that does not answer is asked more and more rarely.
const LEAST_MS = 250, AGAIN_MS = 1000, FIRST_MS = 1000, MOST_MS = 30000, EVERY_MS = 60000;
const HELD_MS = 30000;  // an answer is held back for 25 s at most
const parts = new Map();  // id -> {timer, late, asking, failures}
const OLD = "what you see may be old. It is asked again by itself.";
let told = "";

// What is shown is marked as old for as long as something is told.
function tell(text) {
  const status = document.getElementById("status");
  if (!status || text === told) return;
  told = text;
  const said = document.createElement("p");
  said.className = "said warns";
  said.textContent = text;
  status.replaceChildren(...(text ? [said] : []));
  for (const one of document.querySelectorAll("[data-live]")) one.classList.toggle("old", text !== "");
}

function look() {
  for (const element of document.querySelectorAll("[data-live][id]")) {
    if (!parts.has(element.id)) parts.set(element.id, { timer: 0, asking: false, failures: 0 });
    schedule(element.id, LEAST_MS);
  }
}

function schedule(id, ms) {
  const part = parts.get(id);
  if (part && !part.timer && !part.asking && !document.hidden) part.timer = setTimeout(() => ask(id), ms);
}

function ask(id) {
  const part = parts.get(id), element = document.getElementById(id);
  part.timer = 0;
  if (!element?.dataset.live) return parts.delete(id);
  if (document.hidden) return;
  part.asking = true;
  part.late = setTimeout(() => tell(`The hub takes long to answer: ${OLD}`), HELD_MS);
  htmx.ajax("GET", element.dataset.live, { source: element, target: element, swap: "outerHTML" }).catch(() => {});
}

document.addEventListener("htmx:afterRequest", ({ detail }) => {
  const id = detail.requestConfig.elt.id;  // the event's own element is another one: this one has been replaced by now
  const part = parts.get(id);
  if (!part?.asking) return;
  part.asking = false;
  clearTimeout(part.late);
  schedule(id, waitAfter(part, detail.xhr, id));
});

// Milliseconds until it is asked for again; a part that is not to be is forgotten.
function waitAfter(part, xhr, id) {
  if (xhr.status === 401) {
    parts.delete(id);
    tell("Your session has ended: what you see is not renewed any more. Load the page again to sign in.");
  } else if (xhr.status === 403 || xhr.status === 404) {
    parts.delete(id);
    tell("What this shows is gone, or not yours to see any more: it is not renewed.");
  } else if (xhr.status === 429 || xhr.status === 503) {
    tell(`${problemIn(xhr) || "The hub is busy"}: ${OLD}`);
    return 1000 * Number(xhr.getResponseHeader("Retry-After") || 5);
  } else if (xhr.status >= 200 && xhr.status < 300) {
    part.failures = 0;
    if (told) tell("");
  } else if (!document.hidden) {
    part.failures += 1;
    tell(`The hub does not answer: ${OLD}`);
    return Math.min(MOST_MS, FIRST_MS * 2 ** (part.failures - 1)) * (0.75 + Math.random() / 2);
  }
  return AGAIN_MS;  // what changes many times a second need not be drawn as often for each who looks
}

// "The database cannot be reached": the title of a problem's page.
function problemIn(xhr) {
  return new DOMParser().parseFromString(xhr.responseText, "text/html").querySelector("h1")?.textContent.trim();
}

// What a reader opened, how far he scrolled and where his focus is outlive a renewal.
const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";
const SCROLLED = "[aria-label][tabindex]";
const all = (element, what) => [...element.querySelectorAll(what)];
const likeness = (one) => `${one.tagName} ${one.getAttribute("href") ?? one.ariaLabel ?? one.textContent.trim()}`;

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const part = parts.get(detail.target.id), element = detail.target;
  if (!part) return;
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  part.before = {
    opened: new Map(all(element, "details[id]").map((one) => [one.id, one.open])),
    scrolled: all(element, SCROLLED).map((one) => [one.ariaLabel, one.scrollLeft, one.scrollTop]),
    focused: focused && [likeness(focused), all(element, FOCUSABLE).filter((one) => likeness(one) === likeness(focused)).indexOf(focused)],
  };
});

htmx.onLoad((element) => {
  const part = parts.get(element.id), before = part?.before;
  if (!before) return;
  part.before = null;
  for (const one of all(element, "details[id]")) one.open = before.opened.get(one.id) ?? one.open;
  for (const [label, left, top] of before.scrolled) all(element, SCROLLED).find((one) => one.ariaLabel === label)?.scrollTo(left, top);
  element.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
  if (before.focused && !element.contains(document.activeElement)) {
    const [like, place] = before.focused, found = all(element, FOCUSABLE).filter((one) => likeness(one) === like);
    (found[place] ?? found[0])?.focus({ preventScroll: true });
  }
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return look();
  for (const [id, part] of parts) {
    clearTimeout(part.timer);
    part.timer = 0;
    if (part.asking) htmx.trigger(`#${CSS.escape(id)}`, "htmx:abort");
  }
});
document.addEventListener("htmx:configRequest", ({ detail }) => {
  const csrf = document.querySelector("meta[name=csrf]");
  if (csrf && detail.verb !== "get") detail.headers["X-CSRF-Token"] = csrf.content;
});

// Times that say how long ago they were go on doing so.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
function span(seconds) {
  const words = [];
  for (const [unit, word] of UNITS) {
    const count = Math.floor(seconds / unit);
    seconds -= count * unit;
    if (count || words.length) words.push(count ? `${count} ${word}` : "");
    if (words.length === 2) break;
  }
  return words.filter(Boolean).join(" ") || "0 s";
}
const skew = Date.now() - Number(document.documentElement.dataset.now || Date.now());
setInterval(() => {
  if (document.hidden) return;
  for (const ago of document.querySelectorAll("time + .ago")) {
    const seconds = Math.round((Date.now() - skew - Date.parse(ago.previousElementSibling.dateTime)) / 1000);
    ago.textContent = seconds >= 0 ? `(${span(seconds)} ago)` : `(in ${span(-seconds)})`;
  }
}, EVERY_MS);
look();
