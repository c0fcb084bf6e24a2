// Light or dark before the first pixel: a plain script, because modules come too late for that.
(() => {
  let chosen = null;
  try {
    chosen = JSON.parse(localStorage.getItem("phone:theme") ?? "null");
  } catch {
    chosen = null;
  }
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const dark = chosen ? chosen === "dark" : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  show();
  system.addEventListener("change", show);
  addEventListener("themechosen", (event) => {
    chosen = event.detail;
    show();
  });
})();
