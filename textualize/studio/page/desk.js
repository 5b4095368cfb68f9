/* Templates: opened, edited, saved; runs: asked about the clip, and by two templates. */
"use strict";

let edits = 0; // which rendering is the latest
let dirty = false; // edited since it was opened or saved

/* --- the template ---------------------------------------------------------------------------- */

function draft() {
  return {
    text: $("text").value,
    origin: $("origin").value,
    register: $("register").value,
    modalities: all("[name=letter]:checked").map((box) => box.value).join(""),
    turns: Number($("turns").value),
    context_s: Number($("context_s").value),
    future_turns: Number($("future_turns").value),
  };
}

async function open() {
  const found = await (await ask("template?" + query({ origin: $("origin").value }))).json();
  $("text").value = found.text;
  $("register").value = found.register;
  for (const box of all("[name=letter]")) { box.checked = found.modalities.includes(box.value); }
  for (const name of ["turns", "context_s", "future_turns"]) { $(name).value = found[name]; }
  dirty = false;
  number();
  await render();
}

function number(wrong = 0) {
  const lines = $("text").value.split("\n").length;
  const gutter = $("gutter");
  gutter.replaceChildren();
  for (let line = 1; line <= lines; line += 1) {
    const part = document.createElement(line === wrong ? "b" : "span");
    part.textContent = `${line}\n`;
    gutter.append(part);
  }
  gutter.scrollTop = $("text").scrollTop;
}

function problem(text, line = 0) {
  $("problem").hidden = !text;
  if ($("problem").textContent !== text) { $("problem").textContent = text; }
  $("prompt").classList.toggle("old", Boolean(text));
  if (text) { $("count").textContent = "the prompt below is from before"; }
  number(line);
}

async function render() {
  if (!clip) { return; }
  if ($("stale")) { $("stale").hidden = !asked || asked === JSON.stringify(draft()); }
  edits += 1;
  const own = edits;
  try {
    const found = await (await ask("render", sent({ clip: clip.id, draft: draft(), reader: $("reader").value }))).json();
    if (own !== edits) { return; } // another edit has been made meanwhile
    if (found.error) { problem(found.error, found.line); return; }
    $("prompt").innerHTML = found.html;
    problem("");
    const counts = found.tokens.map((t) => `${t.run} ${t.tokens} of ${t.limit} tokens${t.lost ? `, cut: ${t.lost}` : ""}`);
    $("count").textContent = [`${found.characters} characters`, ...counts].join(" · ");
    move();
  } catch (error) { if (own === edits) { problem(error.message); } }
}

let waiting = 0;
function later() {
  clearTimeout(waiting);
  waiting = setTimeout(render, 150);
}

$("text").addEventListener("input", () => { dirty = true; number(); later(); });
$("text").addEventListener("scroll", () => { $("gutter").scrollTop = $("text").scrollTop; });
for (const id of ["register", "turns", "context_s", "future_turns", "reader"]) { $(id).addEventListener("input", later); }
for (const box of all("[name=letter]")) { box.addEventListener("input", later); }
let origin = $("origin").value;
$("origin").addEventListener("change", () => {
  if (dirty && !window.confirm("Leave what was edited and is not saved?")) { $("origin").value = origin; return; }
  origin = $("origin").value;
  open().catch((error) => problem(error.message));
});
window.addEventListener("beforeunload", (event) => { if (dirty) { event.preventDefault(); } });

async function save(replace) {
  $("replace").hidden = true;
  try {
    const found = await (await ask("template", sent({ name: $("name").value, draft: draft(), replace }))).json();
    if (found.taken) {
      $("saved").textContent = found.taken;
      $("replace").hidden = false;
      $("replace").focus();
      return;
    }
    dirty = false;
    await offer();
    $("origin").value = origin = found.origin;
    $("saved").textContent = `saved; to train with it: ${found.train}`;
  } catch (error) { $("saved").textContent = error.message; }
}

/* your own templates in every list of templates */
async function offer() {
  const names = (await (await ask("templates")).json()).own;
  for (const select of [$("origin"), ...all(".choice")]) {
    const chosen = select.value;
    let group = select.querySelector("[data-kind=own]");
    if (!group) {
      group = document.createElement("optgroup");
      group.label = "yours";
      group.dataset.kind = "own";
      select.insertBefore(group, select.querySelector("[data-kind=shipped]"));
    }
    group.replaceChildren(...names.map((name) => new Option(name, `own:${name}`)));
    select.value = chosen;
  }
}

$("save").addEventListener("submit", (event) => { event.preventDefault(); save(false); });
$("replace").addEventListener("click", () => save(true));
$("name").addEventListener("input", () => { $("replace").hidden = true; });

/* --- runs ------------------------------------------------------------------------------------ */

const stops = {};
let asked = null; // the draft that the answers shown were asked by

function begin(name) {
  if (stops[name]) { stops[name].abort(); }
  stops[name] = new AbortController();
  document.querySelector(`[data-stops=${name}]`).hidden = false;
  return stops[name];
}

function end(name, stop, place, text) {
  if (stops[name] !== stop) { return; }
  document.querySelector(`[data-stops=${name}]`).hidden = true;
  $(place).textContent = stop.signal.aborted ? "stopped" : text;
}

for (const button of all(".stop")) {
  button.addEventListener("click", () => stops[button.dataset.stops].abort());
}

async function into(place, path, value, signal, title) {
  const bar = document.createElement("progress");
  bar.setAttribute("aria-label", `${title} is at work`);
  place.replaceChildren(title, bar);
  try {
    place.innerHTML = await told(path, value, signal, (done, of) => {
      if (of) { bar.max = of; bar.value = done; }
    });
  } catch (error) {
    const note = document.createElement("p");
    note.className = "notice";
    note.textContent = error.name === "AbortError" ? `${title}: stopped` : `${title}: ${error.message}`;
    place.replaceChildren(note);
  }
}

if ($("ask")) {
  $("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!clip) { return; }
    const stop = begin("ask");
    const by = document.querySelector("[name=by]:checked").value === "edited" ? draft() : null;
    const runs = all("[name=run]:checked").map((box) => box.value);
    const places = runs.map(() => document.createElement("article"));
    $("answers").replaceChildren(...places);
    $("rests").replaceChildren();
    $("asked").textContent = runs.length ? "asking …" : "no run is chosen";
    $("stale").hidden = true;
    asked = by && JSON.stringify(by);
    await Promise.all(runs.map(async (run, i) => {
      const value = { clip: clip.id, run, draft: by, explain: $("explain").checked };
      await into(places[i], "ask", value, stop.signal, run);
      if (!stop.signal.aborted) { $("rests").append(...all(".rests", places[i])); }
    }));
    end("ask", stop, "asked", `${runs.length} answered`);
  });
}

if ($("compare")) {
  $("compare").addEventListener("submit", async (event) => {
    event.preventDefault();
    const stop = begin("compare");
    const value = { run: $("by").value, a: $("a").value, b: $("b").value, draft: draft(), sample: Number($("sample").value) };
    $("found").textContent = "comparing …";
    await into($("compared"), "compare", value, stop.signal, "the comparison");
    end("compare", stop, "found", "done");
  });
}

/* --- begin ----------------------------------------------------------------------------------- */

let finding = 0;
$("find").addEventListener("input", () => {
  clearTimeout(finding);
  finding = setTimeout(() => list().catch((error) => say(error.message)), 150);
});

(async () => {
  await list();
  await open();
  const first = document.querySelector(".list .choose");
  if (first) { await choose(first.dataset.clip); }
})().catch((error) => say(error.message));
