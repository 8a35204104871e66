// The connection to the server: commands go out as JSON; events come as JSON, frames as length, JSON and JPEG.

export class Stream {
  constructor({ onEvent, onFrame, onClose }) {
    this.onEvent = onEvent;
    this.onFrame = onFrame;
    const address = new URL("/stream", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = (message) => {
      if (typeof message.data === "string") this.onEvent(JSON.parse(message.data));
      else this.receiveFrame(message.data);
    };
    this.socket.onclose = (close) => onClose(close.reason, close.code);
    this.drawing = Promise.resolve();
  }

  get isOpen() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  send(what, values = {}) {
    if (this.isOpen) this.socket.send(JSON.stringify({ do: what, ...values }));
  }

  sendPicture(stamp, jpeg) {
    if (!this.isOpen) return;
    const head = new Uint8Array(4);
    new DataView(head.buffer).setUint32(0, stamp, true);
    this.socket.send(new Blob([head, jpeg]));
  }

  receiveFrame(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const jpeg = new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" });
    // One after the other, or a picture that is decoded sooner would overtake.
    this.drawing = this.drawing.then(async () => {
      try {
        const picture = await createImageBitmap(jpeg);
        this.onFrame(header, picture);
        picture.close();
      } finally {
        this.send("shown");
      }
    }).catch((error) => console.error(error));
  }
}

// The visitor's camera: never more than two pictures are unanswered, so a slow server gets fewer, not older ones.
export class OwnCamera {
  constructor(stream, video) {
    this.stream = stream;
    this.video = video;
    this.canvas = document.createElement("canvas");
    this.stamp = 0;
    this.answered = 0;
    this.sentAt = new Map();
    this.media = null;
  }

  static get isAllowed() {
    return Boolean(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
  }

  async start() {
    this.media = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: { ideal: "environment" } },
    });
    this.video.srcObject = this.media;
    await this.video.play();
    this.timer = setInterval(() => this.tick(), 15);
  }

  stop() {
    clearInterval(this.timer);
    if (this.media) for (const track of this.media.getTracks()) track.stop();
    this.media = null;
    this.video.srcObject = null;
  }

  // The server has shown the picture with this stamp; returns the milliseconds since it was taken.
  answer(stamp) {
    const sent = this.sentAt.get(stamp);
    this.answered = Math.max(this.answered, stamp);
    for (const known of this.sentAt.keys()) if (known <= stamp) this.sentAt.delete(known);
    return sent === undefined ? null : performance.now() - sent;
  }

  tick() {
    const video = this.video, now = performance.now();
    const open = this.stamp - this.answered;
    if (!this.media || this.encoding || video.currentTime === this.lastTime || !video.videoWidth) return;
    if (open >= 2 && now - this.lastSent < 1000) return;
    this.encoding = true;
    this.lastSent = now;
    this.lastTime = video.currentTime;
    this.canvas.width = video.videoWidth;
    this.canvas.height = video.videoHeight;
    this.canvas.getContext("2d").drawImage(video, 0, 0);
    this.canvas.toBlob((jpeg) => {
      this.encoding = false;
      if (!jpeg || !this.media) return;
      this.stamp += 1;
      this.sentAt.set(this.stamp, now);
      this.stream.sendPicture(this.stamp, jpeg);
    }, "image/jpeg", 0.85);
  }
}
