// The page: what is shown, and what mouse, finger and keys do.

import { Curves } from "/curves.js";
import { OwnCamera, Stream } from "/stream.js";

const byId = (id) => document.getElementById(id);
const stage = byId("stage"), picture = byId("picture"), boxes = byId("boxes"), message = byId("message");
const curves = new Curves(byId("curves"));
const LEAST_DRAG = 6; // CSS pixels: less is a click
const RATE_MS = 2000;

let stream = null;
let camera = null;
let hello = null;
let state = {}; // the server's last word on the source
let frame = null; // header of the frame that is shown
let chosen = null; // id of the chosen object
let before = null; // ids there were when a box was drawn: the object that comes is chosen
let drag = null; // {x0, y0, x1, y1} in frame pixels while a box is drawn
let stepping = false; // a step was asked for and is not done
let placing = false; // the box is drawn with keys
let shownAt = [];

// ---- connection

function connect() {
  link("connecting", false);
  stream = new Stream({ onEvent, onFrame, onClose });
}

function link(text, bad) {
  byId("link").textContent = text;
  byId("link").classList.toggle("bad", bad);
}

function onClose(reason) {
  stopCamera();
  link("not connected", true);
  say(`${reason || "The connection to the server has ended"}. Reload the page to start anew.`);
  for (const button of ["play", "step", "restart"]) byId(button).disabled = true;
}

function onEvent(event) {
  stepping = false; // every step is answered by the state, or why it failed
  if (event.event === "hello") return welcome(event);
  if (event.event === "state") return showState(event);
  if (event.event === "error" || event.event === "failed") {
    say(event.text);
    if (event.event === "failed") link("failed", true);
  }
}

function welcome(event) {
  hello = event;
  link(event.preset, false);
  byId("sources").replaceChildren(...event.sources.map((name, number) => {
    const button = element("button", { type: "button", className: "main", textContent: name });
    button.onclick = () => { stopCamera(); stream.send("source", { number }); };
    return button;
  }));
  const limits = event.limits;
  byId("upload-rule").textContent =
    `Videos up to ${Math.round(limits.upload_bytes / 2 ** 20)} MiB and ${Math.round(limits.upload_seconds / 60)} minutes. `
    + "They stay on the server while this page is open.";
  for (const [id, name] of [["csv", "boxes.csv"], ["json", "boxes.json"], ["video", "video.mp4"]]) {
    byId(id).href = `/results/${event.token}/${name}`;
  }
  showState({ source: null, objects: [], recorded: 0 });
}

function say(text) {
  message.textContent = text;
  message.hidden = !text;
}

function showState(next) {
  const fresh = next.source !== state.source || (next.recorded === 0 && state.recorded > 0);
  if (fresh) {
    curves.clear();
    shownAt = [];
    chosen = null;
  }
  if (next.source && next.source !== state.source) choosing(false);
  state = next;
  if (!state.playing) shownAt = [];
  if (state.camera === false) stopCamera();
  byId("source-name").textContent = state.source || "No source yet";
  stage.dataset.source = state.source || "";
  stage.dataset.playing = String(Boolean(state.playing));
  stage.dataset.ended = String(Boolean(state.ended));
  const none = !state.source;
  byId("play").disabled = none || state.ended;
  byId("play").textContent = state.playing ? "Pause" : "Play";
  byId("step").disabled = none || state.ended;
  byId("restart").disabled = none;
  byId("full-speed").parentElement.hidden = none || state.live;
  byId("full-speed").checked = Boolean(state.full_speed);
  byId("count").textContent = state.count ? `of ${state.count}` : "";
  byId("back").hidden = none;
  if (none) choosing(true);
  showRecorded();
  hint();
}

function showRecorded() {
  const any = state.recorded > 0 || (frame && frame.objects.length > 0);
  for (const id of ["csv", "json", "video"]) byId(id).setAttribute("aria-disabled", String(!any));
  byId("recorded").textContent = state.full
    ? "The video is full: further frames are in the tables only."
    : any ? "Up to the frame that is shown." : "Nothing tracked yet.";
}

function hint() {
  let text = "";
  if (placing) text = "Arrows move the box, Shift and arrows size it, Enter sets it, Escape gives up.";
  else if (!state.source) text = "";
  else if (state.ended) text = "The source has ended. Start over, or take the results.";
  else if (state.status) text = state.status;
  else if (!state.objects.length) text = "Drag a box around an object.";
  else if (!state.playing) text = "Play to track, or drag a box around another object.";
  byId("hint").textContent = text;
}

