// Scores of the objects over the last frames.

const KEEP = 300;

export class Curves {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  clear() {
    this.lines = new Map(); // id -> {color, points: [[frame, score], ...]}
    this.last = 0;
    this.draw();
  }

  add(frame, objects) {
    this.last = frame;
    for (const object of objects) {
      const line = this.lines.get(object.id) || { color: object.color, points: [] };
      const points = line.points;
      if (points.length && points[points.length - 1][0] === frame) points.pop();
      points.push([frame, object.score]);
      if (points.length > KEEP) points.shift();
      this.lines.set(object.id, line);
    }
    for (const [id, line] of this.lines) {
      if (line.points[line.points.length - 1][0] < frame - KEEP) this.lines.delete(id);
    }
    this.draw();
  }

  draw() {
    const scale = devicePixelRatio || 1;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width || !height) return;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const left = 26, right = width - 4, top = 6, bottom = height - 6;
    context.scale(scale, scale);
    context.font = `11px ${style.fontFamily}`;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of [0, 0.5, 1]) {
      const y = bottom - tick * (bottom - top);
      context.fillStyle = style.getPropertyValue("--soft");
      context.fillText(tick === 0.5 ? "0.5" : String(tick), left - 6, y);
      context.fillStyle = style.getPropertyValue("--line");
      context.fillRect(left, y, right - left, 1);
    }
    const x = (frame) => right - ((this.last - frame) * (right - left)) / KEEP;
    context.lineJoin = "round";
    for (const { color, points } of this.lines.values()) {
      context.beginPath();
      for (const [frame, score] of points) context.lineTo(Math.max(x(frame), left), bottom - score * (bottom - top));
      for (const [width, style] of [[3.5, "rgb(16 21 27 / 60%)"], [1.75, color]]) { // the seam is for light pages
        context.lineWidth = width;
        context.strokeStyle = style;
        context.stroke();
      }
    }
  }
}
