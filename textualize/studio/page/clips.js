/* Clips: found, shown, played with all that has a time, dropped on the page. */
"use strict";

const $ = (id) => document.getElementById(id);
const all = (query, within = document) => [...within.querySelectorAll(query)];

let clip = null; // what the server told of the chosen clip
const played = new Map(); // uploaded clip -> its file, kept by this page alone

/* --- asking the studio ----------------------------------------------------------------------- */

async function failure(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `the studio answered ${answer.status}`;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") { throw error; }
    throw new Error("the studio does not answer: was it ended?");
  }
  if (!answer.ok) { throw new Error(await failure(answer)); }
  return answer;
}

function sent(value, signal) {
  const headers = { "Content-Type": "application/json" };
  return { method: "POST", headers, body: JSON.stringify(value), signal };
}

const query = (values) => new URLSearchParams(values).toString();

function say(text) { $("said").textContent = text; }

/* lines of JSON: progress as often as there is any, an answer or an error last */
async function told(path, value, signal, progress) {
  const reader = (await ask(path, sent(value, signal))).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value: piece, done } = await reader.read();
    if (done) { throw new Error("the studio broke off"); }
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    for (const line of lines.map((text) => JSON.parse(text))) {
      if ("error" in line) { throw new Error(line.error); }
      if ("html" in line) { return line.html; }
      progress(line.done, line.of);
    }
  }
}

/* --- clips ----------------------------------------------------------------------------------- */

async function list() {
  $("list").innerHTML = await (await ask("clips?" + query({ find: $("find").value }))).text();
  mark();
}

/* the list is one stop of the Tab key: arrows go on from there */
function mark() {
  const buttons = all(".list .choose");
  const chosen = buttons.find((button) => clip && button.dataset.clip === clip.id);
  for (const button of buttons) {
    if (button === chosen) { button.setAttribute("aria-current", "true"); }
    else { button.removeAttribute("aria-current"); }
    button.tabIndex = button === (chosen || buttons[0]) ? 0 : -1;
  }
}

$("list").addEventListener("keydown", (event) => {
  const buttons = all(".list .choose");
  const at = buttons.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (at < 0 || to === undefined || !buttons[to]) { return; }
  event.preventDefault();
  buttons[to].focus();
});

async function choose(id, every = false) {
  const found = await (await ask("clip?" + query({ clip: id, every }))).json();
  const same = clip && clip.id === found.id;
  clip = found;
  $("clip").innerHTML = found.html;
  $("shown").hidden = false;
  mark();
  if (same) { move(); return; }
  show();
  if (stops.ask) { stops.ask.abort(); }
  if ($("answers")) { $("answers").replaceChildren(); $("rests").replaceChildren(); $("asked").textContent = ""; asked = null; }
  await render();
}

function show() {
  const file = played.get(clip.id);
  const source = file || (clip.media ? "media?" + query({ clip: clip.id }) : "");
  const kind = file ? file.kind : clip.media;
  const video = $("video"), image = $("image");
  video.hidden = !source || kind === "image";
  image.hidden = !source || kind !== "image";
  video.classList.toggle("sound", kind === "sound");
  const place = file ? file.url : source;
  if (video.hidden) { video.removeAttribute("src"); video.load(); } else { video.src = place; }
  if (!image.hidden) { image.src = place; }
  $("unplayable").hidden = Boolean(source);
  $("unplayable").textContent = "Its media was not kept: curves and words are what was extracted.";
}

const video = $("video");
const playable = () => !video.hidden && video.readyState > 0;
const now = () => video.currentTime;

function seek(seconds, play) {
  if (!playable()) { return; }
  video.currentTime = Math.min(Math.max(seconds, clip.start), clip.end);
  if (play) { video.play(); }
  move();
}

const atPercent = (seconds) =>
  100 * (clip.left + clip.share * (seconds - clip.start) / Math.max(clip.end - clip.start, 0.1));
const atSeconds = (percent) =>
  clip.start + (percent / 100 - clip.left) / clip.share * Math.max(clip.end - clip.start, 0.1);

