// What all pictures share: a step and the keys that lead to it, the width they are drawn for, the marks they are made of.

const PADDING = 36; // pixels, of .dl-picture in style.css, both sides together

/** The class that gives a device its colour. */
export function hue(device) {
  if (device === "cpu" || device === "meta") return device;
  return device.endsWith(":0") ? "gpu" : "gpu2";
}

/** A text that fits into so many characters. */
export function short(text, most) {
  return text.length > most ? `${text.slice(0, Math.max(1, Math.floor(most) - 1))}…` : text;
}

/** The point in the middle of a Bézier curve with these four points. */
export function middle(points) {
  const along = (axis) => (points[0][axis] + 3 * points[1][axis] + 3 * points[2][axis] + points[3][axis]) / 8;
  return { x: along(0), y: along(1) };
}

/** The step that a key leads to; undefined for keys that are not the picture's. */
export function moved(key, step, last) {
  const to = {
    ArrowRight: step + 1,
    ArrowUp: step + 1,
    ArrowLeft: step - 1,
    ArrowDown: step - 1,
    PageUp: step + 5,
    PageDown: step - 5,
    Home: 0,
    End: last,
  }[key];
  return to === undefined ? undefined : within(to, last);
}

/** A number that is neither below 0 nor above `last`. */
export const within = (number, last) => Math.min(Math.max(0, number), last);

/** Whether a key that is pressed inside a picture is for the notebook: what has a modifier, and Tab. All others are the picture's. */
export const passes = ({ key, ctrlKey, metaKey, altKey, shiftKey }) =>
  ctrlKey || metaKey || altKey || key === "Tab" || (shiftKey && key === "Enter");

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function html(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

/** An SVG path along a Bézier curve. */
export function curve([a, b, c, d], style, attributes = {}) {
  return svg("path", { d: `M${a}C${b} ${c} ${d}`, style: `fill:none;stroke-width:2;${style}`, ...attributes });
}

/** A word in a round frame. */
export function pill(x, y, text, edge, mono = true) {
  const wide = text.length * (mono ? 7.9 : 6.6) + (mono ? 24 : 16);
  return svg(
    "g",
    {},
    svg("rect", {
      x: x - wide / 2,
      y: y - 12,
      width: wide,
      height: 24,
      rx: 12,
      style: `fill:var(--paper);stroke:${edge};stroke-width:${mono ? 2 : 1}`,
    }),
    svg("text", { x, y: y + 4.5, class: mono ? "dl-mono" : "small", "text-anchor": "middle" }, text),
  );
}

/** The knob of a picture: a slider with a button on either side, and Play where it `plays`. `go` takes the new step. */
export function knob(last, label, step, go, { plays = true, tell = (number) => `step ${number} of ${last}` } = {}) {
  const slider = html("input", { type: "range", min: 0, max: last, step: 1, ariaLabel: label }),
    count = html("output");
  const [back, on, play] = [
    ["←", "One step back"],
    ["→", "One step on"],
    ["Play", "Play"],
  ].map(([textContent, ariaLabel]) => html("button", { type: "button", textContent, ariaLabel }));
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = play.ariaLabel = "Play";
  };
  back.onclick = () => go(step() - 1);
  on.onclick = () => go(step() + 1);
  slider.oninput = () => go(Number(slider.value));
  play.onclick = () => {
    if (timer) return stop();
    if (step() === last) go(0);
    play.textContent = play.ariaLabel = "Pause";
    timer = setInterval(() => (step() < last ? go(step() + 1) : stop()), 1400);
  };
  const show = (number, words) => {
    slider.value = number;
    slider.ariaValueText = words;
    count.textContent = tell(number);
    back.disabled = number === 0;
    on.disabled = number === last;
  };
  return {
    element: html("div", { className: "dl-knobs" }, back, slider, on, ...(plays ? [play] : []), count),
    slider,
    show,
    stop,
    playing: () => timer !== null,
  };
}

/** What stands above every picture: its question, and how its numbers are known. */
export function head(question, chip) {
  const title = html("b", { textContent: question });
  return html("div", { className: "dl-head" }, title, html("span", { className: "dl-chip", textContent: chip }));
}

export const notes = (texts) => texts.map((textContent) => html("p", { className: "dl-note", textContent }));

/** A picture of a model: it keeps a step up to `last`, hears the keys, and is drawn by `arrange(width)` and `draw()`. */
export class Moving {
  constructor(model) {
    this.model = model;
    this.data = model.get("data");
    this.root = html("div", { className: "dl-picture" });
    this.root.addEventListener("keydown", (event) => this.pressed(event));
  }

  get step() {
    return within(this.model.get("step"), this.last);
  }

  go = (to) => {
    this.model.set("step", within(to, this.last));
    this.model.save_changes();
  };

  /** What a key moves: the picture, or whatever has a `step`, a `last` and a `go` of its own; null where keys have another meaning. */
  moves() {
    return this;
  }

  /** Give up what is marked or playing; say whether there was anything. */
  escape() {
    const playing = this.knob?.playing() ?? false;
    this.knob?.stop();
    return playing;
  }

  pressed(event) {
    if (passes(event)) return;
    const target = this.moves(event);
    const to = target ? moved(event.key, target.step, target.last) : undefined;
    if (event.key === "Escape" && !this.escape()) return; // nothing to give up: the key leads out of the picture
    event.stopPropagation(); // or JupyterLab moves to another cell by it
    if (to === undefined) return;
    event.preventDefault();
    target.go(to);
  }

  /** Draw for the width that there is now. */
  fit = () => {
    const width = this.root.clientWidth - PADDING;
    if (width > 0) this.safely(() => this.arrange(width));
  };

  redraw = () => this.safely(() => this.draw());

  /** The step has changed. */
  follow() {
    this.fit();
  }

  /** Say an error where the picture is: nobody looks for it in the browser's console. */
  safely(work) {
    try {
      work();
      this.failed?.remove();
    } catch (error) {
      this.failed ??= html("p", { className: "dl-refused" });
      this.failed.setAttribute("role", "alert");
      this.failed.textContent = `This picture cannot be drawn here (${error}). Run its cell again; print() says the same in words.`;
      this.root.append(this.failed);
    }
  }
}

/** What a module exports for its kind of picture. */
export const drawn = (Kind) => ({
  render({ model, el }) {
    const picture = new Kind(model);
    const watcher = new ResizeObserver(picture.fit);
    const follow = () => picture.follow();
    el.append(picture.root);
    watcher.observe(picture.root);
    model.on("change:step", follow);
    picture.fit();
    return () => {
      picture.knob?.stop();
      watcher.disconnect();
      model.off("change:step", follow);
    };
  },
});
