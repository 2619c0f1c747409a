"""Pages in headless Chromium: what they overflow, how well they can be read, what they ask for."""

import shutil

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CONTRAST = """
() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!colour.startsWith("rgba") || !colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const kinds = "h1,h2,h3,h4,p,li,dt,dd,th,td,small,summary,a,strong,svg text";
  return Math.min(...[...document.querySelectorAll(kinds)].map((e) => {
    const style = getComputedStyle(e);
    const front = luminance(e.closest("svg") ? style.fill : style.color);
    const back = luminance(behind(e));
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  }));
}
"""


def visit(chromium, path, *, width=1280, scheme="light"):
    """A tab with the page, which notes what it complains about and asks for."""
    tab = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.complaints, tab.requests = [], []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda request: tab.requests.append(request.url))
    tab.goto(path.as_uri(), wait_until="load")
    return tab