/* everything that has a time follows the film */
function move() {
  if (!clip) { return; }
  const cursor = document.querySelector(".cursor");
  if (cursor) {
    cursor.hidden = !playable();
    cursor.style.left = Math.min(Math.max(atPercent(now()), 0), 100) + "%";
  }
  const running = playable() && (now() > clip.start || !video.paused);
  for (const part of all("#clip [data-start]")) {
    part.classList.toggle("on", running && now() >= Number(part.dataset.start) && now() < Number(part.dataset.end));
  }
  for (const part of all(".told")) {
    const left = Number(part.dataset.left), width = Number(part.dataset.width);
    const here = atPercent(now());
    part.classList.toggle("on", running && width < 99 * clip.share && here >= left && here < left + width);
  }
}

function follow() {
  if (now() >= clip.end && !video.paused) { video.pause(); }
  move();
  if (!video.paused) { requestAnimationFrame(follow); }
}

video.addEventListener("loadedmetadata", () => { if (clip.start > 0) { video.currentTime = clip.start; } move(); });
video.addEventListener("play", () => {
  if (now() >= clip.end - 0.05 || now() < clip.start) { video.currentTime = clip.start; }
  requestAnimationFrame(follow);
});
video.addEventListener("seeked", move);
video.addEventListener("pause", move);
video.addEventListener("error", async () => {
  if (video.hidden) { return; }
  video.hidden = true;
  $("unplayable").hidden = false;
  $("unplayable").textContent = "This browser cannot play the file: curves and words are what was extracted.";
  if (clip.media && !played.has(clip.id)) {
    const answer = await fetch("media?" + query({ clip: clip.id }), { headers: { Range: "bytes=0-0" } });
    if (!answer.ok) { $("unplayable").textContent = await failure(answer); }
  }
  move();
});

function showTime(part) {
  const marker = document.querySelector(".marker");
  if (!marker) { return; }
  marker.hidden = false;
  marker.style.left = part.dataset.left + "%";
  marker.style.width = part.dataset.width + "%";
}

document.addEventListener("click", async (event) => {
  const on = (query) => event.target.closest(query);
  try {
    if (on(".choose")) { await choose(on(".choose").dataset.clip); }
    else if (on(".remove")) { await remove(on(".remove").dataset.clip); }
    else if (on(".at")) { seek(Number(on(".at").dataset.start), true); }
    else if (on(".said")) { seek(Number(on(".said").dataset.start), true); }
    else if (on(".told")) {
      event.preventDefault();
      showTime(on(".told"));
      seek(atSeconds(Number(on(".told").dataset.left)), false);
    } else if (on("#over") && clip) {
      const box = $("over").getBoundingClientRect();
      seek(atSeconds(100 * (event.clientX - box.left) / box.width), false);
    }
  } catch (error) { say(error.message); }
});
for (const event of ["mouseover", "focusin"]) {
  document.addEventListener(event, (e) => { const told = e.target.closest(".told"); if (told) { showTime(told); } });
}
document.addEventListener("change", (event) => {
  if (event.target.id === "every") {
    choose(clip.id, event.target.checked).then(() => $("every").focus(), (error) => say(error.message));
  }
});

/* --- a file dropped on the page -------------------------------------------------------------- */

async function add(file) {
  say(`reading ${file.name} …`);
  const form = new FormData();
  form.append("clip", file);
  try {
    const { clip: id } = await (await ask("uploads", { method: "POST", body: form })).json();
    const kind = file.type.startsWith("image/") ? "image" : file.type.startsWith("audio/") ? "sound" : "video";
    played.set(id, { url: URL.createObjectURL(file), kind });
    say("");
    $("find").value = "";
    await list();
    await choose(id);
  } catch (error) { say(`${file.name}: ${error.message}`); }
}

async function remove(id) {
  await ask("clip?" + query({ clip: id }), { method: "DELETE" });
  if (played.has(id)) { URL.revokeObjectURL(played.get(id).url); played.delete(id); }
  await list();
  if (clip && clip.id === id) { const first = document.querySelector(".list .choose"); if (first) { await choose(first.dataset.clip); } }
}

$("drop").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", async () => {
  if ($("file").files.length) { await add($("file").files[0]); }
  $("file").value = "";
});
for (const [name, dropping] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer || ![...event.dataTransfer.types].includes("Files")) { return; }
    event.preventDefault();
    document.body.classList.toggle("dropping", dropping);
    if (name === "drop" && event.dataTransfer.files.length) { add(event.dataTransfer.files[0]); }
  });
}
