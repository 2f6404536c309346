"use strict";
const CROSSING = { axial: ["sagittal", "coronal"], coronal: ["sagittal", "axial"], sagittal: ["coronal", "axial"] };

class Plane {
  constructor(figure, views) {
    this.figure = figure;
    this.views = views;
    this.name = figure.dataset.plane;
    this.slider = figure.querySelector("input");
    this.image = figure.querySelector("img");
    this.first = this.image.src;
    this.output = figure.querySelector("output");
    this.cross = figure.querySelector(".cross");
    this.box = figure.querySelector("svg").viewBox.baseVal;
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
    figure.querySelector(".frame").addEventListener("click", (event) => this.point(event));
  }
  get frames() {
    if (!this.parsed) this.parsed = JSON.parse(this.figure.querySelector("script").textContent);
    return this.parsed;
  }
  get offset() { return this.frames.offsets[Number(this.slider.value)]; }
  show(index) {
    const frames = this.frames, picture = frames.pictures[index];
    this.slider.value = String(index);
    this.image.src = picture ? "data:image/webp;base64," + picture : this.first;
    for (const path of this.figure.querySelectorAll(".o")) path.setAttribute("d", frames.paths[index][path.dataset.family] || "");
    this.output.textContent = frames.places[index];
    this.slider.setAttribute("aria-valuetext", frames.places[index]);
    this.figure.closest(".case").classList.add("used");
    for (const view of Object.values(this.views)) view.drawCross();
  }
  showNearest(offset) {
    const far = this.frames.offsets.map((other) => Math.abs(other - offset));
    this.show(far.indexOf(Math.min(...far)));
  }
  drawCross() {
    const [across, down] = CROSSING[this.name].map((name) => this.views[name].offset);
    this.cross.setAttribute("d", `M${across} 0V${this.box.height}M0 ${down}H${this.box.width}`);
  }
  point(event) {
    const frame = event.currentTarget.getBoundingClientRect();
    const [across, down] = CROSSING[this.name].map((name) => this.views[name]);
    across.showNearest((event.clientX - frame.left) / frame.width * this.box.width);
    down.showNearest((event.clientY - frame.top) / frame.height * this.box.height);
  }
}

for (const article of document.querySelectorAll(".case")) {
  const views = {};
  for (const figure of article.querySelectorAll("figure")) {
    if (figure.querySelector("input")) views[figure.dataset.plane] = new Plane(figure, views);
  }
  for (const button of article.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const off = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!off));
      for (const path of article.querySelectorAll(".o")) {
        if (path.dataset.family === button.dataset.family) path.classList.toggle("off", off);
      }
    });
  }
}
document.body.classList.add("live");
