"use strict";
(() => {
  const given = JSON.parse(document.getElementById("page-data").textContent);
  const options = { mode: "vega-lite", renderer: "svg", actions: false, tooltip: false, defaultStyle: false };
  const views = [];
  const moved = []; // the charts that the worth of a pass moves
  const slider = document.getElementById("worth-slider");

  const show = () => {
    const at = given.steps[Number(slider.value)];
    document.getElementById("worth-told").textContent = at.text;
    slider.setAttribute("aria-valuetext", at.text);
    for (const row of document.querySelectorAll("[data-step]")) {
      row.classList.toggle("chosen", row.dataset.step === slider.value);
    }
    for (const view of moved) view.signal("chosen", Number(slider.value)).runAsync();
  };

  const draw = async ([name, spec]) => {
    const place = document.getElementById("chart-" + name);
    if (!place) return;
    const { view } = await vegaEmbed(place, spec, options);
    views.push(view);
    if ((spec.params || []).some((param) => param.name === "chosen")) moved.push(view);
    if (slider) show();
    place.dataset.drawn = "";
  };

  Object.entries(given.charts).forEach(draw);
  if (slider) slider.addEventListener("input", show);
  addEventListener("beforeprint", () => views.forEach((view) => view.resize().run()));
})();