// ---- frames

function onFrame(header, bitmap) {
  frame = header;
  const [width, height] = header.size;
  if (picture.width !== width || picture.height !== height) Object.assign(picture, { width, height });
  picture.getContext("2d").drawImage(bitmap, 0, 0, width, height);
  const now = performance.now();
  if (state.playing) shownAt.push(now);
  while (shownAt.length && now - shownAt[0] > RATE_MS) shownAt.shift();
  const span = shownAt.length > 1 ? shownAt[shownAt.length - 1] - shownAt[0] : 0;
  const rate = span > 0 && shownAt.length > 4 ? ((shownAt.length - 1) * 1000) / span : 0;
  byId("fps").textContent = rate ? rate.toFixed(1) : "–";
  byId("latency").textContent = header.objects.length ? header.latency_ms.toFixed(0) : "–";
  byId("index").textContent = header.index;
  byId("dropped").textContent = header.dropped + header.bad;
  if (camera && header.stamp !== null) {
    const trip = camera.answer(header.stamp);
    if (trip !== null) byId("trip").textContent = `${trip.toFixed(0)} ms trip`;
  } else byId("trip").textContent = "";
  Object.assign(stage.dataset, {
    index: header.index, objects: JSON.stringify(header.objects), density: header.density ?? "", rate: rate.toFixed(2),
  });
  curves.add(header.index, header.objects);
  showObjects();
  showRecorded();
  drawBoxes();
}

function showObjects() {
  const list = byId("objects"), objects = frame ? frame.objects : [];
  const fresh = before && objects.find((object) => !before.has(object.id));
  if (fresh) {
    chosen = fresh.id;
    before = null;
  }
  if (chosen !== null && !objects.some((object) => object.id === chosen)) chosen = null;
  if (chosen === null && objects.length) chosen = objects[objects.length - 1].id;
  byId("no-objects").hidden = objects.length > 0;
  const known = new Map([...list.children].map((row) => [Number(row.dataset.id), row]));
  for (const [id, row] of known) if (!objects.some((object) => object.id === id)) row.remove();
  for (const object of objects) {
    const row = known.get(object.id) || list.appendChild(objectRow(object));
    row.querySelector(".score").textContent = object.score.toFixed(2);
    const status = row.querySelector(".status");
    status.textContent = object.status;
    status.className = `status ${object.status}`;
    row.querySelector(".who").setAttribute("aria-pressed", String(object.id === chosen));
    row.querySelector(".density").setAttribute("aria-pressed", String(frame.density === object.id));
  }
}

function objectRow(object) {
  const row = element("li", {});
  row.dataset.id = object.id;
  const chip = element("span", { className: "chip" });
  chip.style.background = object.color;
  const who = element("button", { type: "button", className: "who" });
  who.append(chip, element("span", { className: "name", textContent: `Object ${object.id}` }),
    element("span", { className: "score" }), element("span", { className: "status" }));
  who.onclick = () => choose(object.id);
  const density = element("button", { type: "button", className: "small density", textContent: "Density" });
  density.title = "Where its top-right corner may lie, the bottom-left one held";
  density.onclick = () => toggleDensity(object.id);
  const remove = element("button", { type: "button", className: "small remove", textContent: "\u2715", title: "Remove" });
  remove.setAttribute("aria-label", `Remove object ${object.id}`);
  remove.onclick = () => { stream.send("remove", { id: object.id }); stage.focus(); };
  row.append(who, density, remove);
  return row;
}

function choose(id) {
  chosen = id;
  if (frame && frame.density !== null && frame.density !== id) stream.send("density", { id });
  showObjects();
  drawBoxes();
}

function toggleDensity(id) {
  chosen = id;
  stream.send("density", { id: frame && frame.density === id ? null : id });
}

// ---- boxes on the picture

// Where the picture lies in the stage, CSS pixels, and how many of them a frame pixel takes.
function place() {
  const outer = stage.getBoundingClientRect(), inner = picture.getBoundingClientRect();
  const scale = Math.min(inner.width / picture.width, inner.height / picture.height) || 1;
  const width = picture.width * scale, height = picture.height * scale;
  return {
    scale, width, height,
    left: inner.left - outer.left + (inner.width - width) / 2,
    top: inner.top - outer.top + (inner.height - height) / 2,
  };
}

