// The player. Boxes come from one script file per sequence: a page opened from a disk may load scripts, not data.
(function () {
  "use strict";

  const holder = document.getElementById("player-data");
  if (!holder) return;
  const report = JSON.parse(holder.textContent); // {trackers, sequences, figure}
  const byId = (id) => document.getElementById(id);
  const stage = byId("stage"), view = byId("view"), curves = byId("curves"), message = byId("message");
  const slider = byId("slider"), playButton = byId("play"), pace = byId("pace"), order = byId("order");
  const list = byId("list"), toggles = byId("toggles");
  const TRUTH = { color: "#ffffff", dash: [2.5, 2] };
  const KEEP = 80; // decoded frames held at once
  const AHEAD = 12; // frames asked for in advance

  let sequence = null; // what a script file said, with its index
  let wanted = null; // {index, frame} while a script file is on its way
  let frame = 0;
  let playing = false;
  let clock = 0; // time of the last step while playing
  let pictures = new Map(); // frame -> Image, the latest used last
  const shown = new Map([["truth", true], ...report.trackers.map((_, i) => [i, true])]);

  // ---- loading

  window.ebmSequence = function (content) {
    const index = report.sequences.findIndex((entry) => entry.id === content.id);
    if (!wanted || wanted.index !== index) return; // another one was chosen meanwhile
    sequence = Object.assign(content, { index: index });
    pictures = new Map();
    const start = wanted.frame;
    wanted = null;
    slider.max = Math.max(sequence.count - 1, 0);
    byId("now").textContent = sequence.name;
    say("");
    buildToggles();
    markChosen();
    go(start);
  };

  function open(index, at) {
    if (index < 0 || index >= report.sequences.length) return;
    pause();
    if (sequence && sequence.index === index) return go(at || 0);
    wanted = { index: index, frame: at || 0 };
    const script = document.createElement("script");
    script.src = report.sequences[index].script;
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      say("The boxes of " + report.sequences[index].name + " cannot be loaded: keep the folder “player” beside this page.");
    };
    document.head.append(script);
  }

  function say(text) {
    message.textContent = text;
    message.hidden = !text;
  }

  // ---- frames

  function addressOf(n) {
    const name = sequence.images[n];
    return name === undefined || name === null ? null : sequence.base + name;
  }

  function picture(n) {
    const address = addressOf(n);
    if (address === null) return null;
    let image = pictures.get(n);
    if (image) {
      pictures.delete(n); // to the end: used last
    } else {
      const owner = sequence;
      image = new Image();
      image.decoding = "async";
      image.onload = image.onerror = () => {
        image.done = true;
        if (owner === sequence && n === frame) draw();
      };
      image.src = address;
    }
    pictures.set(n, image);
    while (pictures.size > KEEP) pictures.delete(pictures.keys().next().value);
    return image;
  }

  function readable(address) {
    try {
      return decodeURI(address);
    } catch (error) {
      return address; // a name that is not UTF-8
    }
  }

  function isReady(n) {
    const image = picture(n);
    return image === null || Boolean(image.done);
  }

  function askAhead() {
    const last = Math.min(frame + (playing ? AHEAD : 2), sequence.count - 1);
    for (let n = frame + 1; n <= last; n++) picture(n);
  }

  // ---- drawing

  function boxAt(values, n) {
    if (!values || 4 * n + 3 >= values.length) return null;
    const box = values.slice(4 * n, 4 * n + 4);
    return box.some((value) => value === null) ? null : box;
  }

  function frameSize(image) {
    if (image && image.naturalWidth) return [image.naturalWidth / sequence.scale, image.naturalHeight / sequence.scale];
    if (sequence.size) return sequence.size;
    // Nothing says how large the frames are: as large as the boxes reach.
    if (!sequence.extent) {
      const extent = [320, 240];
      for (const values of [sequence.truth, ...sequence.boxes]) {
        for (let i = 0; values && i + 3 < values.length; i += 4) {
          if (values[i] === null) continue;
          extent[0] = Math.max(extent[0], values[i] + values[i + 2]);
          extent[1] = Math.max(extent[1], values[i + 1] + values[i + 3]);
        }
      }
      sequence.extent = extent;
    }
    return sequence.extent;
  }

  function strokeBox(pen, box, scale, color, dash, width) {
    const [x, y, w, h] = box.map((value) => value * scale);
    pen.lineWidth = width + 2;
    pen.strokeStyle = "rgba(13, 15, 18, 0.65)"; // a dark seam, for bright pictures
    pen.setLineDash([]);
    pen.strokeRect(x, y, w, h);
    pen.lineWidth = width;
    pen.strokeStyle = color;
    pen.setLineDash(dash.map((length) => length * width));
    pen.strokeRect(x, y, w, h);
    pen.setLineDash([]);
  }

  function draw() {
    if (!sequence) return;
    const image = picture(frame);
    const loaded = Boolean(image && image.naturalWidth);
    if (image && !image.done && view.dataset.sequence === sequence.name) {
      stage.dataset.picture = "waiting"; // the old frame stays until the new one is there
      return;
    }
    const [width, height] = frameSize(image);
    const dense = window.devicePixelRatio || 1;
    const high = Math.max(window.innerHeight * 0.72, 240); // tall frames must fit the window
    const scale = Math.min(stage.clientWidth / width, high / height);
    const offset = (stage.clientWidth - width * scale) / 2;
    view.width = Math.round(stage.clientWidth * dense);
    view.height = Math.round(height * scale * dense);
    const pen = view.getContext("2d");
    pen.scale(dense, dense);
    pen.fillStyle = "#0d0f12";
    pen.fillRect(0, 0, stage.clientWidth, height * scale);
    pen.translate(offset, 0);
    if (loaded) pen.drawImage(image, 0, 0, width * scale, height * scale);
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, width * scale, height * scale);
    pen.clip();
    let boxes = 0;
    for (let i = report.trackers.length - 1; i >= 0; i--) { // the first tracker on top
      const box = boxAt(sequence.boxes[i], frame);
      if (!box || !shown.get(i)) continue;
      strokeBox(pen, box, scale, report.trackers[i].color, report.trackers[i].dash, 2.5);
      boxes++;
    }
    const truth = boxAt(sequence.truth, frame);
    if (truth && shown.get("truth")) {
      strokeBox(pen, truth, scale, TRUTH.color, TRUTH.dash, 1.5);
      boxes++;
    }
    pen.restore();
    if (image && image.done && !loaded) {
      say("The picture of this frame cannot be loaded (" + readable(addressOf(frame)) + "): have the frames been moved? A report with --frames copy keeps its own.");
    } else if (!image && sequence.images.length) {
      say("This frame could not be decoded.");
    } else {
      say("");
    }
    view.dataset.sequence = sequence.name;
    stage.dataset.sequence = sequence.name;
    stage.dataset.frame = frame;
    stage.dataset.count = sequence.count;
    stage.dataset.boxes = boxes;
    stage.dataset.picture = loaded ? "drawn" : image ? "missing" : "none";
  }

  function drawCurves() {
    if (!sequence) return;
    const style = getComputedStyle(document.documentElement);
    const tone = (name) => style.getPropertyValue(name).trim();
    const dense = window.devicePixelRatio || 1;
    const width = curves.clientWidth, height = curves.clientHeight;
    curves.width = Math.round(width * dense);
    curves.height = Math.round(height * dense);
    const pen = curves.getContext("2d");
    pen.scale(dense, dense);
    const area = plotArea();
    const atX = (n) => area.left + (n + 0.5) / sequence.count * area.width;
    const atY = (overlap) => area.top + (1 - overlap) * area.height;
    pen.font = "11px " + tone("--sans");
    pen.textBaseline = "middle";
    shadeAbsent(pen, area, tone("--shade"));
    pen.fillStyle = tone("--soft");
    pen.strokeStyle = tone("--line");
    pen.lineWidth = 1;
    pen.textAlign = "right";
    for (const overlap of [0, 0.25, 0.5, 0.75, 1]) {
      line(pen, area.left, atY(overlap), area.left + area.width, atY(overlap));
      pen.fillText(overlap === 0 || overlap === 1 ? String(overlap) : overlap.toFixed(2), area.left - 6, atY(overlap));
    }
    pen.textAlign = "center";
    for (const n of ticks(sequence.count)) pen.fillText(String(n), atX(n), area.top + area.height + 11);
    pen.textAlign = "left";
    pen.fillText("IoU", 5, 9);
    for (let i = report.trackers.length - 1; i >= 0; i--) {
      if (!sequence.overlaps[i] || !shown.get(i)) continue;
      pen.strokeStyle = report.trackers[i].color;
      pen.lineWidth = 1.6;
      pen.lineJoin = "round";
      pen.beginPath();
      let down = false;
      sequence.overlaps[i].forEach((overlap, n) => {
        if (overlap === null) {
          down = false;
        } else {
          down ? pen.lineTo(atX(n), atY(overlap)) : pen.moveTo(atX(n), atY(overlap));
          down = true;
        }
      });
      pen.stroke();
    }
    pen.strokeStyle = tone("--ink");
    pen.lineWidth = 1.5;
    line(pen, atX(frame), area.top - 4, atX(frame), area.top + area.height + 3);
    curves.dataset.frame = frame;
  }

  function plotArea() {
    return { left: 38, top: 16, width: Math.max(curves.clientWidth - 50, 10), height: Math.max(curves.clientHeight - 40, 10) };
  }

  function line(pen, x0, y0, x1, y1) {
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
  }

  function shadeAbsent(pen, area, color) {
    if (!sequence.truth || sequence.truth.length <= 4) return;
    pen.fillStyle = color;
    const step = area.width / sequence.count;
    for (let n = 0, from = -1; n <= sequence.count; n++) {
      const absent = n < sequence.count && boxAt(sequence.truth, n) === null;
      if (absent && from < 0) from = n;
      if (!absent && from >= 0) {
        pen.fillRect(area.left + from * step, area.top, (n - from) * step, area.height);
        from = -1;
      }
    }
  }

  function ticks(count) {
    const most = Math.max(Math.floor(curves.clientWidth / 70), 2);
    let step = 1;
    for (let power = 1; count > most * step; power *= 10) {
      step = [1, 2, 5, 10].map((factor) => factor * power).find((s) => count <= most * s) || 10 * power;
    }
    const found = [];
    for (let n = 0; n < count; n += step) found.push(n);
    return found;
  }

  // ---- moving

  function go(n) {
    if (!sequence) return;
    frame = Math.min(Math.max(Math.round(n) || 0, 0), Math.max(sequence.count - 1, 0));
    slider.value = frame;
    slider.setAttribute("aria-valuetext", "frame " + frame + " of " + sequence.count);
    byId("where").textContent = "frame " + frame + " / " + (sequence.count - 1);
    draw();
    drawCurves();
    showOverlaps();
    askAhead();
  }

  function play() {
    if (!sequence) return;
    if (frame >= sequence.count - 1) go(0);
    playing = true;
    playButton.textContent = "Pause";
    clock = performance.now();
    requestAnimationFrame(tick);
  }

  function pause() {
    playing = false;
    playButton.textContent = "Play";
  }

  function tick(now) {
    if (!playing || !sequence) return;
    const rate = sequence.fps * Number(pace.value);
    const steps = Math.floor((now - clock) / 1000 * rate);
    if (steps >= 1) {
      const next = Math.min(frame + steps, sequence.count - 1);
      if (isReady(next)) {
        clock += steps / rate * 1000;
        go(next);
        if (frame >= sequence.count - 1) return pause();
      } else {
        askAhead();
        clock = now - 1000 / rate; // waits for the picture, does not catch up
      }
    }
    requestAnimationFrame(tick);
  }

  function seek(event) {
    if (!sequence) return;
    const area = plotArea();
    go((event.clientX - curves.getBoundingClientRect().left - area.left) / area.width * sequence.count - 0.5);
  }

  // ---- list and toggles

  function scoreOf(entry, key) {
    const known = key === "mean" ? entry.scores.filter((score) => score !== null) : [entry.scores[key]];
    if (!known.length || known[0] === null || known[0] === undefined) return Infinity; // nothing known: last
    return known.reduce((sum, score) => sum + score, 0) / known.length;
  }

  function sorted() {
    const key = order.value === "mean" || order.value === "name" ? order.value : Number(order.value);
    const indices = report.sequences.map((_, i) => i);
    const name = (i) => report.sequences[i].name;
    const byName = (a, b) => name(a).localeCompare(name(b), undefined, { numeric: true });
    if (key === "name") return indices.sort(byName);
    const score = (i) => scoreOf(report.sequences[i], key);
    return indices.sort((a, b) => (score(a) === score(b) ? byName(a, b) : score(a) - score(b)));
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function buildList() {
    list.replaceChildren(...sorted().map((index) => {
      const entry = report.sequences[index];
      const button = element("button");
      button.type = "button";
      button.dataset.index = index;
      button.append(element("span", "name", entry.name));
      const bars = element("span", "bars");
      entry.scores.forEach((score, i) => {
        const bar = element("span", "bar");
        bar.title = report.trackers[i].name;
        const track = element("i"), fill = element("b");
        fill.style.width = Math.max(score || 0, 0) + "%";
        fill.style.background = report.trackers[i].color;
        track.append(fill);
        bar.append(track, element("span", "", score === null ? "–" : score.toFixed(1)));
        bars.append(bar);
      });
      button.append(bars);
      button.addEventListener("click", () => {
        open(index, 0);
        stage.focus({ preventScroll: true });
        stage.scrollIntoView({ block: "nearest" });
      });
      const item = element("li");
      item.append(button);
      return item;
    }));
    markChosen();
  }

  function markChosen() {
    list.querySelectorAll("button").forEach((button) => {
      const chosen = sequence && Number(button.dataset.index) === sequence.index;
      button.toggleAttribute("aria-current", Boolean(chosen));
      // Within the list only: the page stays where it is.
      if (chosen) list.scrollTop = Math.max(button.offsetTop - list.offsetTop - list.clientHeight / 2, 0);
    });
  }

  function buildToggles() {
    const entries = report.trackers.map((tracker, i) => ({ key: i, name: tracker.name, style: tracker, has: Boolean(sequence.boxes[i]) }));
    entries.push({ key: "truth", name: "ground truth", style: TRUTH, has: Boolean(sequence.truth) });
    toggles.replaceChildren(...entries.map((entry) => {
      const label = element("label", entry.has ? "" : "none");
      const box = element("input");
      box.type = "checkbox";
      box.checked = shown.get(entry.key);
      box.addEventListener("change", () => {
        shown.set(entry.key, box.checked);
        draw();
        drawCurves();
      });
      label.append(box, sampleLine(entry.style), element("span", "", entry.has ? entry.name : entry.name + " (no result)"));
      if (entry.key !== "truth") {
        const output = element("output");
        output.dataset.tracker = entry.key;
        output.title = "IoU in this frame";
        label.append(output);
      }
      return label;
    }));
  }

  function sampleLine(style) {
    const space = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(space, "svg");
    picture.setAttribute("width", 30);
    picture.setAttribute("height", 12);
    picture.setAttribute("aria-hidden", "true");
    const seam = document.createElementNS(space, "path"), stroke = document.createElementNS(space, "path");
    for (const [path, color, width] of [[seam, "#0d0f12", 5], [stroke, style.color, 2.6]]) {
      path.setAttribute("d", "M1 6H29");
      path.setAttribute("stroke", color);
      path.setAttribute("stroke-width", width);
      picture.append(path);
    }
    seam.setAttribute("opacity", style === TRUTH ? 0.8 : 0);
    stroke.setAttribute("stroke-dasharray", style.dash.map((length) => length * 2.6).join(" "));
    return picture;
  }

  function showOverlaps() {
    toggles.querySelectorAll("output").forEach((output) => {
      const values = sequence.overlaps[Number(output.dataset.tracker)];
      const overlap = values ? values[frame] : undefined;
      output.textContent = overlap === undefined || overlap === null ? "–" : overlap.toFixed(2);
    });
  }

  // ---- hands

  function neighbour(step) {
    const indices = sorted();
    const at = sequence ? indices.indexOf(sequence.index) : -1;
    open(indices[Math.min(Math.max(at + step, 0), indices.length - 1)], 0);
  }

  function changePace(step) {
    pace.selectedIndex = Math.min(Math.max(pace.selectedIndex + step, 0), pace.options.length - 1);
    clock = performance.now();
  }

  const KEYS = {
    " ": () => (playing ? pause() : play()),
    ArrowLeft: (far) => { pause(); go(frame - (far ? 10 : 1)); },
    ArrowRight: (far) => { pause(); go(frame + (far ? 10 : 1)); },
    Home: () => { pause(); go(0); },
    End: () => { pause(); go(sequence ? sequence.count - 1 : 0); },
    "[": () => neighbour(-1),
    "]": () => neighbour(1),
    "+": () => changePace(1),
    "=": () => changePace(1),
    "-": () => changePace(-1),
  };

  function isMine(event) {
    const target = event.target;
    if (target === stage) return true;
    if (target.closest("select, input[type=text], textarea, a, summary")) return false;
    if (target.closest("button, input[type=checkbox]") && event.key === " ") return false; // its own press
    if (target === slider && event.key.startsWith("Arrow") && !event.shiftKey) return false; // its own step
    if (target.closest("#player")) return true;
    // Nothing has the focus: only while the player is what one looks at.
    const place = stage.getBoundingClientRect();
    return target === document.body && place.top < innerHeight * 0.6 && place.bottom > innerHeight * 0.3;
  }

  document.addEventListener("keydown", (event) => {
    const action = KEYS[event.key];
    if (!action || event.ctrlKey || event.altKey || event.metaKey || !isMine(event)) return;
    event.preventDefault();
    action(event.shiftKey);
  });

  playButton.addEventListener("click", () => (playing ? pause() : play()));
  byId("previous").addEventListener("click", () => KEYS.ArrowLeft(false));
  byId("next").addEventListener("click", () => KEYS.ArrowRight(false));
  slider.addEventListener("input", () => { pause(); go(Number(slider.value)); });
  pace.addEventListener("change", () => { clock = performance.now(); });
  order.addEventListener("change", buildList);
  stage.addEventListener("click", () => (playing ? pause() : play()));
  curves.addEventListener("pointerdown", (event) => {
    pause();
    curves.setPointerCapture(event.pointerId);
    seek(event);
  });
  curves.addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });

  function redraw() {
    draw();
    drawCurves();
  }
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // "#play-3" or "#play-3-120": sequence 3, frame 120.
  function followAddress() {
    const found = /^#play-(\d+)(?:-(\d+))?$/.exec(location.hash);
    if (!found) return false;
    open(report.sequences.findIndex((entry) => entry.id === Number(found[1])), Number(found[2] || 0));
    byId("player").scrollIntoView();
    return true;
  }
  window.addEventListener("hashchange", followAddress);

  function addOption(value, text) {
    const option = element("option", "", text);
    option.value = value;
    order.append(option);
  }
  if (report.trackers.length > 1) addOption("mean", "worst mean " + report.figure);
  report.trackers.forEach((tracker, i) => addOption(i, "worst " + report.figure + ", " + tracker.name));
  addOption("name", "name");
  buildList();
  if (!followAddress() && report.sequences.length) open(sorted()[0], 0);
})();
