// The pictures of the web edition: each is the lesson's own module, drawn from the state that the notebook stores, without a kernel.
// A page holds them as JSON beside a still picture, which stays where a module cannot be started, and is what is printed.
// No module script: a browser loads none from a folder on the disk.

(() => {
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';

  /** What a picture's module asks of a widget's model: values, and who wants to hear of their change. */
  class Model {
    constructor(values) {
      this.values = { ...values };
      this.heard = new Map();
    }
    get(name) {
      return this.values[name];
    }
    set(name, value) {
      if (this.values[name] === value) return;
      this.values[name] = value;
      for (const tell of this.heard.get(`change:${name}`) ?? []) tell();
    }
    save_changes() {} // there is no kernel to save them to
    on(event, tell) {
      this.heard.set(event, [...(this.heard.get(event) ?? []), tell]);
    }
    off(event, tell) {
      this.heard.set(
        event,
        (this.heard.get(event) ?? []).filter((other) => other !== tell),
      );
    }
  }

  const modules = new Map(); // by their text: one picture's module often draws another

  function load(text) {
    if (!modules.has(text)) {
      modules.set(text, import(URL.createObjectURL(new Blob([text], { type: "text/javascript" }))));
    }
    return modules.get(text);
  }

  const styles = new Set();

  function style(text) {
    if (styles.has(text)) return;
    styles.add(text);
    document.head.append(Object.assign(document.createElement("style"), { textContent: text }));
  }

  async function start(place) {
    const { model_id } = JSON.parse(place.querySelector(VIEW).textContent);
    const { _esm, _css, ...values } = JSON.parse(place.querySelector(STATE).textContent).state[model_id].state;
    const { default: drawing } = await load(_esm);
    const model = new Model(values);
    const el = Object.assign(document.createElement("div"), { className: "dl-live" });
    style(_css);
    place.append(el);
    await drawing.initialize?.({ model });
    await drawing.render({ model, el });
    place.classList.add("dl-moves"); // site.css now hides the still, except on paper
  }

  // Paper is white, whatever the screen is.
  const root = document.documentElement;
  let shown = root.dataset.theme;
  addEventListener("beforeprint", () => {
    shown = root.dataset.theme;
    root.dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = shown;
  });

  for (const place of document.querySelectorAll(".dl-alive")) {
    start(place).catch((reason) => {
      place.querySelector(".dl-live")?.remove();
      console.error("A picture stays still:", reason);
    });
  }
})();