function drawBoxes() {
  const at = place(), ratio = devicePixelRatio || 1;
  Object.assign(boxes.style, { left: `${at.left}px`, top: `${at.top}px`, width: `${at.width}px`, height: `${at.height}px` });
  boxes.width = Math.round(at.width * ratio);
  boxes.height = Math.round(at.height * ratio);
  const context = boxes.getContext("2d");
  context.scale(ratio, ratio);
  context.font = `600 13px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = "middle";
  if (frame) for (const object of frame.objects) drawObject(context, object, at);
  if (drag) {
    const [x, y, w, h] = box(drag).map((value) => value * at.scale);
    outline(context, [x, y, w, h], "#ffffff", 2, [7, 5]);
  }
}

function drawObject(context, object, at) {
  const [x, y, w, h] = object.box.map((value) => value * at.scale);
  const width = object.id === chosen ? 3 : 2;
  outline(context, [x, y, w, h], object.color, width, object.status === "tracked" ? [] : [6, 5]);
  const text = `${object.id}${object.status === "tracked" ? "" : " " + object.status}  ${object.score.toFixed(2)}`;
  const wide = context.measureText(text).width + 12;
  const left = Math.min(Math.max(x - 1, 0), Math.max(at.width - wide, 0));
  const top = Math.min(Math.max(y - 24, 0), Math.max(at.height - 22, 0));
  context.fillStyle = object.color;
  context.beginPath();
  context.roundRect(left, top, wide, 21, 4);
  context.fill();
  context.fillStyle = "#10151b";
  context.fillText(text, left + 6, top + 11);
}

function outline(context, [x, y, w, h], color, width, dash) {
  context.setLineDash([]);
  context.strokeStyle = "rgba(13, 15, 18, 0.6)";
  context.lineWidth = width + 2;
  context.strokeRect(x, y, w, h);
  context.setLineDash(dash);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.strokeRect(x, y, w, h);
  context.setLineDash([]);
}

const box = ({ x0, y0, x1, y1 }) => [Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)];

function point(event) {
  const at = place(), outer = stage.getBoundingClientRect();
  const clip = (value, most) => Math.min(Math.max(value, 0), most);
  return [
    clip((event.clientX - outer.left - at.left) / at.scale, picture.width),
    clip((event.clientY - outer.top - at.top) / at.scale, picture.height),
  ];
}

boxes.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.isPrimary || !state.source || state.ended) return;
  event.preventDefault();
  stage.focus({ preventScroll: true });
  boxes.setPointerCapture(event.pointerId);
  placing = false;
  const [x, y] = point(event);
  drag = { x0: x, y0: y, x1: x, y1: y };
  stream.send("hold", { on: true });
});
boxes.addEventListener("pointermove", (event) => {
  if (!drag || placing || !event.isPrimary) return;
  [drag.x1, drag.y1] = point(event);
  drawBoxes();
});
boxes.addEventListener("pointerup", (event) => {
  if (!drag || placing || !event.isPrimary) return;
  [drag.x1, drag.y1] = point(event);
  finishDrag();
});
boxes.addEventListener("pointercancel", giveUpDrag);
boxes.addEventListener("contextmenu", (event) => {
  const [x, y] = point(event);
  const inside = ({ box: [left, top, w, h] }) => x >= left && x <= left + w && y >= top && y <= top + h;
  const hit = frame && frame.objects.filter(inside).sort((a, b) => a.box[2] * a.box[3] - b.box[2] * b.box[3])[0];
  event.preventDefault();
  if (hit) stream.send("remove", { id: hit.id });
});

function giveUpDrag() {
  if (!drag) return;
  drag = null;
  placing = false;
  stream.send("hold", { on: false });
  drawBoxes();
  hint();
}

function finishDrag() {
  const wanted = box(drag), scale = place().scale;
  if (Math.min(wanted[2], wanted[3]) * scale < LEAST_DRAG) {
    giveUpDrag();
    byId("hint").textContent = "That was a click: drag a box around the object, from one corner to the other.";
    return;
  }
  drag = null;
  placing = false;
  say("");
  before = new Set(frame ? frame.objects.map((object) => object.id) : []);
  // Hundredths of a pixel: what the tables tell is then exactly what was tracked from.
  stream.send("add", { box: wanted.map((value) => Math.round(value * 100) / 100) });
  stream.send("hold", { on: false });
  drawBoxes();
}

// ---- keys

function startPlacing() {
  if (!frame || !state.source || state.ended) return;
  const [width, height] = frame.size;
  placing = true;
  drag = { x0: width * 0.4, y0: height * 0.4, x1: width * 0.6, y1: height * 0.6 };
  stream.send("hold", { on: true });
  drawBoxes();
  hint();
}

function moveBox(key, sizes) {
  const [width, height] = frame.size;
  const step = Math.max(width, height) / 100;
  const dx = key === "ArrowLeft" ? -step : key === "ArrowRight" ? step : 0;
  const dy = key === "ArrowUp" ? -step : key === "ArrowDown" ? step : 0;
  if (sizes) {
    drag.x1 = Math.min(Math.max(drag.x1 + dx, drag.x0 + 2), width);
    drag.y1 = Math.min(Math.max(drag.y1 + dy, drag.y0 + 2), height);
  } else {
    const mx = Math.min(Math.max(dx, -drag.x0), width - drag.x1), my = Math.min(Math.max(dy, -drag.y0), height - drag.y1);
    drag = { x0: drag.x0 + mx, y0: drag.y0 + my, x1: drag.x1 + mx, y1: drag.y1 + my };
  }
  drawBoxes();
}

const KEYS = {
  " ": () => byId("play").click(),
  ArrowRight: () => byId("step").click(),
  d: () => { if (chosen !== null) toggleDensity(chosen); },
  b: startPlacing,
  r: () => byId("restart").click(),
  Delete: () => { if (chosen !== null) stream.send("remove", { id: chosen }); },
};

document.addEventListener("keydown", (event) => {
  const at = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || at.closest("input")) return;
  // A focused button keeps the keys that press it.
  if ((event.key === " " || event.key === "Enter") && at.closest("button, a, summary")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // A key that is held steps on and moves a box; anything else once would be asked for thirty times a second.
  if (event.repeat && !key.startsWith("Arrow")) return key in KEYS && event.preventDefault();
  if (placing) {
    if (key.startsWith("Arrow")) moveBox(key, event.shiftKey);
    else if (key === "Enter") finishDrag();
    else if (key === "Escape") giveUpDrag();
    else return;
  } else if (key in KEYS) KEYS[key]();
  else if (key === "Escape" && drag) giveUpDrag();
  else if (/^[1-9]$/.test(key) && frame && frame.objects.some((object) => object.id === Number(key))) choose(Number(key));
  else return;
  event.preventDefault();
});

// ---- buttons

byId("play").onclick = () => { say(""); stream.send("play", { on: !state.playing }); };
byId("step").onclick = () => {
  if (stepping) return; // a slow tracker is not asked for more than it does
  stepping = true;
  stream.send("step");
};
byId("restart").onclick = () => { say(""); stream.send("restart"); };
byId("full-speed").onchange = (event) => stream.send("full_speed", { on: event.target.checked });
byId("change").onclick = () => choosing(true);
byId("back").onclick = () => choosing(false);
byId("pick").onclick = () => byId("file").click();
byId("file").onchange = (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) upload(file);
};

function choosing(on) {
  byId("choose").hidden = !on;
  if (!on) { drawBoxes(); stage.focus({ preventScroll: true }); }
}

byId("camera").onclick = async () => {
  say("");
  if (!OwnCamera.isAllowed) return say("Browsers give their camera only to pages of https addresses and of localhost.");
  stopCamera();
  const own = new OwnCamera(stream, byId("own"));
  try {
    await own.start();
  } catch (error) {
    own.stop();
    return say(`The camera cannot be used (${error.message || error.name}).`);
  }
  camera = own;
  state = { ...state, camera: true, source: null };
  stream.send("camera");
};

function stopCamera() {
  if (camera) camera.stop();
  camera = null;
}

function upload(file) {
  say("");
  if (file.size > hello.limits.upload_bytes) return say("This video is larger than the server takes.");
  const bar = byId("upload-progress"), request = new XMLHttpRequest();
  bar.hidden = false;
  bar.value = 0;
  request.upload.onprogress = (event) => { bar.value = event.lengthComputable ? event.loaded / event.total : 0; };
  request.onloadend = () => {
    bar.hidden = true;
    if (request.status === 200) {
      stopCamera();
      stream.send("upload", { name: file.name });
      return;
    }
    let text = "The upload did not arrive.";
    try { text = JSON.parse(request.responseText).error || text; } catch { /* no answer of ours */ }
    say(text);
  };
  request.open("POST", "/upload");
  request.setRequestHeader("X-Visitor", hello.token);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.send(file);
}

function element(name, values) {
  return Object.assign(document.createElement(name), values);
}

new ResizeObserver(drawBoxes).observe(stage);
connect();
