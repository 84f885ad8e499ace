// Parts that renew themselves. An element with data-live="path" is asked for anew, and the answer, which is the same
// element, takes its place; the server holds the answer back until there is something new. Without data-live it ends.
// Nothing is asked for while nobody looks, and a hub that does not answer is asked more and more rarely.
const LEAST_MS = 250, FIRST_MS = 1000, MOST_MS = 30000, EVERY_MS = 60000;
const parts = new Map();  // id -> {asking, timer, failures}
let told = "";

function tell(text) {
  const status = document.getElementById("status");
  if (!status || text === told) return;
  told = text;
  status.textContent = text;
}

function schedule(id, ms) {
  const part = parts.get(id);
  clearTimeout(part.timer);
  part.timer = setTimeout(() => ask(id), ms);
}

function look() {
  for (const element of document.querySelectorAll("[data-live][id]")) {
    if (!parts.has(element.id)) parts.set(element.id, { asking: null, timer: 0, failures: 0 });
    const part = parts.get(element.id);
    if (!part.asking && !part.timer && !document.hidden) schedule(element.id, LEAST_MS);
  }
}

async function ask(id) {
  const part = parts.get(id), element = document.getElementById(id);
  part.timer = 0;
  if (!element || !element.dataset.live) return parts.delete(id);
  if (document.hidden) return;
  part.asking = new AbortController();
  let wait = LEAST_MS;
  try {
    const response = await fetch(element.dataset.live, {
      headers: { "HX-Request": "true" }, redirect: "manual", signal: part.asking.signal, credentials: "same-origin",
    });
    if (response.type === "opaqueredirect" || response.status === 401) {
      tell("Your session has ended: what you see is not renewed any more. Load the page again to sign in.");
      return parts.delete(id);
    }
    if (response.status === 404) {
      tell("What this shows is gone: it is not renewed any more.");
      return parts.delete(id);
    }
    if (response.status === 429 || response.status === 503) {
      wait = 1000 * Number(response.headers.get("Retry-After") || 5);
      tell("The hub is busy: this page is renewed a little later.");
    } else if (!response.ok) {
      throw new Error(String(response.status));
    } else {
      part.failures = 0;
      if (told) tell("");
      if (response.status === 200) renew(element, await response.text());
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    part.failures += 1;
    wait = Math.min(MOST_MS, FIRST_MS * 2 ** (part.failures - 1)) * (0.75 + Math.random() / 2);
    tell("The hub does not answer: what you see may be old. It is asked again by itself.");
  } finally {
    if (part.asking) part.asking = null;
  }
  if (parts.has(id) && !document.hidden) schedule(id, wait);
}

function renew(element, text) {
  const made = new DOMParser().parseFromString(text, "text/html").getElementById(element.id);
  if (!made) return;
  const inside = element.contains(document.activeElement) ? document.activeElement.id : "";
  const opened = new Set([...element.querySelectorAll("details[open][id]")].map((one) => one.id));
  for (const one of made.querySelectorAll("details[id]")) if (opened.has(one.id)) one.open = true;
  const scrolled = new Map([...element.querySelectorAll(".wide[aria-label]")].map((one) => [one.ariaLabel, one.scrollLeft]));
  htmx.process(made);
  element.replaceWith(made);
  for (const one of made.querySelectorAll(".wide[aria-label]")) one.scrollLeft = scrolled.get(one.ariaLabel) ?? 0;
  if (inside) document.getElementById(inside)?.focus({ preventScroll: true });
  made.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return look();
  for (const part of parts.values()) {
    clearTimeout(part.timer);
    part.timer = 0;
    part.asking?.abort();
  }
});
addEventListener("pagehide", () => parts.forEach((part) => part.asking?.abort()));
document.addEventListener("htmx:afterSettle", look);
document.addEventListener("htmx:configRequest", (event) => {
  const csrf = document.querySelector("meta[name=csrf]");
  if (csrf && event.detail.verb !== "get") event.detail.headers["X-CSRF-Token"] = csrf.content;
});

// Times that say how long ago they were go on doing so.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
function span(seconds) {
  const parts = [];
  for (const [unit, word] of UNITS) {
    const count = Math.floor(seconds / unit);
    seconds -= count * unit;
    if (count || parts.length) parts.push(count ? `${count} ${word}` : "");
    if (parts.length === 2) break;
  }
  return parts.filter(Boolean).join(" ") || "0 s";
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
